"""Patients to simulate: covariates as the model codes them, and individual parameters drawn for new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayes_isa.data.covariates import (
    ANY_DEXAMETHASONE,
    BASELINE_MPROTEIN,
    design_matrix,
    find_covariate,
)
from bayes_isa.data.schema import DEFAULT_LLOQ, PK_COLUMNS
from bayes_isa.data.trial import Trial
from bayes_isa.errors import DataError, ModelError, Problem
from bayes_isa.kernels.trajectory import INDIVIDUAL
from bayes_isa.pk import draw_parameters, typical_parameters
from bayes_isa.simulation.parameters import ParameterSet

_PK_COVARIATES = ("weight_kg", "b2m_mg_per_l", "igg", "female", "asian")


@dataclass(frozen=True)
class Coding:
    """Covariates of n patients for one target, as in the model's design matrix.

    `matrix` (n, covariate) has 0 in the columns that belong to the simulation: `baseline` and `dexamethasone`
    (covariate,) are 1 in the columns of the log of the observed baseline M-protein (over `center`, g/L; None:
    the median of the patients drawn together) and of dexamethasone.
    """

    matrix: np.ndarray
    baseline: np.ndarray
    dexamethasone: np.ndarray
    center: float | None

    def with_values(self, column: int, patients: np.ndarray, values: np.ndarray) -> Coding:
        """The coding with other values of one covariate in some patients, by position."""
        matrix = self.matrix.copy()
        matrix[patients, column] = values
        return replace(self, matrix=matrix)

    def take(self, patients: np.ndarray) -> Coding:
        """The coding of some patients, by position."""
        return Coding(self.matrix[patients], self.baseline, self.dexamethasone, self.center)


def code_patients(
    patients: pd.DataFrame, names: Mapping[str, tuple[str, ...]], centers: Mapping[str, float] | None
) -> dict[str, Coding]:
    """Coding of `patients` (columns of patients.csv) by target, with the covariates and centers of a fit.

    `centers` None: at the patients' medians. Raises DataError when a covariate is absent or cannot be coded.
    """
    trial = without_outcomes(patients)
    codings = {}
    for target, wanted in names.items():
        sources = [find_covariate(trial, name).source for name in wanted]
        kinds = [find_covariate(trial, name).kind for name in wanted]
        own = [name for name, s in zip(wanted, sources, strict=True) if s not in _SIMULATED]
        coded = design_matrix(trial, own, centers=centers)
        matrix = np.zeros((len(patients), len(wanted)))
        for column, name in enumerate(wanted):
            if name in own:
                matrix[:, column] = coded.sel(covariate=name).to_numpy()

        def marks(source: str, sources: list = sources, kinds: list = kinds) -> np.ndarray:
            hit = [s == source and k != "missing" for s, k in zip(sources, kinds, strict=True)]
            return np.array(hit, dtype=float)

        codings[target] = Coding(
            matrix, marks(BASELINE_MPROTEIN), marks(ANY_DEXAMETHASONE), (centers or {}).get("log_baseline_m")
        )
    return codings


_SIMULATED = (BASELINE_MPROTEIN, ANY_DEXAMETHASONE)


def linear_predictor(
    coding: Coding | None, effects: np.ndarray | None, *, log_baseline: np.ndarray | float = 0.0
) -> np.ndarray | float:
    """X beta (n,) of one target without dexamethasone's share; 0 for a target without covariates."""
    if coding is None or effects is None:
        return 0.0
    return coding.matrix @ effects + (coding.baseline @ effects) * log_baseline


def draw_individuals(
    parameters: ParameterSet, codings: Mapping[str, Coding], n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """phi (n, 5) of new patients off dexamethasone, their observed baselines (n,) g/L and these' center.

    The baseline is measured with the residual error (a value below 0.5 g/L is reported as that) before KD, R
    and the others are drawn, since these may depend on it: KD does in the published model. The center is the
    value at which the log baseline is centred, g/L. Raises ModelError when M0 itself depends on the observed
    baseline.
    """
    eta = parameters.random_effects(rng, n)
    noise = parameters.standard_errors(rng, n)
    phi = np.empty_like(eta)
    first = codings.get("M0")
    if first is not None and first.baseline.any():
        raise ModelError(
            "M0 depends on the observed baseline M-protein: new patients cannot be drawn from such a model"
        )
    phi[:, 0] = parameters.log_typical[0] + linear_predictor(first, parameters.effects.get("M0")) + eta[:, 0]
    m0 = np.exp(phi[:, 0])
    # Two decimals, as laboratories report: what the data set will say is what the covariate takes.
    observed = np.maximum(np.round(m0 + parameters.residual_sd(m0) * noise, 2), DEFAULT_LLOQ)
    center = next((c.center for c in codings.values() if c.center is not None), float(np.median(observed)))
    log_baseline = np.log(observed / center)
    for column, name in enumerate(INDIVIDUAL[1:], start=1):
        fixed = linear_predictor(codings.get(name), parameters.effects.get(name), log_baseline=log_baseline)
        phi[:, column] = parameters.log_typical[column] + fixed + eta[:, column]
    return phi, observed, center


def dexamethasone_shift(parameters: ParameterSet, codings: Mapping[str, Coding]) -> np.ndarray:
    """(5,) what dexamethasone as a covariate adds to each individual parameter; 0 in the published model."""
    shift = np.zeros(len(INDIVIDUAL))
    for column, name in enumerate(INDIVIDUAL):
        if name in codings and name in parameters.effects:
            shift[column] = codings[name].dexamethasone @ parameters.effects[name]
    return shift


def with_individual_pk(patients: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """`patients` with PK parameters pk_CLinf ... pk_Km (hours, mg, L), drawn where a patient has none.

    Drawn from the published population model given weight, B2M, IgG, sex and race. Raises DataError listing
    the covariates that are missing.
    """
    given = patients.reindex(columns=list(PK_COLUMNS)).to_numpy(dtype=float)
    lacking = ~np.isfinite(given).all(axis=1)
    if lacking.any():
        require_columns(patients.loc[lacking], _PK_COVARIATES, "pharmacokinetic parameters")
        values = patients.loc[lacking, list(_PK_COVARIATES)].to_numpy(dtype=float)
        given[lacking] = draw_parameters(typical_parameters(*values.T), rng)
    return patients.assign(**dict(zip(PK_COLUMNS, given.T, strict=True)))


def require_columns(patients: pd.DataFrame, columns: tuple[str, ...], purpose: str) -> None:
    """Raises DataError, listing every absent column and every patient with a missing value."""
    remedy = f"Needed for {purpose}"
    problems = [Problem(f"there is no column {name!r}", remedy) for name in columns if name not in patients]
    for name in columns:
        if name in patients:
            unknown = patients.index[patients[name].isna()]
            problems += [Problem(f"{name} is missing", remedy, patient=str(i)) for i in unknown]
    if problems:
        raise DataError("These patients cannot be simulated", problems)


def without_outcomes(patients: pd.DataFrame) -> Trial:
    """Patients alone in the form that covariates are coded from."""
    ids = pd.Index([], name="id", dtype=object)
    doses = pd.DataFrame(columns=["id", "drug", "day", "amount_mg", "duration_h"])
    mprotein = pd.DataFrame(columns=["id", "day", "value_g_per_l", "lloq_g_per_l", "below_lloq"])
    pfs = pd.DataFrame({"day": np.empty(0), "event": np.empty(0, dtype=bool)}, index=ids)
    return Trial(patients, doses, mprotein, pfs)
