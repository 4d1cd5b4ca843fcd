"""Regimens side by side: every quantity with its 90 % interval over simulated trials."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.simulation.regimen_names import require_regimen
from bayes_isa.simulation.summary import hazard_ratio, median_pfs, warn_undefined, week8_change

QUANTITIES = {
    "median_pfs": "median PFS",
    "median_pfs_difference": "median PFS minus that of the reference",
    "hazard_ratio": "hazard ratio of PFS against the reference (Cox)",
    "week8_change": "median change of M-protein at week 8, all patients",
    "week8_change_at_risk": "median change of M-protein at week 8, patients still at risk",
}


def compare_regimens(sims: xr.Dataset, *, reference: str) -> pd.DataFrame:
    """The simulated regimens compared: one row for each regimen and quantity, in the order simulated.

    Columns: regimen; quantity (a key of `QUANTITIES`); median, p5, p95 over trials (order statistics: a
    median PFS that is not reached before the horizon counts as infinite and stays so); unit; n_trials;
    n_not_reached, the trials in which a median PFS lies beyond the horizon; n_undefined, those in which the
    quantity does not exist at all (a difference of two medians not reached, a hazard ratio without bound,
    nobody at risk), which the other columns leave out, with a warning. attrs: "reference", "horizon_day".

    Raises RegimenError when `reference` was not simulated, ModelError when the simulation ends before week 8.
    """
    missing = [name for name in ("pfs_day", "event", "m_protein") if name not in sims]
    if missing:
        raise ModelError(f"these are no simulated trials: {', '.join(missing)} is missing")
    label = require_regimen(reference, sims["regimen"].to_numpy())
    median = median_pfs(sims)
    against = median.sel(regimen=label)
    with np.errstate(invalid="ignore"):  # infinite minus infinite: neither median is reached, no difference
        difference = median - against.drop_vars("regimen")
    by_quantity = {
        "median_pfs": median,
        "median_pfs_difference": difference.assign_attrs(units="week"),
        "hazard_ratio": hazard_ratio(sims, label),
        "week8_change": week8_change(sims),
        "week8_change_at_risk": week8_change(sims, at_risk=True),
    }
    rows = []
    for name in map(str, sims["regimen"].to_numpy()):
        not_reached = np.isinf(median.sel(regimen=name).to_numpy())
        if name != label:
            not_reached_either = not_reached | np.isinf(against.to_numpy())
        for quantity, values in by_quantity.items():
            versus = quantity in ("median_pfs_difference", "hazard_ratio")
            if versus and name == label:
                continue
            beyond = {"median_pfs": not_reached}.get(quantity)
            if quantity == "median_pfs_difference":
                beyond = not_reached_either
            rows.append(_row(name, quantity, values.sel(regimen=name), beyond))
    table = pd.DataFrame(rows)
    table.attrs = {"reference": label, "horizon_day": float(sims.attrs["horizon_day"])}
    return table


def _row(
    regimen: str, quantity: str, values: xr.DataArray, not_reached: np.ndarray | None
) -> dict[str, object]:
    numbers = values.to_numpy()
    defined = numbers[~np.isnan(numbers)]
    undefined = numbers.size - defined.size
    warn_undefined(undefined, numbers.size, f"{QUANTITIES[quantity]} of {regimen}")
    # An order statistic never mixes a number with "not reached".
    low, middle, high = (
        np.quantile(defined, [0.05, 0.5, 0.95], method="inverted_cdf") if defined.size else [np.nan] * 3
    )
    return {
        "regimen": regimen,
        "quantity": quantity,
        "median": float(middle),
        "p5": float(low),
        "p95": float(high),
        "unit": values.attrs["units"],
        "n_trials": numbers.size,
        "n_not_reached": 0 if not_reached is None else int(not_reached.sum()),
        "n_undefined": undefined,
    }
