"""Progression-free survival of simulated trials: one number by trial and regimen.

Simulated patients are censored at the common horizon only. There the Kaplan-Meier curve is the share of patients
without an event, so medians, probabilities and restricted means are counts and averages, exact.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.simulation.regimen_names import require_regimen
from bayes_isa.simulation.survival import cox_hazard_ratio, log_rank
from bayes_isa.simulation.survival import marginal_hazard_ratio as ratio_of_curves
from bayes_isa.simulation.trials import (
    Sims,
    by_trial,
    horizon,
    marginal_survival,
    require_followed,
    trial_data,
)

MONTH_DAYS = 365.25 / 12
_WEEK_DAYS = 7.0


def median_pfs(sims: Sims) -> xr.DataArray:
    """Kaplan-Meier median of PFS in weeks, dims (trial, regimen): the first time at which half the patients or
    fewer are free of an event; infinite where that lies beyond the horizon."""
    root = trial_data(sims, "pfs_day", "event")
    sorted_day = np.sort(_event_day(root), axis=-1)
    n = sorted_day.shape[-1]
    return by_trial(sorted_day[..., (n + 1) // 2 - 1] / _WEEK_DAYS, root, "median_pfs", "week")


def pfs_probability(sims: Sims, day: float) -> xr.DataArray:
    """Share of patients in % without an event on `day` or before, dims (trial, regimen).

    Raises ModelError when the simulation ends before `day`.
    """
    root = trial_data(sims, "pfs_day", "event")
    require_followed(root, day, f"PFS on day {day:g}")
    return by_trial(100.0 * (_event_day(root) > day).mean(axis=-1), root, "pfs_probability", "%")


def restricted_mean_pfs(sims: Sims, day: float | None = None) -> xr.DataArray:
    """Restricted mean survival time (RMST): mean over patients of min(PFS, `day`) in weeks, dims (trial, regimen).

    `day`: the horizon by default. Raises ModelError when the simulation ends before it.
    """
    root = trial_data(sims, "pfs_day", "event")
    until = horizon(root) if day is None else float(day)
    require_followed(root, until, f"the restricted mean to day {until:g}")
    mean = np.minimum(_event_day(root), until).mean(axis=-1) / _WEEK_DAYS
    return by_trial(mean, root, "rmst", "week")


def hazard_ratio(sims: Sims, reference: str) -> xr.DataArray:
    """Cox hazard ratio of PFS against regimen `reference`, dims (trial, regimen); 1 for the reference itself.

    Each regimen is compared with the reference alone, as two arms of a trial, ties by Efron's method. All regimens
    have the same patients with the same event quantiles, so the ratio varies less between trials than that of two
    arms of different patients would; `assurance` simulates those. NaN where the ratio is without bound, as when one
    arm has no events. Raises RegimenError when `reference` was not simulated.
    """
    return _against(sims, reference, cox_hazard_ratio, "hazard_ratio", 1.0)


def log_rank_z(sims: Sims, reference: str) -> xr.DataArray:
    """z of the log-rank test against regimen `reference`, dims (trial, regimen); negative: fewer events than
    expected.

    The arms hold the same patients, so that z is not standard normal when regimens are alike. Raises RegimenError
    when `reference` was not simulated.
    """
    return _against(sims, reference, log_rank, "log_rank_z", 0.0)


def marginal_hazard_ratio(sims: Sims, reference: str) -> xr.DataArray:
    """The model's own hazard ratio of PFS against regimen `reference`, dims (trial, regimen), without event sampling.

    From the survival curves averaged over the trial's patients, exp(-H) each: the Cox hazard ratio that infinitely
    many such patients in either arm would give by the horizon. It varies between trials with parameters and
    patients alone. Raises RegimenError when `reference` was not simulated, ModelError when `sims` has no group
    "marginal".
    """
    curves = marginal_survival(sims)
    if curves is None:
        raise ModelError(
            'the marginal hazard ratio needs the group "marginal": pass what simulate_trials returned'
        )
    label = require_regimen(reference, curves["regimen"].to_numpy())
    survival = curves.transpose("trial", "regimen", "day").to_numpy()
    base = [str(name) for name in curves["regimen"].to_numpy()].index(label)
    ratio = np.ones(survival.shape[:2])
    for trial, column in np.ndindex(*ratio.shape):
        if column != base:
            ratio[trial, column] = ratio_of_curves(survival[trial, column], survival[trial, base])
    return by_trial(ratio, trial_data(sims), "marginal_hazard_ratio", "1")


def _event_day(root: xr.Dataset) -> np.ndarray:
    """PFS days (trial, regimen, patient), infinite where the horizon came first."""
    return np.where(root["event"].to_numpy(), root["pfs_day"].to_numpy(), np.inf)


def _against(
    sims: Sims, reference: str, compare: Callable[..., float], name: str, of_itself: float
) -> xr.DataArray:
    root = trial_data(sims, "pfs_day", "event")
    label = require_regimen(reference, root["regimen"].to_numpy())
    day, event = root["pfs_day"].to_numpy(), root["event"].to_numpy()
    base = [str(regimen) for regimen in root["regimen"].to_numpy()].index(label)
    values = np.full(day.shape[:2], of_itself)
    for trial, column in np.ndindex(*values.shape):
        if column != base:
            values[trial, column] = compare(
                day[trial, column], event[trial, column], day[trial, base], event[trial, base]
            )
    return by_trial(values, root, name, "1")
