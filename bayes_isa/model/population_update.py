"""Population means and SDs given draws of the individual parameters: the second part of a round of the warm start."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bayes_isa.model.joint_data import JointData
from bayes_isa.model.population import Population, means, median
from bayes_isa.model.priors import PriorSet

# Patients whose random effects have the prior's median SD: with a few real ones an estimate would wander, or collapse
# where they say little, and coordinates with it.
_OF_PRIOR = 2.0
# Patients for each parameter: keeps the estimate of a few patients away from correlations of 1, as a prior would.
_INDEPENDENT = 1.0


@dataclass(frozen=True)
class IndividualPriors:
    """For each individual parameter its design matrix, intercept first; prior centres and SDs of its coefficients."""

    design: tuple[np.ndarray, ...]
    centre: tuple[np.ndarray, ...]
    sd: tuple[np.ndarray, ...]
    omega: np.ndarray  # (d,) medians

    @classmethod
    def of(cls, data: JointData, priors: PriorSet) -> IndividualPriors:
        """Those of the model of `data`."""
        design, centre, sd = [], [], []
        for name in data.spec.individual:
            typical = priors.typical(name, data.spec.exposure)
            covariates = data.covariates[name]["covariate"].to_numpy()
            effects = [priors.covariate_effect(name, str(covariate)) for covariate in covariates]
            low, middle, high = np.log(typical.quantiles([0.16, 0.5, 0.84]))
            design.append(np.column_stack([np.ones(data.trial.n_patients), data.covariates[name].to_numpy()]))
            centre.append(np.array([middle, *map(median, effects)]))
            sd.append(np.array([0.5 * (high - low), *(effect.spread() for effect in effects)]))
        omega = np.array([median(priors.parameters[f"omega_{name}"]) for name in data.spec.individual])
        return cls(tuple(design), tuple(centre), tuple(sd), omega)


def update_individual(
    data: JointData,
    priors: IndividualPriors,
    population: Population,
    draws: np.ndarray,
) -> Population:
    """Typical values, covariate effects and omegas: least squares with the priors as ridge; draws of phi.

    And the correlation of what is left, where the model has one.
    """
    typical, omega = population.typical.copy(), population.omega.copy()
    effects = dict(population.effects)
    mean, left, patients = draws.mean(axis=0), np.empty_like(draws), draws.shape[1]
    for j, name in enumerate(data.spec.individual):
        design, centre, sd = priors.design[j], priors.centre[j], priors.sd[j]
        precision = design.T @ design / omega[j] ** 2 + np.diag(sd**-2.0)
        solution = np.linalg.solve(precision, design.T @ mean[:, j] / omega[j] ** 2 + centre / sd**2)
        left[:, :, j] = draws[:, :, j] - design @ solution
        square = np.mean(left[:, :, j] ** 2) * patients + _OF_PRIOR * priors.omega[j] ** 2
        typical[j] = np.exp(solution[0])
        effects[name] = solution[1:]
        omega[j] = np.sqrt(square / (patients + _OF_PRIOR))
    updated = replace(population, typical=typical, effects=effects, omega=omega)
    if population.correlation is not None:
        updated = replace(updated, correlation=_correlation(left))
    return replace(updated, mean=means(data, typical, effects))


def _correlation(left: np.ndarray) -> np.ndarray:
    """Correlation matrix (d, d) of residuals (draw, patient, d), a few independent patients added."""
    n_draws, n_patients, d = left.shape
    scaled = left / np.sqrt(np.mean(left**2, axis=(0, 1)))
    products = np.einsum("sni,snj->ij", scaled, scaled) / n_draws
    return (products + _INDEPENDENT * d * np.eye(d)) / (n_patients + _INDEPENDENT * d)
