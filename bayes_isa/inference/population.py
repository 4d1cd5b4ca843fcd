"""Population means and spreads of the individual parameters at posterior draws."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.model.joint_data import JointData


def correlation_factors(data: JointData, draws: xr.Dataset) -> np.ndarray | None:
    """Cholesky factors (sample, parameter, parameter) of the correlation of random effects; None: independent ones.

    Raises ModelError when the model has a correlation that the draws lack.
    """
    if not data.spec.correlated:
        return None
    if "correlation" not in draws:
        raise ModelError("the posterior lacks correlation: was it fitted with `build_model`?")
    matrices = draws["correlation"].transpose("sample", "parameter", "parameter_other")
    return np.linalg.cholesky(matrices.to_numpy())


def population_means(
    data: JointData, draws: xr.Dataset, *, completed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Means (sample, patient, parameter) and SDs (sample, parameter) of the individual log parameters.

    Given covariates, imputed ones as in each draw unless `completed` (sample, patient, incomplete covariate) says
    otherwise. draws: posterior with one dimension `sample`. Raises ModelError when a population parameter is missing.
    """
    names = data.spec.individual
    absent = [n for p in names for n in (f"{p}_pop", f"omega_{p}") if n not in draws]
    if absent:
        raise ModelError(f"the posterior lacks {', '.join(absent)}: was it fitted with `build_model`?")
    n, n_patients = draws.sizes["sample"], data.trial.n_patients
    means = np.empty((n, n_patients, len(names)))
    for column, name in enumerate(names):
        means[:, :, column] = np.log(draws[f"{name}_pop"].to_numpy())[:, None]
        matrix = data.covariates[name]
        if not matrix.sizes["covariate"]:
            continue
        effects = draws[f"beta_{name}"].transpose("sample", ...).to_numpy()
        if data.imputation is None or not data.imputation.touches(matrix):
            means[:, :, column] += effects @ matrix.to_numpy().T
        else:
            if completed is None:
                completed = data.imputation.completed(draws.transpose("sample", ...))
            means[:, :, column] += np.einsum("snk,sk->sn", data.imputation.fill(matrix, completed), effects)
    omegas = np.stack([draws[f"omega_{name}"].to_numpy() for name in names], axis=1)
    return means, omegas
