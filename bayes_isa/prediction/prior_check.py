"""`prior_check`: what the priors say before any outcome, on the scale people know."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.errors import ModelError
from bayes_isa.model.build import record_of
from bayes_isa.prediction.envelope import band
from bayes_isa.prediction.kaplan_meier import kaplan_meier
from bayes_isa.prediction.replicates import replicate_trial
from bayes_isa.prediction.vpc import QUANTILES

_HORIZON_DAY = 609.0  # 20 months, as in simulated trials
_WEEK_8_DAY = 56.0
# Above anything seen: the highest baseline published is 84 g/L, and serum holds 60 to 80 g/L of all proteins.
_IMPLAUSIBLE_M = 200.0
_FIRST_DAY = (
    1e-5  # everyone has progressed by then, so that visits are all planned ones and no outcome is used
)


def prior_check(
    model: pm.Model,
    *,
    n_draws: int = 300,
    seed: int,
    horizon_day: float = _HORIZON_DAY,
    quantiles: Sequence[float] = QUANTILES,
    level: float = 0.9,
) -> xr.Dataset:
    """Trials of the model's patients and doses simulated from its priors: M-protein, response and PFS.

    model: of `build_model`. Of the data only covariates, doses (continued) and the first visit are used; M-protein is
    followed until progression, all patients to `horizon_day`.

    Returns a Dataset: percentiles of M-protein across patients on study, `m_protein_low`, `m_protein_median`,
    `m_protein_high` (quantile, visit) in g/L over draws; `surviving_low`, `surviving_median`, `surviving_high` (day)
    PFS probability; by draw: `median_pfs` (days, infinite where not reached by the horizon), `week_8_change` (median
    of patients on study, %), `share_above_200` (of patients, whose M exceeds 200 g/L before progression), `early`
    (share progressing within 28 days). Raises ModelError for a model not made by `build_model`.
    """
    record = record_of(model)
    if record is None:
        raise ModelError("prior_check needs a model made by `build_model`")
    if n_draws < 1 or not horizon_day > 0.0:
        raise ModelError(f"expected n_draws >= 1 and horizon_day > 0, found {n_draws}, {horizon_day}")
    names = [rv.name for rv in model.free_RVs] + [d.name for d in model.deterministics]
    with _quiet():
        prior = pm.sample_prior_predictive(draws=n_draws, model=model, var_names=names, random_seed=seed)
    draws = xr.DataTree.from_dict({"posterior": prior["prior"].to_dataset()})
    trial = _without_outcomes(record.data.trial)
    follow_up = pd.Series(horizon_day, index=trial.patients.index)
    replicates = replicate_trial(
        draws, n_replicates=n_draws, seed=seed, follow_up=follow_up, trial=trial, spec=record.data.spec
    )
    return _summary(replicates, horizon_day, quantiles, level)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the list of variables, and word of those that numba does not compile, that PyMC has for its own users."""
    logger = logging.getLogger("pymc.sampling.forward")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Numba will use object mode", category=UserWarning)
            yield
    finally:
        logger.setLevel(level)


def _without_outcomes(trial: Trial) -> Trial:
    pfs = pd.DataFrame({"day": _FIRST_DAY, "event": True}, index=trial.pfs.index)
    return replace(trial, pfs=pfs)


def _summary(
    replicates: xr.Dataset, horizon_day: float, quantiles: Sequence[float], level: float
) -> xr.Dataset:
    day = replicates["visit_day"].to_numpy()
    # Visits are every patient's own baseline and then at one common interval.
    number = pd.Series(day).groupby(replicates["visit_patient"].to_numpy()).cumcount().to_numpy()
    on_study = replicates["on_study"].to_numpy()
    value = np.where(on_study, replicates["m_protein"].to_numpy(), np.nan)
    n = value.shape[0]
    visits = np.arange(number.max() + 1)
    percentiles = np.full((n, len(quantiles), visits.size), np.nan)
    for v in visits:
        here = value[:, number == v]
        some = ~np.isnan(here).all(axis=1)
        if some.any():
            percentiles[some, :, v] = np.nanquantile(here[some], quantiles, axis=1).T
    pfs_day, event = replicates["pfs_day"].to_numpy(), replicates["event"].to_numpy()
    grid = np.linspace(0.0, horizon_day, 101)
    surviving = kaplan_meier(pfs_day, event, grid)
    m_low, m_median, m_high = band(percentiles, level)
    s_low, s_median, s_high = band(surviving, level)
    by_draw = {
        # Everyone is followed to the same horizon, so the Kaplan-Meier median is an order statistic.
        "median_pfs": (
            np.quantile(np.where(event, pfs_day, np.inf), 0.5, axis=1, method="inverted_cdf"),
            "day",
        ),
        "week_8_change": (_week_8_change(value, day, number, replicates), "%"),
        "share_above_200": (_share_above(value, replicates), "1"),
        "early": ((pfs_day <= 28.0).mean(axis=1), "1"),
    }
    at = ("quantile", "visit")
    visit_day = pd.Series(day).groupby(number).median().to_numpy()
    return xr.Dataset(
        {
            "m_protein_low": (at, m_low, {"units": "g/L"}),
            "m_protein_median": (at, m_median, {"units": "g/L"}),
            "m_protein_high": (at, m_high, {"units": "g/L"}),
            "surviving_low": ("day", s_low, {"units": "1"}),
            "surviving_median": ("day", s_median, {"units": "1"}),
            "surviving_high": ("day", s_high, {"units": "1"}),
        }
        | {name: ("sample", values, {"units": unit}) for name, (values, unit) in by_draw.items()},
        coords={
            "quantile": np.asarray(quantiles, dtype=float),
            "visit_day": ("visit", visit_day, {"units": "day"}),
            "day": ("day", grid, {"units": "day"}),
        },
        attrs={"level": level, "horizon_day": horizon_day, "n_patients": replicates.sizes["patient"]},
    )


def _week_8_change(
    value: np.ndarray, day: np.ndarray, number: np.ndarray, replicates: xr.Dataset
) -> np.ndarray:
    """Median change in % from baseline to the visit nearest week 8, of patients then on study; NaN without any."""
    visit = int(np.argmin(np.abs(pd.Series(day).groupby(number).median().to_numpy() - _WEEK_8_DAY)))
    patient = replicates["visit_patient"].to_numpy()
    table = pd.DataFrame({"patient": patient, "number": number, "row": np.arange(day.size)})
    rows = table.pivot_table(index="patient", columns="number", values="row")
    if visit == 0 or visit not in rows:
        return np.full(value.shape[0], np.nan)
    both = rows[[0, visit]].dropna().to_numpy(dtype=int)
    change = 100.0 * (value[:, both[:, 1]] / value[:, both[:, 0]] - 1.0)
    result = np.full(value.shape[0], np.nan)
    some = ~np.isnan(change).all(axis=1)
    result[some] = np.nanmedian(change[some], axis=1)
    return result


def _share_above(value: np.ndarray, replicates: xr.Dataset) -> np.ndarray:
    patient = pd.Index(replicates["patient"].to_numpy()).get_indexer(replicates["visit_patient"])
    above = np.nan_to_num(value) > _IMPLAUSIBLE_M
    ever = np.zeros((value.shape[0], replicates.sizes["patient"]), dtype=bool)
    for i in range(ever.shape[1]):
        ever[:, i] = above[:, patient == i].any(axis=1)
    return ever.mean(axis=1)
