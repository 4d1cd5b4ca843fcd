"""Events between visits and delayed entry against SciPy's ODE solvers: log[S(lower) - S(upper)] - log S(entry)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr
from kernels.trials import awkward_trial

from bayes_isa.data import Trial
from bayes_isa.model.joint_data import prepare
from bayes_isa.model.likelihood import evaluate_log_likelihood
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import ModelSpec

from .joint_by_solve_ivp import log_m_and_hazard
from .test_likelihood_against_ode import LARGEST_H, LARGEST_M, draw_sets

VISIT_DAY = 28.0
# A chance below this of an event in its interval says that the set does not fit the patient.
LEAST_PROBABILITY = 1e-3


def every_kind(trial: Trial, rng: np.random.Generator) -> Trial:
    """The same patients: events seen at the next visit in two of three, a late entry in two of three."""
    day, event = trial.pfs["day"].to_numpy(dtype=float), trial.pfs["event"].to_numpy(dtype=bool)
    interval = event & (rng.random(day.size) < 0.67)
    lower = VISIT_DAY * np.floor(day / VISIT_DAY)
    upper = np.where(interval, lower + VISIT_DAY, np.nan)
    latest = np.where(interval, lower, 0.9 * day)
    entry = np.where(rng.random(day.size) < 0.67, np.round(rng.random(day.size) * latest, 2), 0.0)
    pfs = pd.DataFrame(
        {
            "day": np.where(interval, upper, day),
            "event": event,
            "day_lower": np.where(interval, lower, np.nan),
            "day_upper": upper,
            "entry_day": entry,
        },
        index=trial.pfs.index,
    )
    return replace(trial, pfs=pfs)


def test_terms_of_every_kind():
    tolerance, rng = 1e-3, np.random.default_rng(5)
    trial = every_kind(awkward_trial(18), rng)
    data = prepare(trial, ModelSpec(tolerance=tolerance, covariates={}))
    lower, entry = trial.progression_free_day, trial.entry_day
    errors, kinds = [], []
    for i in range(trial.n_patients):
        n = 4
        sets, _ = draw_sets(n, load_priors("weakly_informative"), float(trial.baseline_mprotein.iloc[i]), rng)

        def exposure(day: float, i: int = i) -> tuple[float, float]:
            effect, dexamethasone = data.exposure.evaluate(np.array([i]), np.array([day]))
            return float(effect[0]), float(dexamethasone[0])

        log_m, upper_h, log_hazard, (entry_h, lower_h) = _at(
            sets, exposure, data.exposure.breakpoints.of(i), trial, i, np.array([entry[i], lower[i]])
        )
        since = lower_h - entry_h
        probability = -np.expm1(-(upper_h - lower_h))
        with np.errstate(divide="ignore"):
            part = np.log(probability) if trial.interval_censored[i] else log_hazard
        expected = np.where(data.event[i], part, 0.0) - since
        found = _found(data, sets, i)
        probable = probability > LEAST_PROBABILITY
        ok = (log_m.max(axis=1) < np.log(LARGEST_M)) & (upper_h < LARGEST_H)
        ok &= probable | ~trial.interval_censored[i]
        errors.append(np.abs(found[ok] - expected[ok]))
        kinds.append(np.full(ok.sum(), int(trial.interval_censored[i]) + 2 * (entry[i] > 0.0)))
    error, kind = np.concatenate(errors), np.concatenate(kinds)
    print({k: (int((kind == k).sum()), float(error[kind == k].max())) for k in range(4)})
    assert all((kind == k).sum() >= 5 for k in range(4))
    assert np.all(error < tolerance)


def _at(sets, exposure, breaks, trial, i, days):
    rows = trial.mprotein["id"] == trial.patients.index[i]
    visits = trial.mprotein["day"].to_numpy(dtype=float)[rows]
    event_day = float(trial.pfs["day"].iloc[i])
    # Day 0 is no stretch's end: nothing is cumulated there.
    *terms, earlier = log_m_and_hazard(sets, exposure, breaks, visits, event_day, 1e-8, days)
    return (*terms, earlier.T)


def _found(data, sets, i):
    phi = np.log(np.column_stack([sets.m0, sets.kl, sets.kd, sets.r, sets.ec50]))
    repeated = np.repeat(phi[:, None, :], data.trial.n_patients, axis=1)
    scalars = {name: getattr(sets, name) for name in ("k", "s", "beta_link", "sigma_add", "sigma_prop")}
    parameters = xr.Dataset(
        {
            "phi": (("sample", "patient", "parameter"), repeated),
            "Te": ("sample", sets.te),
            **{name: ("sample", column) for name, column in scalars.items()},
        }
    )
    return evaluate_log_likelihood(data, parameters)["pfs"].to_numpy()[:, i]
