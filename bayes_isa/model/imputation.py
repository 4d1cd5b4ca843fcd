"""What is missing of a trial's continuous covariates, and what it is imputed from.

Under `ModelSpec(missing_covariates="impute")` every missing value of a continuous covariate of the model is a latent
variable. Its distribution is the joint normal one of the incomplete covariates given the complete ones
(`bayes_isa.model.covariate_model`), on the scale on which they enter the model; its parameters are estimated in the
model, so that a posterior draw of a missing value knows how little is known of it. Marker and PFS inform it: it enters
the means of individual parameters and the hazard like a value that was measured.

Assumed is that values are missing at random: that one is missing may hang on the other covariates, on the marker and on
PFS, but not on the missing value itself beyond those.

The observed baseline M-protein predicts no other covariate. It is a measurement of the marker, from which a covariate
of M0 learns through the likelihood already; in the covariate model it would count twice.

Binary covariates keep the published treatment, a level of their own where missing: NUTS draws no discrete values, and
the sum over them would cost a run of the kernel for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.data.covariates import BASELINE_MPROTEIN, find_covariate
from bayes_isa.errors import ModelError
from bayes_isa.model.covariate_model import CovariateModel, estimated

# Priors, in SDs of the covariate's observed values and, of coefficients, per SD of the predictor. A mean lies within
# one SD of the median, at which covariates are centred, whatever the distribution: 0.5 makes that two prior SDs.
# Correlations of baseline laboratory values in myeloma are 0.57 at most (see `bayes_isa.data.population`): 0.5 for each
# coefficient. The residual SD is at most about the covariate's own, and a third of it where others tell nearly
# everything: log-normal around 1 with an SD of the log of 0.5. None is worth more than four patients.
INTERCEPT_SD = 0.5
COEFFICIENT_SD = 0.5
RESIDUAL_LOG_SD = 0.5


@dataclass(frozen=True)
class Imputation:
    """Incomplete covariates, those with fewest missing values first, and their predictors."""

    names: tuple[str, ...]  # (c,)
    given: np.ndarray  # (n_patients, c) as coded, NaN where missing
    predictors: tuple[str, ...]  # (r,) complete covariates
    values: np.ndarray  # (n_patients, r) theirs, centred
    center: np.ndarray  # (r,) at which they are centred
    scale: np.ndarray  # (r,) their SDs
    spread: np.ndarray  # (c,) SDs of the values given
    ids: tuple[str, ...]  # of the patients

    def rows(self, name: str) -> np.ndarray:
        """Positions of the patients without a value of this covariate."""
        return np.flatnonzero(np.isnan(self.given[:, self.names.index(name)]))

    def without(self, name: str) -> list[str]:
        """Their ids."""
        return [self.ids[i] for i in self.rows(name)]

    @property
    def prior_sds(self) -> tuple[np.ndarray, ...]:
        """Prior SDs of the coefficients of each covariate, as in `CovariateModel`."""
        scales = np.concatenate([self.scale, self.spread])
        r = self.scale.size
        return tuple(
            own * np.concatenate([[INTERCEPT_SD], COEFFICIENT_SD / scales[: r + j]])
            for j, own in enumerate(self.spread)
        )

    @cached_property
    def start(self) -> CovariateModel:
        """A rough estimate from covariates alone."""
        return estimated(self.given, self.values, self.prior_sds)

    @cached_property
    def expected(self) -> np.ndarray:
        """(n_patients, c) values with the missing ones at their conditional means under `start`."""
        return self.start.conditional(self.given, self.values).mean

    def completed(self, one: Mapping[Any, Any]) -> np.ndarray:
        """(..., n_patients, c) values with the missing ones as in `one`: `imputed_<name>` (..., missing) of each.

        Raises ModelError when one is absent or of another number of patients.
        """
        drawn = [np.asarray(_found(one, imputed(name)), dtype=float) for name in self.names]
        leading = np.broadcast_shapes(*(own.shape[:-1] for own in drawn))
        values = np.broadcast_to(self.given, (*leading, *self.given.shape)).copy()
        for column, (name, own) in enumerate(zip(self.names, drawn, strict=True)):
            rows = self.rows(name)
            if own.shape[-1] != rows.size:
                raise ModelError(
                    f"{imputed(name)}: expected {rows.size} values, of the patients without one, found "
                    f"{own.shape[-1]}: is the trial the one that was fitted?"
                )
            values[..., rows, column] = own
        return values

    def model_of(self, one: Mapping[Any, Any]) -> CovariateModel:
        """The covariate model of one set of parameters. Raises ModelError when some are absent."""
        coefficients = tuple(
            np.asarray(_found(one, coefficients_of(name)), dtype=float) for name in self.names
        )
        sd = np.array([float(_found(one, residual_sd_of(name))) for name in self.names])
        return CovariateModel(coefficients, sd)

    def fill(self, matrix: xr.DataArray, values: np.ndarray) -> np.ndarray:
        """A design matrix (..., n_patients, covariate), incomplete covariates as in `values` (..., n_patients, c)."""
        filled = np.broadcast_to(matrix.to_numpy(), (*values.shape[:-2], *matrix.shape)).copy()
        for column, name in enumerate(map(str, matrix["covariate"].to_numpy())):
            if name in self.names:
                filled[..., column] = values[..., self.names.index(name)]
        return filled

    def touches(self, matrix: xr.DataArray) -> bool:
        """Whether a design matrix has an incomplete covariate."""
        return bool(np.isin(matrix["covariate"].to_numpy().astype(str), self.names).any())


def imputed(name: str) -> str:
    """Variable of a covariate's missing values, dim `patient_without_<name>`."""
    return f"imputed_{name}"


def coefficients_of(name: str) -> str:
    """Variable of the coefficients that predict a covariate, dim `predictor_<name>`."""
    return f"covariate_model_{name}"


def residual_sd_of(name: str) -> str:
    """Variable of the residual SD of a covariate given its predictors."""
    return f"covariate_sd_{name}"


def imputation_of(trial: Trial, matrices: Mapping[str, xr.DataArray]) -> Imputation | None:
    """What the design matrices by target lack; None when no continuous covariate has a missing value.

    Raises ModelError when two covariates are made of one incomplete column: they would be imputed apart.
    """
    columns = {
        str(name): matrix.sel(covariate=name).to_numpy()
        for matrix in matrices.values()
        for name in matrix["covariate"].to_numpy()
    }
    absent: dict[str, tuple[str, ...]] = {}
    for matrix in matrices.values():
        absent |= {n: ids for n, ids in matrix.attrs["imputed"].items() if n in matrix.attrs["centers"]}
    if not absent:
        return None
    names = tuple(sorted(absent, key=lambda name: len(absent[name])))
    sources = {name: find_covariate(trial, name).source for name in columns}
    _check_sources(names, sources, trial)
    ids = trial.patients.index
    given = np.column_stack([np.where(ids.isin(absent[name]), np.nan, columns[name]) for name in names])
    own = {sources[name] for name in names}
    predictors = [name for name in columns if sources[name] not in own and sources[name] != BASELINE_MPROTEIN]
    values = (
        np.column_stack([columns[name] for name in predictors]) if predictors else np.empty((len(ids), 0))
    )
    return Imputation(
        names=names,
        given=given,
        predictors=tuple(predictors),
        values=values - values.mean(axis=0),
        center=values.mean(axis=0),
        scale=values.std(axis=0),
        spread=np.nanstd(given, axis=0),
        ids=tuple(str(i) for i in ids),
    )


def categorical_with_missing(matrices: Mapping[str, xr.DataArray]) -> dict[str, int]:
    """Binary covariates of the design matrices with missing values, and of how many patients."""
    return {
        name: len(ids)
        for matrix in matrices.values()
        for name, ids in matrix.attrs["imputed"].items()
        if name not in matrix.attrs["centers"]
    }


def _check_sources(names: tuple[str, ...], sources: Mapping[str, str], trial: Trial) -> None:
    for name in names:
        twins = [
            other
            for other, source in sources.items()
            if other != name and source == sources[name] and find_covariate(trial, other).is_continuous
        ]
        if twins:
            raise ModelError(
                f'missing_covariates="impute": {name} and {twins[0]} are made of one column, {sources[name]}, which '
                "has missing values: they would be imputed as if they were two; leave one out"
            )


def _found(one: Mapping[Any, Any], name: str) -> Any:
    if name not in one:
        raise ModelError(
            f'{name} is missing: a model with missing_covariates="impute" has it, was this fitted with `build_model`?'
        )
    return one[name]
