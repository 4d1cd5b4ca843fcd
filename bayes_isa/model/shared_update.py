"""What all patients share, given draws of the individual parameters: the third part of a round of the warm start."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bayes_isa.model.individuals import SHARED, Densities, densities, given_at
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.population import Population, shared_priors
from bayes_isa.model.priors import PriorSet

# On the log scale, and in prior SDs for parameters that are not positive: further away the information is another.
_LONGEST_STEP = 0.5
_DIFFERENCE = 1e-3  # of the priors' densities, whose SDs are 0.03 and more
_LEAST_CURVATURE = 1e-3  # that of an SD of 30, wider than any prior: keeps the step finite
_LARGEST_SCORE = 1e100  # whose square is a number


@dataclass(frozen=True)
class SharedParameters:
    """The parameters all patients share and the hazard's covariate effects, with their priors, as one free vector.

    Positive parameters are free on the log scale, the others in units of their prior's SD.
    """

    names: tuple[str, ...]  # of Population.shared; the hazard's effects follow
    priors: tuple[Any, ...]  # frozen SciPy distributions
    positive: np.ndarray
    unit: np.ndarray

    @classmethod
    def of(cls, data: JointData, priors: PriorSet) -> SharedParameters:
        """Those of the model of `data`."""
        shared = shared_priors(data, priors)
        covariates = data.covariates["hazard"]["covariate"].to_numpy()
        chosen = [*shared.values(), *(priors.covariate_effect("hazard", str(name)) for name in covariates)]
        return cls(
            tuple(shared),
            tuple(prior.scipy() for prior in chosen),
            np.array([prior.support()[0] >= 0.0 for prior in chosen]),
            np.array([prior.spread() for prior in chosen]),
        )

    def natural(self, population: Population) -> np.ndarray:
        """Their values in `population`."""
        return np.array([population.shared[name] for name in self.names] + list(population.effects["hazard"]))

    def moved(self, population: Population, step: np.ndarray) -> Population:
        """`population` after a step of the free vector."""
        natural = self._moved(self.natural(population), step)
        n = len(self.names)
        return replace(
            population,
            shared=dict(zip(self.names, natural[:n].tolist(), strict=True)),
            effects={**population.effects, "hazard": natural[n:]},
        )

    def step(self, before: Population, after: Population) -> np.ndarray:
        """The step of the free vector from one population to another."""
        old, new = self.natural(before), self.natural(after)
        ratio = np.where(self.positive, new, 1.0) / np.where(self.positive, old, 1.0)
        return np.where(self.positive, np.log(ratio), (new - old) / self.unit)

    def by_free(self, population: Population) -> np.ndarray:
        """Derivatives of the natural by the free values."""
        return np.where(self.positive, self.natural(population), self.unit)

    def prior_slope(self, population: Population) -> np.ndarray:
        """Slope of each log prior density by the free value."""
        low, high = (self._log_priors(population, step) for step in (-_DIFFERENCE, _DIFFERENCE))
        return (high - low) / (2.0 * _DIFFERENCE)

    def prior_curvature(self, population: Population) -> np.ndarray:
        """Negative second derivative of each log prior density by the free value."""
        low, middle, high = (self._log_priors(population, step) for step in (-_DIFFERENCE, 0.0, _DIFFERENCE))
        return (2.0 * middle - low - high) / _DIFFERENCE**2

    def _log_priors(self, population: Population, step: float) -> np.ndarray:
        at = self._moved(self.natural(population), step)
        return np.array([prior.logpdf(x) for prior, x in zip(self.priors, at, strict=True)])

    def _moved(self, natural: np.ndarray, step: np.ndarray | float) -> np.ndarray:
        return np.where(
            self.positive, natural * np.exp(np.where(self.positive, step, 0.0)), natural + self.unit * step
        )


def update_shared(
    data: JointData, parameters: SharedParameters, population: Population, draws: np.ndarray
) -> Population:
    """One step towards the posterior mode of what all patients share, given draws of phi (draw, patient, d).

    Patients whose phi is NaN are passed over.
    """
    slope, covariance = _slope_and_covariance(data, parameters, population, draws)
    step = covariance @ slope
    return parameters.moved(population, step * min(1.0, _LONGEST_STEP / np.abs(step).max()))


def with_stronger_link(
    data: JointData, parameters: SharedParameters, population: Population, draws: np.ndarray, by: float
) -> Population:
    """`population` with beta_link up `by` of its posterior SDs given draws of phi; the same without a link."""
    if "beta_link" not in parameters.names:
        return population
    _, covariance = _slope_and_covariance(data, parameters, population, draws)
    place = parameters.names.index("beta_link")
    step = np.zeros(len(covariance))
    step[place] = by * np.sqrt(covariance[place, place])
    return parameters.moved(population, step)


def _slope_and_covariance(
    data: JointData, parameters: SharedParameters, population: Population, draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of the log posterior by the free values, given draws of phi: its slope, and their covariance.

    The information is that of the patients' scores (Berndt et al. 1974, Annals of Economic and Social Measurement
    3:653), which costs nothing more. One beyond a wall, with a score of 1e6, brings an information of 1e12 and moves
    hardly anything, where by its curvature it would move the population far.
    """
    by_free = _by_free(data, parameters, population, densities(given_at(data, population), draws))
    # A patient whose curve explodes says nothing here.
    sound = (np.abs(by_free) < _LARGEST_SCORE).all(axis=2)
    scores = by_free[sound]
    slope = scores.sum(axis=0) / len(draws) + parameters.prior_slope(population)
    centred = scores - scores.mean(axis=0)
    information = centred.T @ centred / len(draws)
    information += np.diag(np.maximum(parameters.prior_curvature(population), _LEAST_CURVATURE))
    unit = np.sqrt(np.diag(information))
    # What one giant score leaves of the others, to rounding, may have no inverse: no step that way.
    return slope, np.linalg.pinv(information / np.outer(unit, unit), hermitian=True) / np.outer(unit, unit)


def _by_free(
    data: JointData, parameters: SharedParameters, population: Population, found: Densities
) -> np.ndarray:
    """Gradient of each patient's log-likelihood at each draw by the free values (draw, n_patients, parameter)."""
    by_effects = found.by_lp[..., None] * data.covariates["hazard"].to_numpy()
    columns = [SHARED.index(name) for name in parameters.names]
    by_natural = np.concatenate([found.by_shared[..., columns], by_effects], axis=2)
    with np.errstate(invalid="ignore"):  # of a curve that explodes, left out above
        return by_natural * parameters.by_free(population)
