"""What all patients share, given draws of the individual parameters: the third part of a round of the warm start."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bayes_isa.model.individuals import SHARED, Densities, densities, given_at
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.population import Population, shared_priors
from bayes_isa.model.priors import PriorSet

_STEPS = 2  # of Newton a round: the next round continues
# On the log scale, and in prior SDs for parameters that are not positive: further away the curvature is another.
_LONGEST_STEP = 0.5
_DIFFERENCE = 1e-3  # of scores and of the priors' densities, whose SDs are 0.03 and more
_LEAST_CURVATURE = 1e-3  # that of an SD of 30, wider than any prior: keeps the step finite


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

    def prior_terms(self, population: Population) -> tuple[np.ndarray, np.ndarray]:
        """Slope and curvature of each log prior density by the free value."""
        natural = self.natural(population)
        low, middle, high = (
            np.array(
                [prior.logpdf(x) for prior, x in zip(self.priors, self._moved(natural, step), strict=True)]
            )
            for step in (-_DIFFERENCE, 0.0, _DIFFERENCE)
        )
        return (high - low) / (2.0 * _DIFFERENCE), (2.0 * middle - low - high) / _DIFFERENCE**2

    def _moved(self, natural: np.ndarray, step: np.ndarray | float) -> np.ndarray:
        return np.where(
            self.positive, natural * np.exp(np.where(self.positive, step, 0.0)), natural + self.unit * step
        )


def update_shared(
    data: JointData,
    parameters: SharedParameters,
    population: Population,
    draws: np.ndarray,
) -> Population:
    """Newton steps towards the posterior mode of what all patients share, given draws of phi."""
    for _ in range(_STEPS):
        slope, curvature, axes = _slope_and_curvature(data, parameters, population, draws)
        step = axes @ (axes.T @ slope / curvature)
        step *= min(1.0, _LONGEST_STEP / np.abs(step).max())
        population = parameters.moved(population, step)
    return population


def with_stronger_link(
    data: JointData, parameters: SharedParameters, population: Population, draws: np.ndarray, by: float
) -> Population:
    """`population` with beta_link up `by` of its posterior SDs given draws of phi; the same without a link."""
    if "beta_link" not in parameters.names:
        return population
    _, curvature, axes = _slope_and_curvature(data, parameters, population, draws)
    place = parameters.names.index("beta_link")
    step = np.zeros(curvature.size)
    step[place] = by * np.sqrt(np.sum(axes[place] ** 2 / curvature))
    return parameters.moved(population, step)


def _slope_and_curvature(
    data: JointData, parameters: SharedParameters, population: Population, draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the log posterior by the free values given draws of phi: slope, and curvature along its axes (columns)."""
    score, information = _score_and_information(data, parameters, population, draws)
    by_prior, prior_curvature = parameters.prior_terms(population)
    eigenvalue, axes = np.linalg.eigh(information + np.diag(prior_curvature))
    # Where the density curves upwards its absolute curvature still gives a step of the right length.
    return score + by_prior, np.maximum(np.abs(eigenvalue), _LEAST_CURVATURE), axes


def _score_and_information(
    data: JointData, parameters: SharedParameters, population: Population, draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and negative Hessian of the log-likelihood by the free values, mean over draws.

    Differences of the gradient give all but the block of the hazard's effects: there it is the cumulative hazard
    (roughly for events seen at visits, which only sets the length of steps).
    """
    n = len(parameters.names)
    size = parameters.unit.size
    design = data.covariates["hazard"].to_numpy() * parameters.unit[n:]
    shifted = [parameters.moved(population, step) for step in _DIFFERENCE * np.eye(size)[:n]]
    found = [densities(given_at(data, each), draws) for each in (population, *shifted)]
    by_population = np.array(
        [_by_free(data, parameters, each, of) for each, of in zip((population, *shifted), found, strict=True)]
    )
    # A patient whose curve explodes says nothing here.
    sound = np.isfinite(by_population).all(axis=(0, 3))
    totals = np.where(sound[..., None], by_population, 0.0).sum(axis=2).mean(axis=1)
    score, information = totals[0], np.zeros((size, size))
    information[:, :n] = (totals[0] - totals[1:]).T / _DIFFERENCE
    cumulative = data.event.astype(float) - found[0].by_lp
    information[n:, n:] = np.einsum("sn,ni,nj->ij", np.where(sound, cumulative, 0.0), design, design) / len(
        draws
    )
    information[:n, n:] = information[n:, :n].T
    information[:n, :n] = 0.5 * (information[:n, :n] + information[:n, :n].T)
    return score, information


def _by_free(
    data: JointData, parameters: SharedParameters, population: Population, found: Densities
) -> np.ndarray:
    """Gradient of each patient's log-likelihood at each draw by the free values (draw, n_patients, parameter)."""
    by_effects = found.by_lp[..., None] * data.covariates["hazard"].to_numpy()
    columns = [SHARED.index(name) for name in parameters.names]
    by_natural = np.concatenate([found.by_shared[..., columns], by_effects], axis=2)
    with np.errstate(invalid="ignore"):  # of a curve that explodes, left out above
        return by_natural * parameters.by_free(population)
