"""`km_vpc`: observed Kaplan-Meier curves of PFS against those of replicates with each patient's own follow-up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.prediction.envelope import band, global_p_value
from bayes_isa.prediction.kaplan_meier import kaplan_meier
from bayes_isa.prediction.strata import strata_of

_GRID = 101  # days at which curves are given: finer than any figure shows
_LEAST_AT_RISK = (
    5  # patients at risk, in the median over replicates, below which curves are no longer compared
)


def km_vpc(replicates: xr.Dataset, *, by: str | pd.Series | None = None, level: float = 0.9) -> xr.Dataset:
    """Kaplan-Meier curves of PFS by stratum, observed and simulated, with the patients at risk.

    replicates: what `replicate_trial` returns, where each simulated patient is censored at its own follow-up. by: a
    grouping column such as "arm" or "study", or labels by id. Events that the trial saw at visits count, on both sides,
    on the visit that saw them; patients who entered late count as at risk from then on.

    Returns a Dataset, dims (stratum, day): `observed`, `low`, `median`, `high` (probability; NaN where nobody is left),
    `n_at_risk`, `n_at_risk_simulated` (median); `median_pfs_observed` and the replicates' `median_pfs` (stratum, bound)
    in days, infinite where not reached; `p_value` (stratum) of the whole curve, by `global_p_value`, over the days on
    which 5 patients or more are at risk in most replicates. Raises ModelError for anything but replicates.
    """
    if not 0.0 < level < 1.0:
        raise ModelError(f"level: expected a number between 0 and 1, found {level!r}")
    names, stratum = strata_of(replicates, by)
    observed_day = replicates["observed_pfs_day"].to_numpy()
    grid = np.linspace(0.0, float(observed_day.max()), _GRID)
    rows = [
        _stratum(replicates.isel(patient=np.flatnonzero(stratum == s)), grid, level)
        for s in range(len(names))
    ]
    curves = ("stratum", "day")
    return xr.Dataset(
        {
            name: (curves, np.array([row[name] for row in rows]))
            for name in ("observed", "low", "median", "high")
        }
        | {
            name: (curves, np.array([row[name] for row in rows]))
            for name in ("n_at_risk", "n_at_risk_simulated")
        }
        | {
            "median_pfs_observed": (
                "stratum",
                [row["median_pfs_observed"] for row in rows],
                {"units": "day"},
            ),
            "median_pfs": (("stratum", "bound"), [row["median_pfs"] for row in rows], {"units": "day"}),
            "p_value": ("stratum", [row["p_value"] for row in rows]),
        },
        coords={
            "stratum": names,
            "day": ("day", grid, {"units": "day"}),
            "bound": ["low", "median", "high"],
            "n_patients": ("stratum", np.bincount(stratum, minlength=len(names))),
        },
        attrs={
            "level": level,
            "n_replicates": replicates.sizes["replicate"],
            "individuals": replicates.attrs["individuals"],
        },
    )


def _stratum(part: xr.Dataset, grid: np.ndarray, level: float) -> dict[str, np.ndarray | float]:
    observed_day, observed_event = part["observed_pfs_day"].to_numpy(), part["observed_event"].to_numpy()
    day, event = part["pfs_day"].to_numpy(), part["event"].to_numpy()
    entry = part["entry_day"].to_numpy()
    observed = kaplan_meier(observed_day[None], observed_event[None], grid, entry)[0]
    simulated = kaplan_meier(day, event, grid, entry)
    entered = entry[:, None] <= grid
    at_risk = ((observed_day[:, None] >= grid) & entered).sum(axis=0)
    simulated_at_risk = np.median(((day[:, :, None] >= grid) & entered).sum(axis=1), axis=0)
    compared = simulated_at_risk >= _LEAST_AT_RISK
    low, middle, high = band(simulated, level)
    nobody = simulated_at_risk == 0.0
    tail = 0.5 * (1.0 - level)
    medians = np.array([_median(day[r], event[r], entry) for r in range(day.shape[0])])
    return {
        "observed": np.where(at_risk > 0, observed, np.nan),
        "low": np.where(nobody, np.nan, low),
        "median": np.where(nobody, np.nan, middle),
        "high": np.where(nobody, np.nan, high),
        "n_at_risk": at_risk,
        "n_at_risk_simulated": simulated_at_risk,
        "median_pfs_observed": _median(observed_day, observed_event, entry),
        # Order statistics never mix a number with "not reached".
        "median_pfs": np.quantile(medians, [tail, 0.5, 1.0 - tail], method="inverted_cdf"),
        "p_value": global_p_value(observed[compared], simulated[:, compared]),
    }


def _median(day: np.ndarray, event: np.ndarray, entry: np.ndarray) -> float:
    """Kaplan-Meier median; infinite where not reached."""
    times = np.sort(day)
    curve = kaplan_meier(day[None], event[None], times, entry)[0]
    reached = np.flatnonzero(curve <= 0.5)
    return float(times[reached[0]]) if reached.size else float("inf")
