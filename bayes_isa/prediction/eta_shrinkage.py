"""`eta_shrinkage`: how individual parameters spread, and how much the data of each patient have to say on them."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.stats import kstest

from bayes_isa.data import Trial
from bayes_isa.inference.population import population_means
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.draws import thinned
from bayes_isa.prediction.quantile_residuals import combine_p_values


def eta_shrinkage(
    fit: xr.DataTree, *, n_draws: int = 200, trial: Trial | None = None, spec: ModelSpec | None = None
) -> xr.Dataset:
    """Standardised random effects eta = (log parameter - population mean given covariates) / omega.

    At one posterior draw etas are standard normal if the population model holds, and independent unless the model has
    correlated random effects; their posterior means are
    shrunk towards 0 in patients whose data say little, and show associations with care only below 20 to 30 % shrinkage
    (Savic and Karlsson 2009, doi:10.1208/s12248-009-9133-0).

    Returns a Dataset: `eta` (sample, patient, parameter), `eta_mean` and `eta_sd` (patient, parameter); `shrinkage`
    (parameter), 1 - SD over patients of `eta_mean`; `correlation` (parameter, parameter_other) of etas within draws,
    averaged; `p_value` (parameter) of normality, draws combined as in `quantile_residuals`. Raises ModelError for a fit
    without posterior or of other patients.
    """
    given = thinned(fit, n_draws, trial=trial, spec=spec)
    data, draws = given.data, given.draws
    names = list(data.spec.individual)
    phi = draws["phi"].transpose("sample", "patient", "parameter").to_numpy()
    means, omegas = population_means(data, draws)
    eta = (phi - means) / omegas[:, None, :]
    eta_mean = eta.mean(axis=0)
    correlation = np.mean([np.corrcoef(one.T) for one in eta], axis=0)
    p_value = [
        combine_p_values([kstest(one, "norm").pvalue for one in eta[:, :, j]]) for j in range(len(names))
    ]
    cell = ("patient", "parameter")
    return xr.Dataset(
        {
            "eta": (("sample", *cell), eta, {"units": "SD"}),
            "eta_mean": (cell, eta_mean, {"units": "SD"}),
            "eta_sd": (cell, eta.std(axis=0), {"units": "SD"}),
            "shrinkage": ("parameter", 1.0 - eta_mean.std(axis=0, ddof=1), {"units": "1"}),
            "correlation": (("parameter", "parameter_other"), correlation, {"units": "1"}),
            "p_value": ("parameter", p_value),
        },
        coords={
            "sample": draws["sample"].to_numpy(),
            "patient": data.patient_ids,
            "parameter": names,
            "parameter_other": names,
        },
    )
