"""Patients' populations at a posterior draw with their missing covariates integrated out.

A patient's missing values are normal given the others (`bayes_isa.model.covariate_model`), and individual parameters
are normal around a mean that is linear in them. So, given the population, individual parameters and the hazard's linear
predictor w are jointly normal:

    phi ~ N(mu + X beta, Omega + B V B'),     w | phi ~ N(w_mean + G (phi - mean), sd^2)

with X completed by conditional means, V the covariance of what is missing, B its effects on phi. The posterior of the
imputed values themselves is not used: it has seen the patient's outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayes_isa.inference.population import population_means
from bayes_isa.inference.proposal import HazardGivenPhi, PopulationAt
from bayes_isa.model.covariate_model import Conditional
from bayes_isa.model.imputation import Imputation, coefficients_of, residual_sd_of
from bayes_isa.model.joint_data import JointData


@dataclass(frozen=True)
class _Effects:
    """Effects (sample, ..., c) of the incomplete covariates, 0 where one does not act."""

    on_phi: np.ndarray  # (sample, d, c)
    on_hazard: np.ndarray  # (sample, c)


def with_covariates_integrated(
    data: JointData, imputation: Imputation, draws: xr.Dataset, populations: list[PopulationAt]
) -> list[PopulationAt]:
    """`populations`, whose means this replaces, with what is missing of `imputation` integrated out at every draw."""
    names = [
        f(name) for name in imputation.names for f in (coefficients_of, residual_sd_of) if f(name) in draws
    ]
    arrays = {name: draws[name].transpose("sample", ...).to_numpy() for name in names}
    found = [
        imputation.model_of({name: own[number] for name, own in arrays.items()}).conditional(
            imputation.given, imputation.values
        )
        for number in range(len(populations))
    ]
    means, _ = population_means(data, draws, completed=np.stack([each.mean for each in found]))
    effects = _effects(data, imputation, draws)
    hazard = _hazard_means(data, imputation, draws, found)
    return [
        _integrated(
            at, np.ascontiguousarray(means[j]), found[j], effects, j, None if hazard is None else hazard[j]
        )
        for j, at in enumerate(populations)
    ]


def _integrated(
    at: PopulationAt,
    mean: np.ndarray,
    missing: Conditional,
    effects: _Effects,
    number: int,
    hazard_mean: np.ndarray | None,
) -> PopulationAt:
    on_phi, on_hazard = effects.on_phi[number], effects.on_hazard[number]
    half = np.diag(at.omega) if at.cholesky is None else at.omega[:, None] * at.cholesky
    spread = on_phi @ missing.covariance  # (n, d, c)
    covariance = half @ half.T + spread @ on_phi.T
    roots = np.linalg.cholesky(covariance)
    hazard = None
    if hazard_mean is not None:
        across = spread @ on_hazard  # (n, d)
        slope = np.linalg.solve(covariance, across[..., None])[..., 0]
        variance = np.einsum("c,ncd,d->n", on_hazard, missing.covariance, on_hazard) - np.sum(
            slope * across, axis=1
        )
        hazard = HazardGivenPhi(hazard_mean, slope, np.sqrt(np.maximum(variance, 0.0)))
    return PopulationAt(mean, at.omega, at.k, at.cholesky, roots, hazard, missing.log_density)


def _effects(data: JointData, imputation: Imputation, draws: xr.Dataset) -> _Effects:
    n, c = draws.sizes["sample"], len(imputation.names)
    on_phi = np.zeros((n, len(data.spec.individual), c))
    for row, target in enumerate(data.spec.individual):
        on_phi[:, row] = _on(data, imputation, draws, target)
    return _Effects(on_phi, _on(data, imputation, draws, "hazard"))


def _on(data: JointData, imputation: Imputation, draws: xr.Dataset, target: str) -> np.ndarray:
    found = np.zeros((draws.sizes["sample"], len(imputation.names)))
    names = [str(name) for name in data.covariates[target]["covariate"].to_numpy()]
    for column, name in enumerate(imputation.names):
        if name in names:
            found[:, column] = draws[f"beta_{target}"].sel({f"covariate_{target}": name}).to_numpy()
    return found


def _hazard_means(
    data: JointData, imputation: Imputation, draws: xr.Dataset, found: list[Conditional]
) -> np.ndarray | None:
    """(sample, patient) linear predictors at the conditional means; None where the hazard has nothing missing."""
    matrix = data.covariates["hazard"]
    if not imputation.touches(matrix):
        return None
    beta = draws["beta_hazard"].transpose("sample", ...).to_numpy()
    return np.stack([imputation.fill(matrix, each.mean) @ own for each, own in zip(found, beta, strict=True)])
