"""What each simulated trial would report: numbers by trial and regimen, before they are summed up."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr
from scipy.optimize import brentq

from bayes_isa.errors import BayesIsaWarning, ModelError
from bayes_isa.simulation.regimen_names import require_regimen

WEEK_8_DAY = 56.0
# A hazard ratio beyond e^15 either way is one arm with no event before the other has had all of its own.
_LARGEST_LOG_HR = 15.0


def median_pfs(sims: xr.Dataset) -> xr.DataArray:
    """Kaplan-Meier median of PFS in weeks, dims (trial, regimen); infinite where it lies beyond the horizon.

    Exact: simulated patients are censored at the common horizon only, where the Kaplan-Meier curve is the
    fraction without an event, and its median the first time this is at most one half.
    """
    day = sims["pfs_day"].where(sims["event"], np.inf).transpose("trial", "regimen", "patient")
    n = day.sizes["patient"]
    sorted_day = np.sort(day.to_numpy(), axis=-1)
    median = sorted_day[..., (n + 1) // 2 - 1] / 7.0
    coords = {name: sims[name] for name in ("trial", "regimen")}
    return xr.DataArray(median, coords, ("trial", "regimen"), "median_pfs", {"units": "week"})


def week8_change(sims: xr.Dataset, *, at_risk: bool = False) -> xr.DataArray:
    """Median over patients of the change of M-protein from baseline to week 8 in %, dims (trial, regimen).

    Without residual error, as if treatment went on, so that patients who have progressed count as well;
    `at_risk` leaves out those who progressed by day 56 under the regimen (NaN where nobody is left). Raises
    ModelError when the simulation ends before week 8.
    """
    day = sims["visit_day"].to_numpy()
    if not (day == WEEK_8_DAY).any():
        raise ModelError(
            f"week 8 lies beyond the horizon of {float(sims.attrs['horizon_day']):g} days: "
            "simulate with horizon_day=56 or more"
        )
    m = sims["m_protein"].astype(float)
    change = 100.0 * (m.isel(visit=int(np.argmax(day == WEEK_8_DAY))) / m.isel(visit=0) - 1.0)
    if at_risk:
        change = change.where(~sims["event"] | (sims["pfs_day"] > WEEK_8_DAY))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)  # nobody at risk: NaN says so
        median = change.median("patient")
    return median.transpose("trial", "regimen").drop_attrs().rename("week8_change").assign_attrs(units="%")


def hazard_ratio(sims: xr.Dataset, reference: str) -> xr.DataArray:
    """Cox hazard ratio of PFS against regimen `reference`, dims (trial, regimen); 1 for the reference itself.

    Each regimen is compared with the reference alone, as two arms of a trial, ties by Efron's method. NaN
    where the ratio is without bound, as when one arm has no events. Raises RegimenError when `reference` was
    not simulated.
    """
    label = require_regimen(reference, sims["regimen"].to_numpy())
    day = sims["pfs_day"].transpose("trial", "regimen", "patient").to_numpy()
    event = sims["event"].transpose("trial", "regimen", "patient").to_numpy()
    labels = [str(name) for name in sims["regimen"].to_numpy()]
    base = labels.index(label)
    ratio = np.ones(day.shape[:2])
    for trial, column in np.ndindex(*ratio.shape):
        if column != base:
            ratio[trial, column] = cox_hazard_ratio(
                day[trial, column], event[trial, column], day[trial, base], event[trial, base]
            )
    coords = {name: sims[name] for name in ("trial", "regimen")}
    return xr.DataArray(ratio, coords, ("trial", "regimen"), "hazard_ratio", {"units": "1"})


def cox_hazard_ratio(
    day: np.ndarray, event: np.ndarray, reference_day: np.ndarray, reference_event: np.ndarray
) -> float:
    """Hazard ratio of two arms by Cox's partial likelihood with Efron's ties; NaN when it has no finite
    maximum.

    Days (n,), (m,) and event flags of either arm. The score of one binary covariate is a sum over events,
    whose root a bracketing solver finds in a hundredth of the time of a general Cox fit.
    """
    at = np.unique(np.concatenate([day[event], reference_day[reference_event]]))

    def counts(days: np.ndarray, flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at_risk = days.size - np.searchsorted(np.sort(days), at, side="left")
        ended = np.sort(days[flags])
        return at_risk, np.searchsorted(ended, at, side="right") - np.searchsorted(ended, at, side="left")

    (risk, died), (base_risk, base_died) = counts(day, event), counts(reference_day, reference_event)
    tied = died + base_died
    # Efron: the l-th of d tied events takes the share l/d of those with the event out of the risk set.
    which = np.repeat(np.arange(at.size), tied)
    share = (np.arange(which.size) - np.repeat(np.cumsum(tied) - tied, tied)) / tied[which]
    own = (risk[which] - share * died[which]).astype(float)
    base = (base_risk[which] - share * base_died[which]).astype(float)
    events = int(died.sum())

    def score(log_ratio: float) -> float:
        weighted = own * np.exp(log_ratio)
        return events - float((weighted / (base + weighted)).sum())

    if at.size == 0 or score(-_LARGEST_LOG_HR) <= 0.0 or score(_LARGEST_LOG_HR) >= 0.0:
        return float("nan")
    return float(np.exp(brentq(score, -_LARGEST_LOG_HR, _LARGEST_LOG_HR, xtol=1e-12)))


def warn_undefined(count: int, n_trials: int, what: str) -> None:
    """Tells of trials in which a quantity does not exist."""
    if count:
        warnings.warn(f"{what} does not exist in {count} of {n_trials} trials", BayesIsaWarning, stacklevel=3)
