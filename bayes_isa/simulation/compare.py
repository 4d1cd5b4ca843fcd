"""Regimens side by side: every quantity with its 90 % interval over simulated trials, and how likely one is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.simulation.decisions import DECISIONS, decision_rows
from bayes_isa.simulation.endpoints import ENDPOINTS, endpoints, within_horizon
from bayes_isa.simulation.regimen_names import require_regimen
from bayes_isa.simulation.trials import (
    Sims,
    horizon,
    marginal_survival,
    require_followed,
    trial_data,
    warn_undefined,
)

_COMPARED = (
    "median_pfs",
    "median_pfs_difference",
    "hazard_ratio",
    "marginal_hazard_ratio",
    "pfs_6_months",
    "pfs_12_months",
    "rmst",
    "rmst_difference",
    "week8_change",
    "week8_change_at_risk",
    "overall_response_rate",
    "vgpr_rate",
    "clinical_benefit_rate",
    "disease_control_rate",
)
QUANTITIES: Mapping[str, str] = MappingProxyType(
    {name: ENDPOINTS[name].description for name in _COMPARED} | dict(DECISIONS)
)
"""What `compare_regimens` reports unless asked for something else."""


def compare_regimens(
    sims: Sims,
    *,
    reference: str,
    quantities: Sequence[str] | None = None,
    margin_weeks: float = 0.0,
    hazard_ratio_below: float = 1.0,
) -> pd.DataFrame:
    """The simulated regimens compared: one row for each regimen and quantity, in the order simulated.

    quantities    names of `ENDPOINTS`; by default those of `QUANTITIES` that the simulation reaches, week 8 always.
    margin_weeks  a regimen is better when its median PFS is longer than that of the reference by more than this.
    hazard_ratio_below  or when its hazard ratio is below this.

    Columns: regimen; quantity; median, p5, p95 over trials (order statistics: a median PFS that is not reached
    before the horizon counts as infinite and stays so); unit; n_trials; n_not_reached, the trials in which a median
    PFS lies beyond the horizon; n_undefined, those in which the quantity does not exist at all (a difference of two
    medians not reached, a hazard ratio without bound, nobody at risk), which the other columns leave out, with a
    warning. attrs: "reference", "horizon_day", "margin_weeks", "hazard_ratio_below", "left_out" (quantities beyond
    the horizon).

    The decision quantities (`DECISIONS`) are probabilities over the simulated trials: `median` is the probability,
    p5 and p95 its Monte Carlo interval; a trial in which neither is defined counts for neither. With all sources of
    uncertainty a probability is that of the next trial of this size; simulate with vary=["parameters"] and use
    `marginal_hazard_ratio` for what is believed of the regimens themselves.

    Raises RegimenError when `reference` was not simulated, ModelError for an unknown quantity or one beyond the
    horizon.
    """
    root = trial_data(sims, "pfs_day", "event", "m_protein")
    label = require_regimen(reference, root["regimen"].to_numpy())
    names, left_out = _names(sims, root, quantities)
    needed = ("median_pfs", "median_pfs_difference", "hazard_ratio")
    values = endpoints(sims, list(dict.fromkeys([*names, *needed])), reference=label)
    decisions = decision_rows(values, label, margin_weeks, hazard_ratio_below) if quantities is None else {}
    rows: list[dict[str, object]] = []
    for regimen in map(str, root["regimen"].to_numpy()):
        chosen = [name for name in names if not (ENDPOINTS[name].versus and regimen == label)]
        rows += [_row(regimen, name, values, label) for name in chosen]
        rows += decisions.get(regimen, [])
    table = pd.DataFrame(rows)
    table.attrs = {
        "reference": label,
        "horizon_day": horizon(root),
        "margin_weeks": margin_weeks,
        "hazard_ratio_below": hazard_ratio_below,
        "left_out": left_out,
    }
    return table


def _names(sims: Sims, root: xr.Dataset, asked: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Quantities to report, and those left out of the default for lack of follow-up."""
    if asked is not None:
        names = list(asked)
        for name in names:
            within_horizon([name], horizon(root))
            require_followed(root, ENDPOINTS[name].until_day, ENDPOINTS[name].description)
        return names, []
    require_followed(root, ENDPOINTS["week8_change"].until_day, "week 8")
    possible = [n for n in _COMPARED if n != "marginal_hazard_ratio" or marginal_survival(sims) is not None]
    names = within_horizon(possible, horizon(root))
    return names, [name for name in _COMPARED if name not in names]


def _row(regimen: str, quantity: str, values: xr.Dataset, reference: str) -> dict[str, object]:
    numbers = values[quantity].sel(regimen=regimen).to_numpy()
    defined = numbers[~np.isnan(numbers)]
    undefined = numbers.size - defined.size
    warn_undefined(undefined, numbers.size, f"{ENDPOINTS[quantity].description} of {regimen}")
    # An order statistic never mixes a number with "not reached".
    low, middle, high = (
        np.quantile(defined, [0.05, 0.5, 0.95], method="inverted_cdf") if defined.size else [np.nan] * 3
    )
    not_reached = np.isinf(numbers)
    if quantity == "median_pfs_difference":
        medians = values["median_pfs"]
        not_reached = np.isinf(medians.sel(regimen=regimen)) | np.isinf(medians.sel(regimen=reference))
    return {
        "regimen": regimen,
        "quantity": quantity,
        "median": float(middle),
        "p5": float(low),
        "p95": float(high),
        "unit": ENDPOINTS[quantity].unit,
        "n_trials": numbers.size,
        "n_not_reached": int(np.sum(not_reached)),
        "n_undefined": undefined,
    }
