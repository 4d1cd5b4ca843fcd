"""The patients that simulated trials are made of: those of the fit, or new ones drawn from a pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.data.covariates import design_matrix
from bayes_isa.data.schema import nearest
from bayes_isa.data.trial import Trial
from bayes_isa.errors import DataError, ModelError, Problem
from bayes_isa.model.spec import ModelSpec
from bayes_isa.simulation.parameters import ParameterSet, PosteriorDraws
from bayes_isa.simulation.patients import (
    Coding,
    code_patients,
    dexamethasone_shift,
    draw_individuals,
    with_individual_pk,
)


@dataclass(frozen=True)
class Pool:
    """Patients that trials of `size` are made of. `own`: each comes once, with its own parameters."""

    patients: pd.DataFrame
    codings: dict[str, Coding]
    own: bool
    size: int
    log_baseline: np.ndarray  # (pool,) centred log of the observed baseline; of fitted patients only
    dexamethasone: np.ndarray  # (pool,) whether given in the fitted trial; likewise


def fitted_data(fit: xr.DataTree, trial: Trial | None, spec: ModelSpec | None) -> tuple[Trial, ModelSpec]:
    """The trial and specification of a fit, or those given. Raises ModelError when the fit carries none."""
    # Reading them from a fit takes the inference layer, slow to import and not needed when they are given.
    if trial is None:
        from bayes_isa.inference.storage import trial_of

        trial = trial_of(fit)
    if spec is None:
        from bayes_isa.inference.storage import spec_of

        spec = spec_of(fit)
    return trial, spec


def make_pool(
    population: str | pd.DataFrame,
    n_patients: int | None,
    trial: Trial,
    spec: ModelSpec,
    draws: PosteriorDraws,
    rng: np.random.Generator,
) -> Pool:
    """The patients of `population`, see `simulate_trials`.

    Raises ModelError for an unknown population or a number of patients that does not fit, DataError for
    patients without the covariates of the model or its pharmacokinetics, or other than those fitted.
    """
    fitted_centers = {
        name: value
        for names in draws.names.values()
        for name, value in design_matrix(trial, list(names)).attrs["centers"].items()
    }
    if isinstance(population, pd.DataFrame):
        if population.empty:
            raise DataError("the population to simulate has no patients")
        patients = population if "id" not in population.columns else population.set_index("id")
        patients = with_individual_pk(patients, rng) if spec.exposure == "pk" else patients
    elif population in ("fitted", "new"):
        patients = trial.patients
    else:
        close = nearest(population, ("fitted", "new"))
        hint = f" (did you mean {close!r}?)" if close else ""
        raise ModelError(f"population: expected 'fitted', 'new' or a table, found {population!r}{hint}")
    own = isinstance(population, str) and population == "fitted"
    if own:
        _check_fitted(trial, draws, n_patients)
    known = not isinstance(population, pd.DataFrame)
    center = fitted_centers.get("log_baseline_m", 1.0)
    baseline = trial.baseline_mprotein.to_numpy(dtype=float)
    treated = trial.doses.loc[trial.doses["drug"] == "dexamethasone", "id"]
    return Pool(
        patients=patients,
        codings=code_patients(patients, draws.names, fitted_centers),
        own=own,
        size=n_patients or (len(patients) if own or not known else trial.n_patients),
        log_baseline=np.log(baseline / center) if known else np.empty(0),
        dexamethasone=trial.patients.index.isin(treated).astype(float) if known else np.empty(0),
    )


def _check_fitted(trial: Trial, draws: PosteriorDraws, n_patients: int | None) -> None:
    if n_patients not in (None, trial.n_patients):
        raise ModelError(
            f"n_patients is {n_patients}, the fit has {trial.n_patients}: "
            "for another number use population='new'"
        )
    ids = tuple(str(i) for i in trial.patients.index)
    if ids != draws.patient_ids:
        message = "is not the same in trial and fit"
        strange = [Problem(message, patient=i) for i in ids if i not in draws.patient_ids]
        raise DataError("The trial is not the one that was fitted, or in another order", strange[:20])


def trial_individuals(
    position: int, parameters: ParameterSet, pool: Pool, draws: PosteriorDraws, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, dict[str, Coding], np.ndarray]:
    """Positions (n,), phi (n, 5) off dexamethasone, codings and centred log baselines (n,) of one trial."""
    if pool.own:
        shift = dexamethasone_shift(parameters, pool.codings)
        phi = draws.phi[position] - pool.dexamethasone[:, None] * shift
        return np.arange(pool.size), phi, pool.codings, pool.log_baseline
    chosen = rng.integers(len(pool.patients), size=pool.size)
    codings = {target: coding.take(chosen) for target, coding in pool.codings.items()}
    phi, observed, center = draw_individuals(parameters, codings, pool.size, rng)
    return chosen, phi, codings, np.log(observed / center)
