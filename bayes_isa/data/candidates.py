"""`all_covariates`: every baseline covariate a trial carries, as candidates for the parameters and the hazard."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd

from bayes_isa.data.covariates import BINARY, CONTINUOUS, available_covariates, design_matrix, find_covariate
from bayes_isa.data.schema import PK_COLUMNS, TEXT_COLUMNS
from bayes_isa.data.trial import Trial
from bayes_isa.errors import BayesIsaWarning, DataError

CANDIDATE_TARGETS = ("M0", "KL", "KD", "R", "hazard")
"""Targets of candidates by default: of EC50 single patients say too little (published eta shrinkage 60 %)."""

# Events per candidate of an indicator below which its effect is a statement about single patients: the smaller of the
# two numbers usually asked for (5 to 9; Vittinghoff and McCulloch 2007, doi:10.1093/aje/kwk052).
_LEAST_PATIENTS = 5
# Two covariates that share 90 % of their variance: which of them acts, no data of a few hundred patients can say.
_MOST_CORRELATED = 0.95
_NOT_LOG = ("b2m",)  # its column enters as a logarithm, like all continuous covariates here
# What cannot act: baseline M-protein on itself, and treatment on what was before it. Treatment acts on the kill rate
# through the exposure and `k`.
_NOT_ON = {
    "log_baseline_m": ("M0",),
    "dexamethasone": ("M0", "KL", "KD", "R", "EC50"),
}


def all_covariates(
    trial: Trial,
    *,
    targets: tuple[str, ...] = CANDIDATE_TARGETS,
    least_patients: int = _LEAST_PATIENTS,
    most_correlated: float = _MOST_CORRELATED,
) -> dict[str, tuple[str, ...]]:
    """Candidate covariates by target, for `ModelSpec(covariates=..., covariate_prior="horseshoe")`.

    Registered covariates first, then every other column of the patients: a positive number as log(value / median), a
    0/1 flag as it is, a text column as an indicator of each level but the most frequent. Not taken: `study`, `arm`
    and individual PK parameters, which are no baseline covariates; baseline M-protein on M0; dexamethasone on anything
    but the hazard.

    Left out with a BayesIsaWarning that says why: what is the same for all; indicators that fewer than
    `least_patients` have, or lack; what correlates beyond `most_correlated` with a candidate before it; columns that
    cannot be coded. Raises DataError when nothing is left.
    """
    columns: dict[str, np.ndarray] = {}
    left_out: dict[str, str] = {}
    for name in _names(trial, left_out):
        reason = available_covariates(trial, [name])[1].get(name, "")
        if not reason:
            column = design_matrix(trial, [name]).to_numpy()[:, 0]
            reason = _too_few(trial, name, column, least_patients) or _same(column, columns, most_correlated)
            if not reason:
                columns[name] = column
        if reason:
            left_out[name] = reason
    if not columns:
        raise DataError("These patients have no covariate that could be a candidate")
    if left_out:
        listed = "; ".join(f"{name} ({reason})" for name, reason in left_out.items())
        warnings.warn(f"covariates that are no candidates: {listed}", BayesIsaWarning, stacklevel=2)
    return {
        target: tuple(name for name in columns if target not in _NOT_ON.get(name, ())) for target in targets
    }


def _names(trial: Trial, left_out: dict[str, str]) -> Iterator[str]:
    """Names of all that could be a candidate; columns that cannot be coded go to `left_out`."""
    registered = {
        name: covariate
        for name, covariate in {**CONTINUOUS, **BINARY}.items()
        if name not in _NOT_LOG and _has_column(trial, covariate.source)
    }
    yield from registered
    taken = {covariate.source for covariate in registered.values()} | {*TEXT_COLUMNS, *PK_COLUMNS}
    for column in map(str, trial.patients.columns):
        values = trial.patients[column].dropna()
        if column in taken or values.empty:
            continue
        if not pd.api.types.is_numeric_dtype(values):
            levels = values.astype(str).value_counts().index  # the most frequent first: the reference
            yield from (f"{column}={level}" for level in levels[1:])
        elif values.isin([0.0, 1.0]).all():
            yield column
        elif (values > 0).all():
            yield f"log_{column}"
        else:
            left_out[column] = "neither 0/1 nor positive"


def _has_column(trial: Trial, source: str) -> bool:
    return source in trial.patients.columns or " " in source  # the others are made of measurements or doses


def _too_few(trial: Trial, name: str, column: np.ndarray, least: int) -> str:
    if find_covariate(trial, name).is_continuous:
        return ""
    fewer = int(min(column.sum(), column.size - column.sum()))
    return f"{fewer} patients differ, fewer than {least}" if fewer < least else ""


def _same(column: np.ndarray, others: dict[str, np.ndarray], most: float) -> str:
    for name, other in others.items():
        r = float(np.corrcoef(column, other)[0, 1])
        if abs(r) > most:
            return f"correlation {r:.2f} with {name}"
    return ""
