"""Covariates of the model, by name: where each comes from and how it is coded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.data.cells import cell_text
from bayes_isa.data.schema import nearest
from bayes_isa.data.trial import Trial
from bayes_isa.errors import DataError, Problem

Kind = Literal["log", "centred", "flag", "not_flag", "level", "missing"]

BASELINE_MPROTEIN = "the baseline M-protein"  # from the measurements
ANY_DEXAMETHASONE = "any dexamethasone dose"  # from the doses


@dataclass(frozen=True, slots=True)
class Covariate:
    """One covariate.

    `source` is a column of the patients or one of the two marks above. `kind`: "log" log(value / median),
    "centred" value - median, "flag" 0/1 as is, "not_flag" 1 - flag, "level" 1 where the text is `level`,
    "missing" 1 where the source is missing.
    """

    name: str
    source: str
    kind: Kind
    description: str
    level: str = ""

    @property
    def is_continuous(self) -> bool:
        """Whether it has a median to be centred at."""
        return self.kind in ("log", "centred")


def _registry(*covariates: Covariate) -> dict[str, Covariate]:
    return {covariate.name: covariate for covariate in covariates}


CONTINUOUS = _registry(
    Covariate("log_albumin", "albumin_g_per_l", "log", "log(serum albumin / median)"),
    Covariate("log_alp", "alp_uln_ratio", "log", "log(alkaline phosphatase over its upper limit / median)"),
    Covariate("log_prior_lines", "prior_lines", "log", "log(number of prior lines / median)"),
    Covariate("log_baseline_m", BASELINE_MPROTEIN, "log", "log(observed baseline M-protein / median)"),
    Covariate("b2m", "b2m_mg_per_l", "centred", "beta-2-microglobulin minus its median, mg/L"),
)
BINARY = _registry(
    Covariate("non_igg", "igg", "not_flag", "1: other than IgG myeloma"),
    Covariate("japanese_study", "japanese_study", "flag", "1: patient of the Japanese study"),
    Covariate(
        "not_lenalidomide_refractory",
        "lenalidomide_refractory",
        "not_flag",
        "1: not refractory to lenalidomide",
    ),
    Covariate("dexamethasone", ANY_DEXAMETHASONE, "flag", "1: any dexamethasone dose in the data"),
    Covariate("plasmacytoma", "plasmacytoma", "flag", "1: plasmacytoma at baseline"),
)
PUBLISHED_COVARIATES: dict[str, tuple[str, ...]] = {
    "M0": ("non_igg", "log_albumin", "log_alp", "log_prior_lines", "japanese_study"),
    "KL": ("not_lenalidomide_refractory",),
    "KD": ("log_baseline_m",),
    "hazard": ("dexamethasone", "plasmacytoma"),
}


def find_covariate(trial: Trial, name: str) -> Covariate:
    """The covariate of this name.

    Beside the registered ones: "log_<column>" for a positive number, "<column>" for a 0/1 flag,
    "<column>=<level>" for text, "<covariate>_missing" for the indicator of a missing source. Raises DataError
    with the nearest names for a name that is none of these.
    """
    covariate = CONTINUOUS.get(name) or BINARY.get(name) or _from_column(trial, name)
    if covariate is None:
        raise DataError(f"There is no covariate {name!r}", [_unknown(trial, name)])
    return covariate


def design_matrix(
    trial: Trial, names: Sequence[str], *, centers: Mapping[str, float] | None = None
) -> xr.DataArray:
    """Covariates as numbers, dims (patient, covariate), in the order of `names`.

    Continuous ones are centred at `centers[name]` where given, else at the median of these patients. A
    missing continuous value becomes the median (0 in the matrix). A missing flag or text becomes 0 and gets a
    level of its own: a column "<name>_missing" ("<column>_missing" for text), after the columns asked for.

    attrs: "centers" {name: value it is centred at, in the unit of its source}; "imputed" {name: ids of the
    patients whose value was missing}. To code other patients alike, pass the covariate names and the centers
    of the first matrix. Raises DataError for unknown names, absent columns, values that cannot be coded.
    """
    covariates = [find_covariate(trial, name) for name in dict.fromkeys(names)]
    problems = [
        problem
        for covariate in covariates
        for problem in _coding_problems(trial, covariate, {} if centers is None else centers)
    ]
    if problems:
        raise DataError("These covariates cannot be coded", problems)
    columns: dict[str, np.ndarray] = {}
    extra: dict[str, np.ndarray] = {}
    used: dict[str, float] = {}
    imputed: dict[str, tuple[str, ...]] = {}
    ids = trial.patients.index
    for covariate in covariates:
        values = source_values(trial, covariate)
        missing = values.isna().to_numpy(dtype=bool) & (covariate.kind != "missing")
        if covariate.is_continuous:
            used[covariate.name] = _center(covariate, values, centers)
        columns[covariate.name] = np.where(missing, 0.0, _coded(covariate, values, used))
        if missing.any():
            imputed[covariate.name] = tuple(ids[missing])
            if not covariate.is_continuous:
                extra[_missing_name(covariate)] = missing.astype(float)
    columns |= {name: values for name, values in extra.items() if name not in columns}
    data = np.column_stack(list(columns.values())) if columns else np.empty((len(ids), 0))
    coords = {"patient": ids.to_numpy(dtype=object), "covariate": np.array(list(columns), dtype=object)}
    attrs = {"centers": used, "imputed": imputed}
    return xr.DataArray(data, coords, ("patient", "covariate"), name="covariates", attrs=attrs)


def available_covariates(trial: Trial, names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The covariates of `names` that can be estimated, and why each of the others cannot.

    One cannot when its source is no column of the patients, missing for everyone or the same for all.
    Raises DataError for a name that is no covariate.
    """
    present: list[str] = []
    absent: dict[str, str] = {}
    for name in dict.fromkeys(names):
        covariate = find_covariate(trial, name)
        reason = _absence(trial, covariate)
        if reason:
            absent[name] = reason
        else:
            present.append(name)
    return tuple(present), absent


def source_values(trial: Trial, covariate: Covariate) -> pd.Series:
    """The values a covariate is made from, by id, before coding."""
    if covariate.source == BASELINE_MPROTEIN:
        return trial.baseline_mprotein
    if covariate.source == ANY_DEXAMETHASONE:
        treated = trial.doses.loc[trial.doses["drug"] == "dexamethasone", "id"]
        return pd.Series(trial.patients.index.isin(treated).astype(float), index=trial.patients.index)
    return trial.patients[covariate.source]


def _center(covariate: Covariate, values: pd.Series, centers: Mapping[str, float] | None) -> float:
    if centers is not None and covariate.name in centers:
        return float(centers[covariate.name])
    return float(values.median())


def _coded(covariate: Covariate, values: pd.Series, centers: Mapping[str, float]) -> np.ndarray:
    if covariate.kind == "missing":
        return values.isna().to_numpy(dtype=float)
    if covariate.kind == "level":
        return (_levels(values) == covariate.level).to_numpy(dtype=float)
    numbers = values.to_numpy(dtype=float)
    if covariate.kind == "log":
        return np.log(numbers / centers[covariate.name])
    if covariate.kind == "centred":
        return numbers - centers[covariate.name]
    return 1.0 - numbers if covariate.kind == "not_flag" else numbers


def _missing_name(covariate: Covariate) -> str:
    # the levels of one column share one indicator: several would be the same column twice
    return f"{covariate.source if covariate.kind == 'level' else covariate.name}_missing"


def _absence(trial: Trial, covariate: Covariate) -> str:
    """Why a covariate cannot be estimated; empty when it can."""
    if not _has_source(trial, covariate):
        return f"the patients have no column {covariate.source}"
    values = source_values(trial, covariate)
    given = values.dropna()
    if covariate.kind == "missing":
        if given.empty or len(given) == len(values):
            return f"{covariate.source} is {'missing' if given.empty else 'given'} for every patient"
        return ""
    if given.empty:
        return f"{covariate.source} is missing for every patient"
    coded = _levels(given) == covariate.level if covariate.kind == "level" else given
    if (coded == coded.iloc[0]).all():
        what = covariate.name if covariate.kind == "level" else covariate.source
        return f"{what} is the same for every patient ({cell_text(coded.iloc[0])})"
    return ""


def _levels(values: pd.Series) -> pd.Series:
    """Text levels of a column; whole numbers without a decimal point."""
    return values.map(cell_text, na_action="ignore")


def _has_source(trial: Trial, covariate: Covariate) -> bool:
    computed = covariate.source in (BASELINE_MPROTEIN, ANY_DEXAMETHASONE)
    return computed or covariate.source in trial.patients.columns


def _from_column(trial: Trial, name: str) -> Covariate | None:
    """A covariate made from any column of the patients, by the form of its name."""
    columns = trial.patients.columns
    if name in columns:
        return Covariate(name, name, "flag", f"{name} as 0/1")
    column = name.removeprefix("log_")
    if column != name and column in columns:
        return Covariate(name, column, "log", f"log({column} / median)")
    column, equals, level = name.partition("=")
    if equals and column in columns:
        return Covariate(name, column, "level", f"1: {column} is {level}", level)
    base = name.removesuffix("_missing")
    if base != name:
        known = CONTINUOUS.get(base) or BINARY.get(base) or _from_column(trial, base)
        if known is not None:
            return Covariate(name, known.source, "missing", f"1: {known.source} is missing")
    return None


def _coding_problems(trial: Trial, covariate: Covariate, centers: Mapping[str, float]) -> list[Problem]:
    """Why the source of a covariate cannot be coded as it asks."""
    say = f"covariate {covariate.name!r}: "
    if not _has_source(trial, covariate):
        return [Problem(f"{say}the patients have no column {covariate.source!r}", "Add it or leave it out")]
    values = source_values(trial, covariate)
    given = values.dropna()
    is_text = not pd.api.types.is_numeric_dtype(values)
    if covariate.kind == "missing":
        return []
    if covariate.kind == "level":
        levels = sorted(set(_levels(given)))
        if covariate.level in levels:
            return []
        # other patients may lack a level that was there in the fit: that is no mistake when centers are given
        hint = f"The levels are {', '.join(levels)}"
        return [] if centers else [Problem(f"{say}no patient has level {covariate.level!r}", hint)]
    if is_text:
        forms = ", ".join(repr(f"{covariate.source}={level}") for level in sorted(set(given)))
        return [Problem(f"{say}{covariate.source!r} is text", f"Use one of its levels: {forms}")]
    if covariate.is_continuous and given.empty and covariate.name not in centers:
        return [Problem(f"{say}{covariate.source!r} is missing for every patient", "Leave it out")]
    if covariate.kind == "log" and (given <= 0).any():
        remedy = "A logarithm needs positive values"
        low = given[given <= 0]
        found = f"{covariate.source!r} is {low.iloc[0]:g} for patient {low.index[0]}"
        others = f" and not positive for {len(low) - 1} more" if len(low) > 1 else ""
        return [Problem(f"{say}{found}{others}", remedy)]
    if covariate.kind in ("flag", "not_flag") and not given.isin([0.0, 1.0]).all():
        remedy = f"Use 'log_{covariate.source}' for a positive number"
        return [Problem(f"{say}{covariate.source!r} is not 0 or 1 for every patient", remedy)]
    return []


def _unknown(trial: Trial, name: str) -> Problem:
    columns = [str(column) for column in trial.patients.columns]
    text = [column for column in columns if not pd.api.types.is_numeric_dtype(trial.patients[column])]
    levels = [f"{column}={level}" for column in text for level in trial.patients[column].dropna().unique()]
    logs = [f"log_{column}" for column in columns if column not in text]
    registered = [*CONTINUOUS, *BINARY]
    close = nearest(name, [*registered, *columns, *logs, *levels])
    hint = f"Did you mean {close!r}? " if close else ""
    exist = f"Named: {', '.join(registered)}; 'log_<column>', '<column>' or '<column>=<level>' of"
    return Problem(f"unknown covariate {name!r}", f"{hint}{exist} {', '.join(columns) or 'no column'}")
