"""Trials that could be run next: every regimen given to the same patients, at one parameter set each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.data.trial import Trial
from bayes_isa.errors import ConvergenceError, ModelError
from bayes_isa.kernels.hazard import make_shape
from bayes_isa.kernels.panels import ReferenceParameters
from bayes_isa.model.spec import ModelSpec
from bayes_isa.regimens import AnyRegimen
from bayes_isa.simulation.chunks import compute, require_memory, stream
from bayes_isa.simulation.parameters import PosteriorDraws, posterior_draws
from bayes_isa.simulation.patients import draw_individuals
from bayes_isa.simulation.plans import (
    any_dexamethasone,
    hazard_flags,
    make_plans,
    parse_regimens,
)
from bayes_isa.simulation.pool import Pool, fitted_data, make_pool
from bayes_isa.simulation.study import SOURCES, Study, check_sources, setup_stream

if TYPE_CHECKING:
    from distributed import Client

VISIT_DAYS = 28.0
# Of the survival curves averaged over patients; panels end on multiples of half a week.
_CURVE_DAYS = 7.0
# Parameter sets that panels are made accurate for; 99 % of event times are then exact to 0.02 days.
_REFERENCE_SETS = 16


def simulate_trials(
    fit: xr.DataTree,
    regimens: Sequence[str | AnyRegimen] | Mapping[str, str | AnyRegimen],
    *,
    n_trials: int = 1000,
    seed: int,
    population: str | pd.DataFrame = "fitted",
    n_patients: int | None = None,
    weights: Mapping[str, float] | pd.Series | None = None,
    vary: Iterable[str] = SOURCES,
    horizon_day: float = 609.0,
    visit_days: float = VISIT_DAYS,
    dexamethasone_hazard: str | Mapping[str, bool] = "regimen",
    observed: bool = False,
    trial: Trial | None = None,
    spec: ModelSpec | None = None,
    allow_unconverged: bool = False,
    out: str | Path | None = None,
    chunk_trials: int | None = None,
    client: Client | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataTree:
    """Simulated trials of `regimens`, each trial at one posterior draw of a fit.

    All regimens of a trial share patients, parameters and event quantiles, so that their differences are precise.
    Treatment goes on to `horizon_day` (default 20 months, as published) in whoever has not progressed. With constant
    exposure regimens differ in dexamethasone alone.

    regimens    short names, `Regimen`s or `Switch`es; a mapping gives them labels of your own.
    n_trials    draws are not repeated before all have been used.
    population  "fitted": the patients of the fit, each with its own individual parameters, in every trial.
                "resampled": those patients drawn with replacement, `n_patients` of them, `weights` (by id) times as
                often: another mix of patients. "redrawn": the covariates and pharmacokinetics of the fitted patients,
                each once, individual parameters drawn anew from the population. "new": the same with patients drawn
                with replacement. "virtual": new patients from the covariate model of `draw_population`. A table
                (columns of patients.csv; missing PK parameters are drawn): new patients from its rows.
    vary        the sources of uncertainty that differ between trials, any of "parameters" (the posterior; held: its
                mean, of logs for positive parameters), "patients" (who is drawn and their individual parameters,
                given the population's; "fitted" patients stay the same persons), "events" (event quantiles and
                residual error). What is held is the same in all trials. With ["events"] and "fitted" patients the
                intervals are those of the publication: parameters and individuals held.
    visit_days  between visits, a multiple of 3.5 days.
    dexamethasone_hazard  whether the hazard's covariate dexamethasone is 1: "regimen" (for every regimen with it),
                "off", or a mapping from labels to bools that overrides "regimen". In the published simulations it was
                off where dexamethasone was stopped after 3 or 6 months.
    observed    also simulate measurements with residual error, not cut at a limit of quantification.
    trial, spec  what was fitted; taken from the fit when not given.
    allow_unconverged  simulate from a fit that fails `diagnose` all the same.
    out         a directory to stream results to (Zarr), for studies larger than memory: they come back lazily, as
    dask
                arrays. An interrupted run with the same arguments resumes.
    chunk_trials  trials a task simulates at once; the result does not depend on it.
    client      a `distributed.Client` whose workers simulate; threads of this process by default. With `out`, workers
                write to it themselves: they must see the same file system.
    progress    called with (trials done, trials).

    Returns a DataTree. At its root, dims (trial, regimen, patient, visit): `pfs_day` (days, the horizon where
    censored), `event` (bool), `m_protein` (g/L, float32, without residual error, as if treatment went on; infinite
    beyond 3e38) and on request `m_protein_observed`; coords `chain` and `draw` of each trial (-1: the posterior
    mean), `visit_day`, `source_patient` where patients are drawn. Group "marginal": `survival` (trial, regimen,
    day), PFS probability by the model, averaged over the trial's patients. About 80 MB for 1000 trials of 201
    patients and 4 regimens.

    Raises RegimenError for an impossible regimen, DataError for patients without the covariates that doses or the
    model need, ConvergenceError for a fit that fails its diagnostics, ModelError for a fit that cannot be simulated
    from, results that do not fit memory, or an `out` that holds another study. Source: CPT:PSP 2023, trial
    simulations.
    """
    _check_counts(n_trials, n_patients, horizon_day, visit_days, chunk_trials)
    study, attrs = _prepare(
        fit,
        parse_regimens(regimens),
        n_trials=n_trials,
        seed=seed,
        population=population,
        n_patients=n_patients,
        weights=weights,
        vary=check_sources(vary),
        horizon_day=float(horizon_day),
        visit_days=float(visit_days),
        dexamethasone_hazard=dexamethasone_hazard,
        observed=observed,
        data=(trial, spec),
        allow_unconverged=allow_unconverged,
    )
    if out is None:
        require_memory(study, n_trials, 'give `out="sims.zarr"` to stream them to disk')
        return compute(study, attrs, chunk_trials, client, progress)
    return stream(study, attrs, Path(out), chunk_trials, client, progress)


def _prepare(
    fit: xr.DataTree,
    regimens: dict[str, AnyRegimen],
    *,
    n_trials: int,
    seed: int,
    population: str | pd.DataFrame,
    n_patients: int | None,
    weights: Mapping[str, float] | pd.Series | None,
    vary: frozenset[str],
    horizon_day: float,
    visit_days: float,
    dexamethasone_hazard: str | Mapping[str, bool],
    observed: bool,
    data: tuple[Trial | None, ModelSpec | None],
    allow_unconverged: bool,
) -> tuple[Study, dict[str, object]]:
    """The study, and what its result says about how it was made."""
    flags = hazard_flags(regimens, dexamethasone_hazard)
    draws = posterior_draws(fit)
    if not allow_unconverged:
        _require_converged(fit)
    _check_dexamethasone(draws, regimens)
    trial, spec = fitted_data(fit, *data)
    setup = setup_stream(seed)
    pool = make_pool(population, n_patients, trial, spec, draws, setup, weights=weights)
    reference = _reference(pool, draws, setup)
    shape = make_shape(spec.link, spec.hazard, spec.effect)
    visits = np.arange(0.0, horizon_day + 1e-9, visit_days)
    days = np.union1d(np.arange(0.0, horizon_day, _CURVE_DAYS), [horizon_day])
    plans, columns = make_plans(regimens, flags, pool.patients, spec, shape, reference, visits, days)
    if "parameters" in vary:
        chosen = draws.choose(n_trials, setup)
        used, chosen = np.unique(chosen, return_inverse=True)
        draws = draws.take(used)
    else:
        draws, chosen = draws.mean(), np.zeros(n_trials, dtype=np.int64)
    study = Study(seed, vary, draws, chosen, pool, plans, columns, shape, visits, days, observed)
    attrs: dict[str, object] = {
        "seed": seed,
        "horizon_day": horizon_day,
        "population": pool.kind,
        "vary": ", ".join(name for name in SOURCES if name in vary),
    }
    return study, attrs


def _check_counts(
    n_trials: int,
    n_patients: int | None,
    horizon_day: float,
    visit_days: float,
    chunk_trials: int | None,
) -> None:
    if n_trials < 1:
        raise ModelError(f"n_trials is {n_trials}; simulate at least one")
    if n_patients is not None and n_patients < 1:
        raise ModelError(f"n_patients is {n_patients}; a trial needs at least one patient")
    if not 0.0 < horizon_day < np.inf:
        raise ModelError(f"horizon_day is {horizon_day}; give a positive number of days")
    if not (visit_days > 0.0 and float(visit_days / 3.5).is_integer()):
        raise ModelError(f"visit_days is {visit_days}; give a positive multiple of 3.5 days")
    if chunk_trials is not None and chunk_trials < 1:
        raise ModelError(f"chunk_trials is {chunk_trials}; a chunk needs at least one trial")


def _check_dexamethasone(draws: PosteriorDraws, regimens: Mapping[str, AnyRegimen]) -> None:
    asked = [label for label, regimen in regimens.items() if any_dexamethasone([regimen])]
    if asked and not draws.knows_dexamethasone:
        raise ModelError(
            f"the fitted data have no dexamethasone, so its effect is unknown: leave out {', '.join(asked)}"
        )


def _require_converged(fit: xr.DataTree) -> None:
    """A tree without sampler statistics, such as `fit_at_truth`, was not sampled and cannot fail."""
    if "sample_stats" not in fit.children:
        return
    from bayes_isa.inference.diagnose import diagnose

    failures = diagnose(fit).failures
    if failures:
        shown = "\n".join(f"  - {failure}" for failure in failures[:5])
        more = f"\n  ... and {len(failures) - 5} more" if len(failures) > 5 else ""
        raise ConvergenceError(
            "trials simulated from a fit that failed its diagnostics would mislead; fit again, or say "
            f"allow_unconverged=True:\n{shown}{more}"
        )


def _reference(pool: Pool, draws: PosteriorDraws, rng: np.random.Generator) -> ReferenceParameters:
    """Parameter sets from the posterior that panels are made accurate for."""
    positions = draws.choose(_REFERENCE_SETS, rng)
    sets = [draws.at(int(position)) for position in positions]
    if pool.own:
        phi = draws.phi[positions]
    else:
        n = len(pool.patients)
        codings = [pool.codings_at(draws, int(position)) for position in positions]
        phi = np.array([draw_individuals(s, c, n, rng)[0] for s, c in zip(sets, codings, strict=True)])
    shared = (np.array([getattr(s, name) for s in sets]) for name in ("k", "beta_link", "te", "s"))
    return ReferenceParameters(phi, *shared)
