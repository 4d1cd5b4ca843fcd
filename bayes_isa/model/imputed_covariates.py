"""Missing covariates as variables of the PyMC model: see `bayes_isa.model.imputation`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import xarray as xr

from bayes_isa.model.imputation import (
    RESIDUAL_LOG_SD,
    Imputation,
    coefficients_of,
    imputed,
    residual_sd_of,
)
from bayes_isa.model.products import times_vector


def imputed_covariates(imputation: Imputation | None) -> dict[str, Any]:
    """Each incomplete covariate of all patients (n_patients,), its missing values a latent variable of the model.

    Of each it adds, on its coded scale: `imputed_<name>` (patient_without_<name>) and the values given,
    `observed_<name>` (patient_with_<name>), both normal with the mean told by `covariate_model_<name>`
    (predictor_<name>: intercept, complete covariates centred, incomplete ones before it) and SD `covariate_sd_<name>`.
    """
    if imputation is None:
        return {}
    complete: dict[str, Any] = {}
    predictors = pytensor.shared(imputation.values, name="covariate_predictors")
    for j, name in enumerate(imputation.names):
        coefficients, sd = _parameters(imputation, j)
        mean = coefficients[0] + times_vector(predictors, coefficients[1 : 1 + len(imputation.predictors)])
        for place, earlier in enumerate(complete.values(), start=1 + len(imputation.predictors)):
            mean = mean + coefficients[place] * earlier
        complete[name] = _completed(imputation, j, mean, sd)
    return complete


def filled(matrix: xr.DataArray, complete: Mapping[str, Any], name: str) -> Any:
    """A design matrix (n_patients, covariate), a shared variable of this name, with incomplete covariates in place."""
    values = pytensor.shared(matrix.to_numpy(), name=name)
    for column, covariate in enumerate(map(str, matrix["covariate"].to_numpy())):
        if covariate in complete:
            values = pt.set_subtensor(values[:, column], complete[covariate])
    return values


def _parameters(imputation: Imputation, j: int) -> tuple[Any, Any]:
    """Coefficients and residual SD of covariate j, started where covariates alone put them."""
    name, model = imputation.names[j], pm.modelcontext(None)
    labels = ["intercept", *imputation.predictors, *imputation.names[:j]]
    model.add_coord(f"predictor_{name}", labels)
    prior_sd = pytensor.shared(imputation.prior_sds[j], name=f"covariate_model_{name}_sd")
    coefficients = pm.Normal(
        coefficients_of(name),
        0.0,
        prior_sd,
        dims=f"predictor_{name}",
        initval=imputation.start.coefficients[j],
    )
    typical = pytensor.shared(np.array(np.log(imputation.spread[j])), name=f"covariate_sd_{name}_typical")
    sd = pm.LogNormal(residual_sd_of(name), typical, RESIDUAL_LOG_SD, initval=imputation.start.sd[j])
    return coefficients, sd


def _completed(imputation: Imputation, j: int, mean: Any, sd: Any) -> Any:
    """The values given, which the covariate model learns from, and the latent ones, together (n_patients,)."""
    name, model = imputation.names[j], pm.modelcontext(None)
    missing = imputation.rows(name)
    known = np.setdiff1d(np.arange(len(imputation.ids)), missing)
    model.add_coord(f"patient_without_{name}", imputation.without(name))
    model.add_coord(f"patient_with_{name}", [imputation.ids[i] for i in known])
    # Shared, because they differ between data sets of one form: code is then compiled once.
    at_missing = pytensor.shared(missing, name=f"rows_without_{name}")
    at_known = pytensor.shared(known, name=f"rows_with_{name}")
    pm.Normal(
        f"observed_{name}",
        mean[at_known],
        sd,
        observed=pytensor.shared(imputation.given[known, j], name=f"observed_{name}_values"),
        dims=f"patient_with_{name}",
    )
    latent = pm.Normal(
        imputed(name),
        mean[at_missing],
        sd,
        dims=f"patient_without_{name}",
        initval=imputation.expected[missing, j],
    )
    return pt.set_subtensor(
        pytensor.shared(imputation.expected[:, j].copy(), name=f"given_{name}")[at_missing], latent
    )
