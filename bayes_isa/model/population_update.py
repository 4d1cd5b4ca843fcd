"""Population parameters given draws of the individual ones: the second half of a round of the warm start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bayes_isa.model.individuals import likelihood
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.population import Population, means, median, shared_priors
from bayes_isa.model.prior import Prior
from bayes_isa.model.priors import PriorSet

_OMEGA_RANGE = (0.05, 3.0)  # keeps a rough estimate from collapsing or exploding; not a bound on the model
_STEPS = 2  # of scoring a round: the next round continues
# On the log scale, and in prior SDs for parameters that are not positive: further away the curvature is another.
_LONGEST_STEP = 0.5
_DIFFERENCE = 1e-3  # of the priors' derivatives, whose SDs are 0.1 and more


def update_individual(
    data: JointData, priors: PriorSet, population: Population, draws: np.ndarray
) -> Population:
    """Typical values, covariate effects and omegas: least squares with the priors as ridge; draws of phi."""
    typical, omega = population.typical.copy(), population.omega.copy()
    effects = dict(population.effects)
    mean = draws.mean(axis=0)
    for j, name in enumerate(data.spec.individual):
        matrix = np.column_stack([np.ones(len(mean)), data.covariates[name].to_numpy()])
        covariates = [str(c) for c in data.covariates[name]["covariate"].to_numpy()]
        beta_priors = [priors.covariate_effect(name, c) for c in covariates]
        centre = np.array([np.log(median(priors.parameters[f"{name}_pop"])), *map(median, beta_priors)])
        sd = np.array([_log_sd(priors.parameters[f"{name}_pop"]), *map(_sd, beta_priors)])
        precision = matrix.T @ matrix / omega[j] ** 2 + np.diag(sd**-2.0)
        solution = np.linalg.solve(precision, matrix.T @ mean[:, j] / omega[j] ** 2 + centre / sd**2)
        typical[j] = np.exp(solution[0])
        effects[name] = solution[1:]
        square = np.mean((draws[:, :, j] - matrix @ solution) ** 2)
        omega[j] = np.clip(np.sqrt(square), *_OMEGA_RANGE)
    updated = replace(population, typical=typical, effects=effects, omega=omega)
    return replace(updated, mean=means(data, typical, effects))


def _sd(prior: Prior) -> float:
    low, high = prior.quantiles([0.16, 0.84])
    return float(0.5 * (high - low))


def _log_sd(prior: Prior) -> float:
    low, high = np.log(prior.quantiles([0.16, 0.84]))
    return float(0.5 * (high - low))


def update_shared(data: JointData, priors: PriorSet, population: Population, draws: np.ndarray) -> Population:
    """What all patients share, and hazard effects: steps towards the posterior mode given draws of phi.

    Scoring with the sum of squares of the patients' scores as information (Berndt et al. 1974), positive parameters on
    the log scale.
    """
    of_shared = shared_priors(data, priors)
    names = list(of_shared)
    covariates = data.covariates["hazard"]
    densities = [*of_shared.values()]
    densities += [priors.covariate_effect("hazard", str(c)) for c in covariates["covariate"].to_numpy()]
    frozen = [prior.scipy() for prior in densities]
    positive = np.array([prior.support()[0] >= 0.0 for prior in densities])
    unit = np.where(positive, 1.0, [_sd(prior) for prior in densities])
    for _ in range(_STEPS):
        natural = np.array([population.shared[name] for name in names] + list(population.effects["hazard"]))
        scale = np.where(positive, natural, unit)
        information, score = _prior_terms(frozen, positive, natural)
        information, score = information * unit[:, None] * unit, score * unit
        for phi in draws:
            terms = likelihood(data, population, phi)
            by_lp = terms.by_lp[:, None] * covariates.to_numpy()
            scores = np.column_stack([*(terms.by_shared[name] for name in names), by_lp]) * scale
            # A patient whose curve explodes says nothing here.
            scores = scores[np.isfinite(scores).all(axis=1)]
            score += scores.sum(axis=0) / len(draws)
            information += scores.T @ scores / len(draws)
        step = np.linalg.solve(information, score)
        step *= min(1.0, _LONGEST_STEP / np.abs(step).max())
        step = step * unit
        natural = np.where(positive, natural * np.exp(np.where(positive, step, 0.0)), natural + step)
        population = replace(
            population,
            shared=dict(zip(names, natural[: len(names)].tolist(), strict=True)),
            effects={**population.effects, "hazard": natural[len(names) :]},
        )
    return population


def _prior_terms(
    frozen: list[Any], positive: np.ndarray, natural: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Curvature (diagonal matrix) and slope of the log priors, positive parameters on the log scale."""
    curvature, slope = np.empty(len(frozen)), np.empty(len(frozen))
    for j, prior in enumerate(frozen):
        moved = natural[j] * np.exp([-_DIFFERENCE, 0.0, _DIFFERENCE])
        at = moved if positive[j] else natural[j] + np.array([-_DIFFERENCE, 0.0, _DIFFERENCE])
        low, middle, high = prior.logpdf(at)
        slope[j] = (high - low) / (2.0 * _DIFFERENCE)
        curvature[j] = (2.0 * middle - low - high) / _DIFFERENCE**2
    # A prior may curve upwards in its tail; a little information always keeps the step finite.
    return np.diag(np.maximum(curvature, 1e-3)), slope
