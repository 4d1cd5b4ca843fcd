"""What all patients share, given draws of the individual parameters: the third part of a round of the warm start."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bayes_isa.model.individuals import SHARED, Densities, densities, given_at
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.population import Population, shared_priors
from bayes_isa.model.priors import PriorSet

# On the log scale, and in prior SDs for parameters that are not positive: further away the curvature is another.
_LONGEST_STEP = 0.5
_DIFFERENCE = 1e-3  # of scores and of the priors' densities, whose SDs are 0.03 and more
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


@dataclass(frozen=True)
class Curvature:
    """Negative Hessian of the log posterior by the free values: its axes (columns), and how much it has along each."""

    axes: np.ndarray
    along: (
        np.ndarray
    )  # absolute values: where the density curves upwards they still give steps of the right length


def update_shared(
    data: JointData,
    parameters: SharedParameters,
    population: Population,
    draws: np.ndarray,
    curvature: Curvature,
) -> Population:
    """One step towards the posterior mode of what all patients share, given draws of phi (draw, patient, d).

    Newton's but for the curvature, which may be that of another round: it is most of the work, and only sets steps. At
    the least it is the information of the patients' scores (Berndt et al. 1974, Annals of Economic and Social
    Measurement 3:653): one beyond a wall, with a score of 1e6, brings an information of 1e12 and moves hardly anything.
    Patients whose phi is NaN are passed over.
    """
    scores, _ = _scores(data, parameters, population, draws)
    of_patients = scores.mean(axis=0)
    slope = of_patients.sum(axis=0) + parameters.prior_slope(population)
    along = of_patients @ curvature.axes
    information = np.sum((along - along.mean(axis=0)) ** 2, axis=0)
    step = curvature.axes @ (curvature.axes.T @ slope / np.maximum(curvature.along, information))
    return parameters.moved(population, step * min(1.0, _LONGEST_STEP / np.abs(step).max()))


def with_stronger_link(
    data: JointData, parameters: SharedParameters, population: Population, draws: np.ndarray, by: float
) -> Population:
    """`population` with beta_link up `by` of its posterior SDs given draws of phi; the same without a link."""
    if "beta_link" not in parameters.names:
        return population
    curvature = curvature_at(data, parameters, population, draws)
    place = parameters.names.index("beta_link")
    step = np.zeros(curvature.along.size)
    step[place] = by * np.sqrt(np.sum(curvature.axes[place] ** 2 / curvature.along))
    return parameters.moved(population, step)


def curvature_at(
    data: JointData, parameters: SharedParameters, population: Population, draws: np.ndarray
) -> Curvature:
    """At `population`, given draws of phi.

    Differences of the score give all but the block of the hazard's effects: there it is the cumulative hazard (roughly
    for events seen at visits, which only sets the length of steps).
    """
    n, size = len(parameters.names), parameters.unit.size
    scores, cumulative = _scores(data, parameters, population, draws)
    information = np.zeros((size, size))
    for column, step in enumerate(_DIFFERENCE * np.eye(size)[:n]):
        shifted, _ = _scores(data, parameters, parameters.moved(population, step), draws)
        information[:, column] = (scores - shifted).sum(axis=(0, 1)) / (_DIFFERENCE * len(draws))
    design = data.covariates["hazard"].to_numpy() * parameters.unit[n:]
    information[n:, n:] = np.einsum("sn,ni,nj->ij", cumulative, design, design) / len(draws)
    information[:n, n:] = information[n:, :n].T
    information[:n, :n] = 0.5 * (information[:n, :n] + information[:n, :n].T)
    along, axes = np.linalg.eigh(information + np.diag(parameters.prior_curvature(population)))
    return Curvature(axes, np.maximum(np.abs(along), _LEAST_CURVATURE))


def _scores(
    data: JointData, parameters: SharedParameters, population: Population, draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of log-likelihoods by the free values (draw, n_patients, value); cumulative hazards (draw, n_patients).

    0 for a patient whose curve explodes, and says nothing here, and for one passed over.
    """
    found = densities(given_at(data, population), draws)
    by_free = _by_free(data, parameters, population, found)
    sound = (np.abs(by_free) < _LARGEST_SCORE).all(axis=2)
    cumulative = data.event.astype(float) - found.by_lp
    return np.where(sound[..., None], by_free, 0.0), np.where(sound, cumulative, 0.0)


def _by_free(
    data: JointData, parameters: SharedParameters, population: Population, found: Densities
) -> np.ndarray:
    """Gradient of each patient's log-likelihood at each draw by the free values (draw, n_patients, parameter)."""
    by_effects = found.by_lp[..., None] * data.covariates["hazard"].to_numpy()
    columns = [SHARED.index(name) for name in parameters.names]
    by_natural = np.concatenate([found.by_shared[..., columns], by_effects], axis=2)
    with np.errstate(invalid="ignore"):  # of a curve that explodes, left out above
        return by_natural * parameters.by_free(population)
