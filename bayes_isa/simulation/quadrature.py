"""Quadrature panels for simulation: accurate wherever a simulated event may fall, not at an observed one."""

from __future__ import annotations

import numpy as np

from bayes_isa.kernels.design import offsets_of
from bayes_isa.kernels.hazard import Shape
from bayes_isa.kernels.panels import Panels, ReferenceParameters, build_panels
from bayes_isa.kernels.timeline import Timeline
from bayes_isa.pk import Exposure

# M-protein, g/L, that reference patients grow to at most: the upper end of what is seen in myeloma.
_HIGHEST_M = 200.0
_LOG_M_WEIGHT = 5.0
# The hazard starts like a power of time, and the fastest of growing patients progress in this stretch.
_FIRST_DAYS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


def simulation_panels(
    exposure: Exposure,
    shape: Shape,
    reference: ReferenceParameters,
    visits: np.ndarray,
    horizon_day: np.ndarray,
    *,
    widest_day: float,
    tolerance: float,
) -> Panels:
    """Panels of n patients from day 0 to `horizon_day` (n,) for `evaluate_curves` and `event_times`.

    All patients have measurements at `visits` (day >= 0, before the earliest horizon) and at their horizon.
    log M and the cumulative hazard are accurate to `tolerance` at the `reference` sets, whose growth is
    slowed down as needed: unchecked growth makes the hazard explode long after the patient has progressed,
    and panels that resolve the explosion resolve nothing else. In exchange no panel is wider than
    `widest_day`, over which the hazard of fast growth is smooth.
    """
    n = horizon_day.size
    days = np.union1d(_FIRST_DAYS, np.arange(widest_day, horizon_day.max(), widest_day))
    own = exposure.breakpoints
    breaks = [np.union1d(own.of(i), days) for i in range(n)]
    counts = [b.size for b in breaks]
    measured = np.column_stack([np.tile(np.asarray(visits, dtype=float), (n, 1)), horizon_day])
    timeline = Timeline(
        break_offset=offsets_of(counts),
        break_day=np.concatenate(breaks),
        measurement_offset=np.arange(n + 1, dtype=np.int64) * measured.shape[1],
        measurement_day=measured.ravel(),
        event_day=horizon_day,
    )
    slowed = ReferenceParameters(
        slow_growth(reference.phi, horizon_day), reference.k, reference.beta_link, reference.te, reference.s
    )
    # Errors of log M do not add up over visits as they would in a likelihood. They count to the end of the
    # horizon, since a hazard that depends on the slope of M inherits them some times over.
    weight = _LOG_M_WEIGHT / measured.shape[1]
    return build_panels(timeline, exposure.evaluate, shape, slowed, tolerance=tolerance, marker_weight=weight)


def slow_growth(phi: np.ndarray, horizon_day: np.ndarray) -> np.ndarray:
    """`phi` (..., n, 5) with growth so slow that M stays below 200 g/L to `horizon_day` (n,) untreated."""
    slowed = np.array(phi, dtype=float)
    room = np.maximum(np.log(_HIGHEST_M) - slowed[..., 0], 1.0)
    slowed[..., 1] = np.minimum(slowed[..., 1], np.log(room / horizon_day))
    return slowed
