"""Every endpoint by name: what each simulated trial would report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import xarray as xr

from bayes_isa.data.schema import nearest
from bayes_isa.errors import ModelError
from bayes_isa.simulation import mprotein_endpoints as marker
from bayes_isa.simulation import pfs_endpoints as pfs
from bayes_isa.simulation.regimen_names import require_regimen
from bayes_isa.simulation.trials import Sims, trial_blocks, trial_data

_SIX_MONTHS, _TWELVE_MONTHS = 6 * pfs.MONTH_DAYS, 12 * pfs.MONTH_DAYS


@dataclass(frozen=True)
class Endpoint:
    """One endpoint: `compute(sims, reference)` gives numbers by (trial, regimen) in `unit`.

    `versus`: compared with the reference regimen, for which it says nothing. `until_day`: the follow-up it needs.
    """

    description: str
    unit: str
    compute: Callable[[Sims, str], xr.DataArray]
    versus: bool = False
    until_day: float = 0.0


def _difference(of: Callable[[Sims], xr.DataArray]) -> Callable[[Sims, str], xr.DataArray]:
    def compute(sims: Sims, reference: str) -> xr.DataArray:
        values = of(sims)
        # Infinite minus infinite, neither median reached: no difference, which NaN says.
        against = values.sel(regimen=reference, drop=True)
        with np.errstate(invalid="ignore"):
            return values - against

    return compute


def _rate(name: str) -> Callable[[Sims, str], xr.DataArray]:
    return lambda sims, _: marker.response_rates(sims)[name]


ENDPOINTS = MappingProxyType(
    {
        "median_pfs": Endpoint("median PFS", "week", lambda sims, _: pfs.median_pfs(sims)),
        "median_pfs_difference": Endpoint(
            "median PFS minus that of the reference", "week", _difference(pfs.median_pfs), versus=True
        ),
        "hazard_ratio": Endpoint(
            "hazard ratio of PFS against the reference (Cox)", "1", pfs.hazard_ratio, versus=True
        ),
        "marginal_hazard_ratio": Endpoint(
            "hazard ratio of PFS against the reference by the model, without event sampling",
            "1",
            pfs.marginal_hazard_ratio,
            versus=True,
        ),
        "log_rank_z": Endpoint(
            "z of the log-rank test against the reference", "1", pfs.log_rank_z, versus=True
        ),
        "pfs_6_months": Endpoint(
            "probability of PFS beyond 6 months",
            "%",
            lambda sims, _: pfs.pfs_probability(sims, _SIX_MONTHS),
            until_day=_SIX_MONTHS,
        ),
        "pfs_12_months": Endpoint(
            "probability of PFS beyond 12 months",
            "%",
            lambda sims, _: pfs.pfs_probability(sims, _TWELVE_MONTHS),
            until_day=_TWELVE_MONTHS,
        ),
        "rmst": Endpoint(
            "mean PFS restricted to the horizon", "week", lambda sims, _: pfs.restricted_mean_pfs(sims)
        ),
        "rmst_difference": Endpoint(
            "mean PFS restricted to the horizon minus that of the reference",
            "week",
            _difference(pfs.restricted_mean_pfs),
            versus=True,
        ),
        "week8_change": Endpoint(
            "median change of M-protein at week 8, all patients",
            "%",
            lambda sims, _: marker.week8_change(sims),
            until_day=marker.WEEK_8_DAY,
        ),
        "week8_change_at_risk": Endpoint(
            "median change of M-protein at week 8, patients still at risk",
            "%",
            lambda sims, _: marker.week8_change(sims, at_risk=True),
            until_day=marker.WEEK_8_DAY,
        ),
        "week8_change_observed": Endpoint(
            "median change of measured M-protein at the week-8 visit, patients still at risk",
            "%",
            lambda sims, _: marker.week8_change(sims, observed=True),
            until_day=marker.WEEK_8_DAY,
        ),
        "overall_response_rate": Endpoint("confirmed PR or better", "%", _rate("overall_response_rate")),
        "vgpr_rate": Endpoint("confirmed VGPR", "%", _rate("vgpr_rate")),
        "clinical_benefit_rate": Endpoint("confirmed MR or better", "%", _rate("clinical_benefit_rate")),
        "disease_control_rate": Endpoint("SD or better", "%", _rate("disease_control_rate")),
        "time_to_response": Endpoint(
            "median time to response, responders", "week", lambda sims, _: marker.time_to_response(sims)
        ),
        "duration_of_response": Endpoint(
            "median duration of response", "week", lambda sims, _: marker.duration_of_response(sims)
        ),
        "time_to_progression": Endpoint(
            "median time to progression by M-protein, all patients",
            "week",
            lambda sims, _: marker.time_to_progression(sims),
        ),
        "time_to_progression_followed": Endpoint(
            "median time to progression by M-protein, patients until PFS",
            "week",
            lambda sims, _: marker.time_to_progression(sims, followed=True),
        ),
    }
)
"""Every endpoint of `endpoints`, by name; their definitions are in the functions they call."""


def endpoints(sims: Sims, names: Sequence[str], *, reference: str | None = None) -> xr.Dataset:
    """What each simulated trial would report: a variable (trial, regimen) for each of `names` (see `ENDPOINTS`).

    sims       what `simulate_trials` returned; large ones are read from disk a few hundred trials at a time.
    reference  the regimen others are compared with, for differences and ratios.

    A time not reached before the horizon is infinite; what does not exist in a trial is NaN. Definitions:
    `bayes_isa.simulation.pfs_endpoints`, `mprotein_endpoints` and `response`. Raises ModelError for an unknown name
    or an endpoint beyond the horizon, RegimenError for a reference that was not simulated.
    """
    chosen = {name: _known(name) for name in names}
    root = trial_data(sims, "pfs_day", "event")
    if reference is not None:
        reference = require_regimen(reference, root["regimen"].to_numpy())
    lacking = [name for name, endpoint in chosen.items() if endpoint.versus and reference is None]
    if lacking:
        raise ModelError(f"{', '.join(lacking)}: give the regimen to compare with as `reference`")
    blocks = []
    for block in trial_blocks(sims):
        values = {name: endpoint.compute(block, reference or "") for name, endpoint in chosen.items()}
        blocks.append(xr.Dataset({name: v.drop_attrs().assign_attrs(v.attrs) for name, v in values.items()}))
    result = xr.concat(blocks, "trial") if len(blocks) > 1 else blocks[0]
    for name, endpoint in chosen.items():
        result[name].attrs = {"units": endpoint.unit, "description": endpoint.description}
    return result.assign_attrs(root.attrs, **({} if reference is None else {"reference": reference}))


def within_horizon(names: Sequence[str], horizon_day: float) -> list[str]:
    """Those of `names` that a simulation to `horizon_day` reaches."""
    return [name for name in names if _known(name).until_day <= horizon_day + 1e-9]


def _known(name: str) -> Endpoint:
    if name not in ENDPOINTS:
        close = nearest(name, ENDPOINTS)
        hint = f"did you mean {close!r}? " if close else ""
        raise ModelError(f"unknown endpoint {name!r}: {hint}there are {', '.join(ENDPOINTS)}")
    return ENDPOINTS[name]
