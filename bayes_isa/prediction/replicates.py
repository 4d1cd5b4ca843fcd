"""`replicate_trial`: the trial that was observed, run again under the model, with its own visits and follow-up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.errors import ModelError
from bayes_isa.kernels.design import offsets_of
from bayes_isa.kernels.evaluate import (
    Parameters,
    evaluate_curves,
    event_times,
    log_m_at_measurements,
)
from bayes_isa.kernels.hazard import Shape, make_shape
from bayes_isa.kernels.panels import Panels, ReferenceParameters, build_panels
from bayes_isa.kernels.timeline import Timeline
from bayes_isa.model.exposures import spec_exposure
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.draws import require_finite
from bayes_isa.prediction.follow_up import (
    Schedule,
    doses_to,
    draw_follow_up,
    known_follow_up,
    planned_schedule,
)
from bayes_isa.simulation.parameters import ParameterSet, PosteriorDraws, posterior_draws
from bayes_isa.simulation.patients import dexamethasone_shift, draw_individuals, linear_predictor
from bayes_isa.simulation.pool import Pool, fitted_data, make_pool
from bayes_isa.simulation.quadrature import slow_growth

# As for simulated trials: the parameter sets panels are made for, the days on which the hazard starts, and the widest
# panel.
_REFERENCE_SETS = 16
_FIRST_DAYS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_WIDEST_DAY = 3.5
# A hundredth in the cumulative hazard moves an event time by a hundredth of its own spread.
_TOLERANCE = 1e-2
_LOG_LARGEST = 80.0  # untreated growth to the horizon leaves every scale
_MOST_LABELS = 12  # a column of the patients with more values than this is no grouping


def replicate_trial(
    fit: xr.DataTree,
    *,
    n_replicates: int = 300,
    seed: int,
    individuals: Literal["new", "own"] = "new",
    follow_up: pd.Series | None = None,
    trial: Trial | None = None,
    spec: ModelSpec | None = None,
) -> xr.Dataset:
    """Posterior predictive replicates of a fit's trial, for `vpc` and `km_vpc`.

    Each replicate has the same patients, covariates, doses and visits, one posterior draw, and ends where each
    patient's follow-up would have ended. Simulated progression stops a patient's measurements, so dropout is that of
    the model. Treatment goes on in whoever was on treatment at the end of observed follow-up.

    n_replicates  300: the ends of 90 % bands are then known to about 2 % of the probability.
    individuals   "new": individual parameters drawn from the population, given covariates (the check of the model for
                  new patients; the observed baseline as a covariate is simulated with them). "own": those of the
                  posterior draw, a much weaker check, since they have seen the data.
    follow_up     days from first dose to the data cut-off by id, for patients with an event. Without it each
                  replicate draws them from the trial's own censoring times beyond the event (reverse Kaplan-Meier).
    trial, spec   what was fitted; taken from the fit when not given.

    Where the trial saw progression at visits only, so does the replicate: an event counts on the first planned visit on
    or after it (`pfs_day`; not at all when follow-up ends before), as the trial's counts on day_upper. Patients who
    entered late progress after that day; their individual parameters are those of patients who did enter.

    Returns a Dataset with dims replicate, patient and visit (planned measurements, coords `visit_patient`, `visit_day`,
    `lloq`): `pfs_day` (days), `event`, `m_protein` (g/L; the LLOQ where below it), `below_lloq`, `on_study` (before
    progression and within follow-up), and the same as observed with the prefix `observed_` (visits that were planned
    but never came are not on study). Measurements on the day of progression or later are left out on both sides.

    Raises ModelError for a fit that cannot be simulated from or has draws that are not finite, DataError for
    impossible follow-up.
    """
    if n_replicates < 1 or individuals not in ("new", "own"):
        raise ModelError(
            f"expected n_replicates >= 1 and individuals 'new' or 'own', found {n_replicates}, {individuals!r}"
        )
    trial, spec = fitted_data(fit, trial, spec)
    setup_seed, *seeds = np.random.SeedSequence(seed).spawn(n_replicates + 1)
    setup = np.random.default_rng(setup_seed)
    draws = posterior_draws(fit)
    require_finite(fit["posterior"].to_dataset())
    pool = make_pool("fitted", None, trial, spec, draws, setup)
    known = known_follow_up(trial, follow_up)
    schedule = planned_schedule(trial, known)
    plan = _Plan(
        trial, pool, draws, schedule, known, make_shape(spec.link, spec.hazard, spec.effect), individuals
    )
    panels = _panels(plan, spec, setup)
    chosen = draws.choose(n_replicates, setup)
    out = _empty(plan, chosen, seed)
    arrays = {str(name): values.to_numpy() for name, values in out.data_vars.items()}

    def one(number: int) -> None:
        rng = np.random.default_rng(seeds[number])
        _replicate(number, int(chosen[number]), plan, panels, rng, arrays)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        list(workers.map(one, range(n_replicates)))
    return out


@dataclass(frozen=True)
class _Plan:
    """What all replicates share."""

    trial: Trial
    pool: Pool
    draws: PosteriorDraws
    schedule: Schedule
    known: np.ndarray
    shape: Shape
    individuals: str

    def parameters(
        self, position: int, rng: np.random.Generator
    ) -> tuple[ParameterSet, Parameters, np.ndarray]:
        """Population and individual parameters of one replicate, and its measured baselines (patient,), g/L."""
        population = self.draws.at(position)
        pool, n = self.pool, self.trial.n_patients
        codings = pool.codings_at(self.draws, position)
        if self.individuals == "own":
            phi, log_baseline = self.draws.phi[position], pool.log_baseline
            m0 = np.exp(phi[:, 0])
            baseline = m0 + population.residual_sd(m0) * population.standard_errors(rng, n)
        else:
            phi, baseline, center = draw_individuals(population, codings, n, rng)
            phi = phi + pool.dexamethasone[:, None] * dexamethasone_shift(population, codings)
            log_baseline = np.log(baseline / center)
        hazard, betas = codings.get("hazard"), population.effects.get("hazard")
        lp = linear_predictor(hazard, betas, log_baseline=log_baseline) + np.zeros(n)
        if hazard is not None and betas is not None:
            lp = lp + (hazard.dexamethasone @ betas) * pool.dexamethasone
        return population, population.of_patients(phi, lp), baseline


def _panels(plan: _Plan, spec: ModelSpec, rng: np.random.Generator) -> Panels:
    """Panels of every patient to the longest follow-up, with the planned measurements."""
    trial, schedule = plan.trial, plan.schedule
    horizon = schedule.horizon_day
    exposure = spec_exposure(spec, trial.patients, doses_to(trial, horizon), horizon)
    grid = np.union1d(_FIRST_DAYS, np.arange(_WIDEST_DAY, horizon.max(), _WIDEST_DAY))
    breaks = [
        np.union1d(exposure.breakpoints.of(i), grid[grid < horizon[i]]) for i in range(trial.n_patients)
    ]
    timeline = Timeline(
        break_offset=offsets_of([b.size for b in breaks]),
        break_day=np.concatenate(breaks),
        measurement_offset=schedule.offset,
        measurement_day=schedule.day,
        event_day=horizon,
        entry_day=np.minimum(trial.entry_day, horizon),
    )
    sets = [plan.parameters(int(p), rng)[1] for p in plan.draws.choose(_REFERENCE_SETS, rng)]
    reference = ReferenceParameters(
        slow_growth(np.array([s.phi for s in sets]), horizon),
        *(np.array([getattr(s, name) for s in sets]) for name in ("k", "beta_link", "te", "s")),
    )
    return build_panels(timeline, exposure.evaluate, plan.shape, reference, tolerance=_TOLERANCE)


def _replicate(
    number: int,
    position: int,
    plan: _Plan,
    panels: Panels,
    rng: np.random.Generator,
    out: Mapping[str, np.ndarray],
) -> None:
    """One replicate, written to its place in the arrays `out`."""
    schedule = plan.schedule
    population, parameters, baseline = plan.parameters(position, rng)
    follow_up = draw_follow_up(plan.trial, plan.known, rng)
    curves = evaluate_curves(panels, plan.shape, parameters)
    day = event_times(panels, curves, rng.exponential(size=follow_up.size))
    if plan.trial.interval_censored.any():
        day = _visit_after(schedule, day)
    event = day <= follow_up
    day = np.minimum(day, follow_up)
    m = np.exp(np.minimum(log_m_at_measurements(panels, curves, parameters), _LOG_LARGEST))
    value = m + population.residual_sd(m) * population.standard_errors(rng, m.size)
    # Covariates and replicate speak of one and the same baseline measurement.
    value = np.where(schedule.baseline, baseline[schedule.patient], value)
    below = value < schedule.lloq
    out["pfs_day"][number], out["event"][number] = day, event
    out["m_protein"][number] = np.where(below, schedule.lloq, value)
    out["below_lloq"][number] = below
    ends, had_event = day[schedule.patient], event[schedule.patient]
    out["on_study"][number] = np.where(had_event, schedule.day < ends, schedule.day <= ends)


def _visit_after(schedule: Schedule, day: np.ndarray) -> np.ndarray:
    """The first planned visit of each patient on or after `day` (patient,); infinite where there is none."""
    seen = np.full(day.size, np.inf)
    sees = schedule.day >= day[schedule.patient]
    np.minimum.at(seen, schedule.patient[sees], schedule.day[sees])
    return seen


def _empty(plan: _Plan, chosen: np.ndarray, seed: int) -> xr.Dataset:
    """The result with everything observed, before anything has been simulated."""
    trial, schedule, draws = plan.trial, plan.schedule, plan.draws
    n, n_patients, n_rows = chosen.size, trial.n_patients, schedule.day.size
    seen = schedule.source >= 0
    value = trial.mprotein["value_g_per_l"].to_numpy(dtype=float)[schedule.source]
    below = trial.mprotein["below_lloq"].to_numpy(dtype=bool)[schedule.source]
    by_patient, by_visit = ("replicate", "patient"), ("replicate", "visit")
    ids = trial.patients.index.to_numpy(dtype=object)
    return xr.Dataset(
        {
            "pfs_day": (by_patient, np.full((n, n_patients), np.nan), {"units": "day"}),
            "event": (by_patient, np.zeros((n, n_patients), dtype=bool)),
            "m_protein": (by_visit, np.full((n, n_rows), np.nan), {"units": "g/L"}),
            "below_lloq": (by_visit, np.zeros((n, n_rows), dtype=bool)),
            "on_study": (by_visit, np.zeros((n, n_rows), dtype=bool)),
            "observed_pfs_day": ("patient", trial.pfs["day"].to_numpy(dtype=float), {"units": "day"}),
            "entry_day": ("patient", trial.entry_day, {"units": "day"}),
            "observed_event": ("patient", trial.pfs["event"].to_numpy(dtype=bool)),
            "observed_m_protein": ("visit", np.where(seen, value, np.nan), {"units": "g/L"}),
            "observed_below_lloq": ("visit", seen & below),
            "observed_on_study": ("visit", seen),
        },
        coords={
            "replicate": np.arange(n),
            "patient": ids,
            "visit": np.arange(n_rows),
            "visit_patient": ("visit", ids[schedule.patient]),
            "visit_day": ("visit", schedule.day, {"units": "day"}),
            "lloq": ("visit", schedule.lloq, {"units": "g/L"}),
            "chain": ("replicate", draws.chain[chosen]),
            "draw": ("replicate", draws.draw[chosen]),
            **_groupings(trial),
        },
        attrs={"seed": seed, "individuals": plan.individuals, "trial_name": trial.name},
    )


def _groupings(trial: Trial) -> dict[str, Any]:
    """Columns of the patients that can stratify a check: text or flags with few values."""
    columns = {}
    for name, values in trial.patients.items():
        if values.nunique() <= _MOST_LABELS and values.notna().all() and not str(name).startswith("pk_"):
            columns[str(name)] = ("patient", values.to_numpy())
    return columns
