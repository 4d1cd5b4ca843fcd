"""M-protein of simulated trials: its fall at week 8, and response by the rules of `bayes_isa.simulation.response`.

M-protein is simulated as if treatment and visits went on to the horizon in everybody ("all patients"). What a trial
sees ("followed") ends with progression: visits up to and including the day of PFS.
"""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.simulation.response import CATEGORIES, MR, PR, SD, VGPR, Response, assess
from bayes_isa.simulation.survival import median_time
from bayes_isa.simulation.trials import Sims, by_trial, require_followed, trial_data

WEEK_8_DAY = 56.0
_WEEK_DAYS = 7.0
RATES = {
    "vgpr_rate": VGPR,
    "overall_response_rate": PR,
    "clinical_benefit_rate": MR,
    "disease_control_rate": SD,
}
"""Rates of best response, by the least that counts."""


def week8_change(sims: Sims, *, at_risk: bool = False, observed: bool = False) -> xr.DataArray:
    """Median over patients of the change of M-protein from baseline to week 8 in %, dims (trial, regimen).

    By the model: M(56)/M(0) - 1 without residual error, as if treatment went on, so that patients who have progressed
    count as well; `at_risk` leaves out those who progressed by day 56 under the regimen (NaN where nobody is left).
    `observed`: by the visit, from measurements with residual error at both visits, in patients still at risk on day
    56. Raises ModelError when the simulation ends before week 8, has no visit then, or no measurements.
    """
    name = _marker(observed)
    root = trial_data(sims, "pfs_day", "event", name)
    require_followed(root, WEEK_8_DAY, "week 8")
    day = root["visit_day"].to_numpy()
    if not (day == WEEK_8_DAY).any():
        raise ModelError("no visit on day 56: simulate with visits every 28 days or oftener")
    m = root[name].astype(float)
    change = 100.0 * (m.isel(visit=int(np.argmax(day == WEEK_8_DAY))) / m.isel(visit=0) - 1.0)
    if at_risk or observed:
        change = change.where(~root["event"] | (root["pfs_day"] > WEEK_8_DAY))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)  # nobody at risk: NaN says so
        median = np.nanmedian(change.to_numpy(), axis=-1)
    return by_trial(median, root, "week8_change", "%")


def best_response(sims: Sims, *, followed: bool = True, observed: bool = False) -> xr.Dataset:
    """Response of every simulated patient, dims (trial, regimen, patient).

    `best_response`: code, see attrs "categories" (NE 0, PD 1, SD 2, MR 3, PR 4, VGPR 5); the days of the first of
    the two visits that confirm it, infinite where never: `response_day` (PR or better), `vgpr_day`,
    `progression_day` (PD by M-protein). Rules: see `bayes_isa.simulation.response`. `followed`: visits until PFS;
    else all visits to the horizon, as if nobody stopped. `observed`: from measurements with residual error instead
    of the model's M-protein. Raises ModelError when `sims` has none.
    """
    name = _marker(observed)
    root = trial_data(sims, "pfs_day", "event", name)
    response = _assessed(root, name, followed)
    dims = ("trial", "regimen", "patient")
    visit_day = root["visit_day"].to_numpy()
    units = {"units": "day"}
    return xr.Dataset(
        {
            "best_response": (dims, response.best, {"categories": list(CATEGORIES)}),
            "response_day": (dims, _days(response.response_visit, visit_day), units),
            "vgpr_day": (dims, _days(response.vgpr_visit, visit_day), units),
            "progression_day": (dims, _days(response.progression_visit, visit_day), units),
        },
        coords={dim: root[dim] for dim in dims},
    )


def response_rates(sims: Sims, *, followed: bool = True, observed: bool = False) -> xr.Dataset:
    """Shares of all patients in %, dims (trial, regimen), by best response (see `best_response`).

    `vgpr_rate`: VGPR; `overall_response_rate` (ORR): PR or better; `clinical_benefit_rate` (CBR): MR or better;
    `disease_control_rate`: SD or better. Patients who cannot be evaluated count as failures.
    """
    response = best_response(sims, followed=followed, observed=observed)
    best = response["best_response"].to_numpy()
    return xr.Dataset(
        {
            name: by_trial(100.0 * (best >= least).mean(axis=-1), response, name, "%")
            for name, least in RATES.items()
        }
    )


def time_to_response(sims: Sims, *, observed: bool = False) -> xr.DataArray:
    """Median in weeks, over patients with a confirmed response (PR or better), of the time from the first dose to the
    first of its two visits; dims (trial, regimen), NaN where nobody responds."""
    response = best_response(sims, observed=observed)
    day = response["response_day"].to_numpy()
    return by_trial(_median_of_finite(day) / _WEEK_DAYS, response, "time_to_response", "week")


def duration_of_response(sims: Sims, *, observed: bool = False) -> xr.DataArray:
    """Kaplan-Meier median in weeks, over responders, of the time from response (first of its two visits) to
    progression or death (PFS), censored at the horizon; dims (trial, regimen).

    Infinite where the median lies beyond the horizon, NaN where nobody responds.
    """
    root = trial_data(sims, "pfs_day", "event")
    start = best_response(sims, observed=observed)["response_day"].to_numpy()
    day, event = root["pfs_day"].to_numpy(), root["event"].to_numpy()
    median = np.full(day.shape[:2], np.nan)
    for at in np.ndindex(*median.shape):
        responded = np.isfinite(start[at])
        if responded.any():
            median[at] = median_time((day[at] - start[at])[responded], event[at][responded]) / _WEEK_DAYS
    return by_trial(median, root, "duration_of_response", "week")


def time_to_progression(sims: Sims, *, followed: bool = False, observed: bool = False) -> xr.DataArray:
    """Kaplan-Meier median in weeks of the time to progression (TTP) by M-protein: the first of the two visits that
    confirm PD; dims (trial, regimen), infinite where it lies beyond the horizon.

    All patients, as if treatment and visits went on to the horizon; `followed`: visits until PFS, where patients
    without PD by then are censored.
    """
    root = trial_data(sims, "pfs_day", "event")
    response = best_response(sims, followed=followed, observed=observed)
    progression = response["progression_day"].to_numpy()
    end = root["pfs_day"].to_numpy() if followed else np.full(progression.shape, root.attrs["horizon_day"])
    median = np.empty(progression.shape[:2])
    for at in np.ndindex(*median.shape):
        event = np.isfinite(progression[at])
        median[at] = median_time(np.where(event, progression[at], end[at]), event) / _WEEK_DAYS
    return by_trial(median, root, "time_to_progression", "week")


def _marker(observed: bool) -> str:
    return "m_protein_observed" if observed else "m_protein"


def _assessed(root: xr.Dataset, name: str, followed: bool) -> Response:
    m = root[name].transpose("trial", "regimen", "patient", "visit").to_numpy()
    visit_day = root["visit_day"].to_numpy()
    end = root["pfs_day"].to_numpy() if followed else np.full(m.shape[:3], np.inf)
    return assess(m, np.searchsorted(visit_day, end, side="right"))


def _days(visit: np.ndarray, visit_day: np.ndarray) -> np.ndarray:
    return np.where(visit >= 0, visit_day[visit], np.inf)


def _median_of_finite(values: np.ndarray) -> np.ndarray:
    """Median along the last axis of the finite values, NaN where there are none."""
    finite = np.where(np.isfinite(values), values, np.nan)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.asarray(np.nanmedian(finite, axis=-1))
