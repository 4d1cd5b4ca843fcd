"""Warm start: a rough population estimate and coordinates in which each patient's posterior is close to normal.

Stochastic approximate EM (Delyon et al. 1999, doi:10.1214/aos/1018031103): from each patient's mode, a few draws of
every patient given the population, then the population given those draws. More draws at the end show what each
patient's posterior looks like. The result only sets starting points and the coordinates a sampler works in: a poor one
costs speed, never correctness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bayes_isa.kernels.panels import ReferenceParameters
from bayes_isa.kernels.response import Window
from bayes_isa.kernels.trajectory import INDIVIDUAL
from bayes_isa.kernels.whitening import Whitening
from bayes_isa.model.best_coordinates import best_coordinates
from bayes_isa.model.far_regions import far_regions
from bayes_isa.model.gaussian import modes
from bayes_isa.model.horseshoe_effects import with_normal_effects
from bayes_isa.model.individuals import DensityOfPhi, given_at
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.pilot import Pilot, stood_still
from bayes_isa.model.population import Population, averaged, initial_population
from bayes_isa.model.population_update import IndividualPriors, update_individual
from bayes_isa.model.priors import PriorSet
from bayes_isa.model.shared_update import SharedParameters, curvature_at, update_shared, with_stronger_link
from bayes_isa.model.whitenings import IndividualDraws
from bayes_isa.model.windows import response_windows

# Rounds of EM in blocks, after each of which the chains take on the scale of its draws: short ones where the population
# moves most, then longer ones until it rests.
_ROUNDS = (3, 4)
_BLOCK = 6
_MOST_BLOCKS = 10  # data that say little about the population take most of them, or all
# Least change from one block's average to the next, in logs and prior SDs: a fraction of posterior SDs.
_AT_REST = 0.1
_DRAWS = 10  # a round
# Of which these set the parameters that all patients share: neighbours say nearly the same.
_FOR_SHARED = slice(1, None, 2)
# Posterior SDs of log omega that populations near the posterior's mean and at its upper end lie above EM's estimate,
# a mode. Where patients say little about a parameter the two differ (growth in the colorectal data: by two SDs), and
# walls come nearer.
_MEAN = 1.0
_WIDE = 4.0
# The same for the link, by its SD given individual parameters, half to two thirds of its posterior's: walls steepen.
_LINK_UP = 3.0
_WIDEST = 2.0  # times: where patients say next to nothing a wider population only shows its prior
_FINAL_DRAWS = 192  # moments of 5 numbers to about a tenth of an SD, at the autocorrelation of these chains
# Every so many of them are kept: neighbours say nearly the same, and judging coordinates takes time for each.
_KEPT = 2
# Panels made accurate at 24 such sets and at 48 are equally accurate between them; thinned as neighbours say the same.
_PLAUSIBLE = 48
_SPREAD = 0.3  # log SD of what all patients share: posterior SDs are 0.05 to 0.3
_SEED = 2023
_REDRAWN = 100  # added to it for draws made anew: far regions take those before


@dataclass(frozen=True)
class WarmStart:
    """What `build_model` takes from the warm start."""

    population: Population
    phi: np.ndarray  # (n_patients, d) individual starting points: one draw
    window: Window
    whitening: Whitening
    score: (
        np.ndarray
    )  # (n_patients,) roughness of each posterior in these coordinates, 1 for a standard normal
    failed: np.ndarray  # positions of patients without a mode at first or without usable coordinates
    plausible: ReferenceParameters  # draws around the posterior, for choosing quadrature panels


def warm_start(data: JointData, priors: PriorSet) -> WarmStart:
    """Population estimate, individual starting points and coordinates for `data`; the same in every call.

    Rough panels do (see `prepare`). Imputed covariates are at their conditional means given the other covariates.
    """
    data = data.as_expected
    priors = with_normal_effects(data, priors)
    windows = response_windows(data)
    shared = SharedParameters.of(data, priors)
    population, pilot, first = _estimated(data, priors, shared, windows[0])
    near, wide = (_widened(population, first, by) for by in (_MEAN, _WIDE))
    wide = with_stronger_link(data, shared, wide, first[_FOR_SHARED], _LINK_UP)

    def drawn(chains: Pilot, seed: int) -> tuple[IndividualDraws, IndividualDraws]:
        return _draws(data, chains.copy(seed), near), _draws(data, chains.copy(seed + 1), wide)

    def redrawn(patients: np.ndarray, number: int) -> tuple[IndividualDraws, IndividualDraws]:
        return drawn(pilot.only(patients), _SEED + _REDRAWN + 2 * number)

    near_draws, wide_draws = drawn(pilot, _SEED + 1)
    far = far_regions(pilot, near_draws, _SEED + 3)
    chosen = best_coordinates(windows, near_draws, wide_draws, far, redrawn)
    failed = np.flatnonzero(~(pilot.frame.sound & np.isfinite(chosen.score)))
    return WarmStart(
        population,
        near_draws.phi[-1],
        chosen.window,
        chosen.whitening,
        chosen.score,
        failed,
        _plausible(wide, wide_draws.phi, pilot.rng),
    )


def _estimated(
    data: JointData, priors: PriorSet, shared: SharedParameters, window: Window
) -> tuple[Population, Pilot, np.ndarray]:
    """Population estimate by EM from the priors' medians, the chains it was made with, and their last draws of phi."""
    individual = IndividualPriors.of(data, priors)
    population = initial_population(data, priors)
    pilot = Pilot.start(data, window, modes(data, window, population), _SEED)
    averages: list[Population] = []
    for rounds in (*_ROUNDS, *[_BLOCK] * _MOST_BLOCKS):
        estimates, draws, curvature = [], [], None
        for _ in range(rounds):
            draws.append(pilot.draw(population, _DRAWS).phi)
            pilot = pilot.freed(draws[-1], population)
            population = update_individual(data, individual, population, draws[-1])
            few = np.where(stood_still(draws[-1])[:, None], np.nan, draws[-1][_FOR_SHARED])
            curvature = curvature or curvature_at(data, shared, population, few)
            population = update_shared(data, shared, population, few, curvature)
            estimates.append(population)
        pilot = pilot.adapted(np.concatenate(draws), population.k)
        averages.append(averaged(data, estimates))
        if len(averages) > len(_ROUNDS) + 1 and _change(shared, averages[-2], averages[-1]) < _AT_REST:
            break
    return averages[-1], pilot, np.concatenate(draws)


def _draws(data: JointData, pilot: Pilot, population: Population) -> IndividualDraws:
    pilot = pilot.freed(pilot.draw(population, _DRAWS).phi, population)
    draws, kept = pilot.draw(population, _FINAL_DRAWS), slice(None, None, _KEPT)
    density = DensityOfPhi(given_at(data, population))
    return IndividualDraws(population, density, draws.phi[kept], draws.by_phi[kept])


def _widened(population: Population, draws: np.ndarray, by: float) -> Population:
    """The population with omegas up `by` posterior SDs of their logs, judged by draws of phi given the population.

    A patient who leaves the share r of omega^2 undetermined has the information 2 (1 - r)^2 on log omega.
    """
    undetermined = np.minimum(draws.var(axis=0) / population.omega**2, 1.0)
    information = np.sum(2.0 * (1.0 - undetermined) ** 2, axis=0)
    spread = np.minimum(by / np.sqrt(np.maximum(information, 1e-6)), np.log(_WIDEST))
    return replace(population, omega=population.omega * np.exp(spread))


def _plausible(wide: Population, draws: np.ndarray, rng: np.random.Generator) -> ReferenceParameters:
    """Parameter sets that reach further than the posterior: individual ones at a wide population, shared spread."""
    draws = draws[:: len(draws) // _PLAUSIBLE]
    phi = np.full((*draws.shape[:2], len(INDIVIDUAL)), -np.inf)
    phi[:, :, : draws.shape[2]] = draws
    k, beta_link, te, s = (
        wide.shared.get(name, absent) * np.exp(_SPREAD * rng.normal(size=len(draws)))
        for name, absent in (("k", 0.0), ("beta_link", 0.0), ("Te", 0.0), ("s", 1.0))
    )
    return ReferenceParameters(phi, k, beta_link, te, s)


def _change(shared: SharedParameters, before: Population, after: Population) -> float:
    """Largest change of a typical value, omega or shared parameter between two estimates, in its free unit."""
    typical = np.abs(np.log(after.typical / before.typical)).max()
    omega = np.abs(np.log(after.omega / before.omega)).max()
    return float(max(typical, omega, np.abs(shared.step(before, after)).max()))
