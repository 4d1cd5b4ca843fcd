"""The patients that simulated trials are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.data.covariates import design_matrix, find_covariate
from bayes_isa.data.population import draw_population
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
    without_outcomes,
)

POPULATIONS = ("fitted", "resampled", "redrawn", "new", "virtual")
_OWN = ("fitted", "resampled")  # with their own individual parameters
_SAMPLED = ("resampled", "new", "virtual", "table")  # drawn with replacement
# Virtual patients that trials are drawn from: five times the study's, so that few come twice.
_VIRTUAL = 1000
_GIVE_COVARIATES = (
    "The fit tells imputed values of its own patients alone: give the value, or leave the patient out"
)


@dataclass(frozen=True)
class Pool:
    """Patients that trials of `size` are made of."""

    kind: str  # of `POPULATIONS`, or "table"
    patients: pd.DataFrame
    codings: dict[str, Coding]
    size: int
    weights: np.ndarray | None  # (pool,) probabilities of being drawn; None: the same for all
    log_baseline: np.ndarray  # (pool,) centred log of the observed baseline; of fitted patients only
    dexamethasone: np.ndarray  # (pool,) whether given in the fitted trial; likewise
    imputed: Mapping[str, np.ndarray] = field(
        default_factory=dict
    )  # covariate -> positions of who has imputed values

    def codings_at(self, draws: PosteriorDraws, position: int) -> dict[str, Coding]:
        """Covariates as coded by target, imputed ones with the values of one draw."""
        codings = dict(self.codings)
        for target, names in draws.names.items():
            for column, name in enumerate(names):
                if name in self.imputed:
                    values = draws.imputed[name].coded[position]
                    codings[target] = codings[target].with_values(column, self.imputed[name], values)
        return codings

    @property
    def own(self) -> bool:
        """Whether patients keep the individual parameters they were fitted with."""
        return self.kind in _OWN

    @property
    def sampled(self) -> bool:
        """Whether the patients of a trial are drawn from the pool, with replacement."""
        return self.kind in _SAMPLED


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
    *,
    weights: Mapping[str, float] | pd.Series | None = None,
) -> Pool:
    """The patients of `population`, see `simulate_trials`.

    Raises ModelError for an unknown population, weights that make no sense or a number of patients that does not fit,
    DataError for patients without the covariates of the model or its pharmacokinetics, or other than those fitted.
    """
    fitted_centers = {
        name: value
        for names in draws.names.values()
        for name, value in design_matrix(trial, list(names)).attrs["centers"].items()
    }
    kind, patients = _patients(population, trial, spec, rng)
    if kind in _OWN:
        _check_fitted(trial, draws)
    if kind not in _SAMPLED and n_patients not in (None, len(patients)):
        raise ModelError(
            f"n_patients is {n_patients}, the fit has {trial.n_patients}: "
            "for another number use population='new' or 'resampled'"
        )
    center = fitted_centers.get("log_baseline_m", 1.0)
    baseline = trial.baseline_mprotein.to_numpy(dtype=float)
    treated = trial.doses.loc[trial.doses["drug"] == "dexamethasone", "id"]
    return Pool(
        kind=kind,
        patients=patients,
        codings=code_patients(patients, draws.names, fitted_centers),
        size=n_patients or (len(patients) if kind in ("table", *_OWN, "redrawn") else trial.n_patients),
        weights=_probabilities(weights, kind, patients),
        log_baseline=np.log(baseline / center) if kind in _OWN else np.empty(0),
        dexamethasone=trial.patients.index.isin(treated).astype(float) if kind in _OWN else np.empty(0),
        imputed=_imputed(patients, fitted_centers, kind, draws) if spec.imputes or draws.imputed else {},
    )


def _imputed(
    patients: pd.DataFrame, centers: Mapping[str, float], kind: str, draws: PosteriorDraws
) -> dict[str, np.ndarray]:
    """Positions of the patients whose covariates were imputed in the fit, in the order of the draws.

    Raises DataError for patients without a continuous covariate that the fit has no values of.
    """
    sources = {name: find_covariate(without_outcomes(patients), name).source for name in centers}
    of_fit = kind not in ("table", "virtual")
    lacking = [
        Problem(f"{sources[name]} is missing", _GIVE_COVARIATES, patient=str(i))
        for name in centers
        if sources[name] in patients
        for i in patients.index[patients[sources[name]].isna()]
        if not (of_fit and name in draws.imputed and str(i) in draws.imputed[name].ids)
    ]
    if lacking:
        raise DataError("These patients cannot be simulated from a fit that imputes covariates", lacking)
    if not of_fit:
        return {}
    ids = patients.index.map(str)
    found = {name: ids.get_indexer(pd.Index(own.ids)) for name, own in draws.imputed.items()}
    strange = [name for name, positions in found.items() if (positions < 0).any()]
    if strange:
        raise DataError(
            f"the fit has imputed values of {', '.join(strange)} for patients that the trial does not have: "
            "pass the trial that was fitted"
        )
    return found


def _patients(
    population: str | pd.DataFrame, trial: Trial, spec: ModelSpec, rng: np.random.Generator
) -> tuple[str, pd.DataFrame]:
    """Kind of population, and its patients with pharmacokinetics where the model needs them."""
    if isinstance(population, pd.DataFrame):
        if population.empty:
            raise DataError("the population to simulate has no patients")
        kind, patients = "table", population if "id" not in population.columns else population.set_index("id")
    elif population == "virtual":
        kind, patients = "virtual", draw_population(_VIRTUAL, seed=rng)
    elif population in POPULATIONS:
        return population, trial.patients
    else:
        close = nearest(str(population), POPULATIONS)
        hint = f" (did you mean {close!r}?)" if close else ""
        expected = ", ".join(map(repr, POPULATIONS))
        raise ModelError(f"population: expected {expected} or a table, found {population!r}{hint}")
    return kind, with_individual_pk(patients, rng) if spec.exposure == "pk" else patients


def _probabilities(
    weights: Mapping[str, float] | pd.Series | None, kind: str, patients: pd.DataFrame
) -> np.ndarray | None:
    if weights is None:
        return None
    if kind not in _SAMPLED:
        raise ModelError(f"population {kind!r} has every patient once: weights go with 'resampled' or 'new'")
    by_id = pd.Series(dict(weights), dtype=float)
    by_id.index = by_id.index.map(str)
    ids = patients.index.map(str)
    absent = [i for i in ids if i not in by_id.index]
    values = by_id.reindex(ids).to_numpy()
    if absent or not (np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
        found = f"none for patient {absent[0]}" if absent else "a negative, missing or no positive number"
        raise ModelError(f"weights: expected a number of 0 or more for each patient, found {found}")
    return values / values.sum()


def _check_fitted(trial: Trial, draws: PosteriorDraws) -> None:
    ids = tuple(str(i) for i in trial.patients.index)
    if ids != draws.patient_ids:
        message = "is not the same in trial and fit"
        strange = [Problem(message, patient=i) for i in ids if i not in draws.patient_ids]
        raise DataError("The trial is not the one that was fitted, or in another order", strange[:20])


def trial_individuals(
    position: int, parameters: ParameterSet, pool: Pool, draws: PosteriorDraws, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, dict[str, Coding], np.ndarray]:
    """Positions (n,), phi (n, 5) off dexamethasone, codings and centred log baselines (n,) of one trial."""
    everyone = np.arange(len(pool.patients))
    chosen = rng.choice(everyone.size, size=pool.size, p=pool.weights) if pool.sampled else everyone
    everyones = pool.codings_at(draws, position)
    codings = {target: coding.take(chosen) for target, coding in everyones.items()}
    if pool.own:
        shift = dexamethasone_shift(parameters, pool.codings)
        phi = draws.phi[position, chosen] - pool.dexamethasone[chosen, None] * shift
        return chosen, phi, codings, pool.log_baseline[chosen]
    phi, observed, center = draw_individuals(parameters, codings, chosen.size, rng)
    return chosen, phi, codings, np.log(observed / center)
