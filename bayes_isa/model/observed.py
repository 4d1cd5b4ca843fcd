"""Random draws of the two observed variables, for prior and posterior predictive sampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from bayes_isa.kernels.evaluate import Parameters, evaluate_curves, event_times
from bayes_isa.kernels.panels import Panels, build_panels
from bayes_isa.kernels.residual import Residual, standard_errors
from bayes_isa.model.exposures import spec_exposure
from bayes_isa.model.joint_data import JointData, continued_doses, trial_timeline
from bayes_isa.model.reference import reference_parameters


def measurement_random(
    log_m: Any,
    sigma_add: Any,
    sigma_prop: Any,
    nu: Any,
    lloq: Any,
    below: Any,
    rng: Any = None,
    size: Any = None,
) -> np.ndarray:
    """M-protein with residual error, g/L; below the LLOQ it is reported as the LLOQ, as a laboratory does."""
    m = np.exp(log_m)
    residual = Residual(sigma_add, sigma_prop, float(np.ravel(nu)[0]))
    shape = np.broadcast_shapes(np.shape(m), np.shape(residual.sd(m))) if size is None else size
    return np.maximum(m + residual.sd(m) * standard_errors(residual.nu, rng, shape), lloq)


def pfs_random(data: JointData) -> Callable[..., np.ndarray]:
    """Draws of PFS in days, by inversion of the cumulative hazard under continued dosing; inf past the horizon.

    After the day of entry where there is one; exact times, also where the data know only intervals.
    """

    @cache
    def horizon_panels() -> Panels:
        return prediction_panels(data)

    def random(
        cumulative: Any,
        log_event: Any,
        event: Any,
        phi: Any,
        hazard_lp: Any,
        k: Any,
        beta_link: Any,
        te: Any,
        s: Any,
        rng: Any = None,
        size: Any = None,
    ) -> np.ndarray:
        def one(array: Any) -> float:
            return float(np.ravel(array)[0])

        phi = np.asarray(phi, dtype=float)  # a symbolic phi, which PyMC tries first, stops here
        panels = horizon_panels()
        n = data.trial.n_patients
        shape = tuple(size) if size is not None else (n,)
        draws = np.empty((int(np.prod(shape[:-1], dtype=int)), n))
        parameters = Parameters(
            np.broadcast_to(phi, (n, 5)),
            one(k),
            np.broadcast_to(hazard_lp, (n,)),
            one(beta_link),
            one(te),
            one(s),
        )
        curves = evaluate_curves(panels, data.shape, parameters)
        for row in draws:
            row[:] = event_times(panels, curves, rng.exponential(size=n))
        return draws.reshape(shape)

    return random


# A hundredth in the cumulative hazard moves an event time by a hundredth of its own spread.
_PREDICTION_TOLERANCE = 1e-2


def prediction_panels(data: JointData, until_day: float | None = None) -> Panels:
    """Panels of all patients to a common horizon (default: the longest PFS time), doses continued as last given."""
    trial = data.trial
    horizon = float(trial.pfs["day"].max()) if until_day is None else until_day
    doses = continued_doses(trial, horizon)
    until = np.full(trial.n_patients, horizon)
    exposure = spec_exposure(data.spec, trial.patients, doses, until)
    timeline = replace(
        trial_timeline(trial, exposure),
        measurement_offset=np.zeros(trial.n_patients + 1, dtype=np.int64),
        measurement_day=np.empty(0),
        event_day=until,
        free_day=None,
    )
    baseline = trial.baseline_mprotein.to_numpy(dtype=float)
    reference = reference_parameters(baseline, data.spec.link, exposure=data.spec.exposure)
    return build_panels(
        timeline,
        exposure.evaluate,
        data.shape,
        reference,
        tolerance=_PREDICTION_TOLERANCE,
    )
