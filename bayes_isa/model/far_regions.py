"""Regions of a patient's posterior far from where most of it lies, and coordinates in which a chain returns from them.

Where measurements can be told as outliers at little cost, a posterior has beside its bulk a wide plateau of some per
cent. In coordinates whitened for the bulk the plateau may lie 50 SDs away: a chain goes there seldom, and not back for
hundreds of draws. An axis whose tail is drawn in (a bend below 0) brings it near.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bayes_isa.kernels.whitening import whiten
from bayes_isa.model.individuals import density_of_phi
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.pilot import Pilot
from bayes_isa.model.population import Population
from bayes_isa.model.walls import judged
from bayes_isa.model.whitenings import Coordinates, IndividualDraws, better

# The likelihood to this power: errors 2.6 times as large, so that chains pass from region to region.
_HEAT = 0.15
# Draws on whose scale the hot chains are set, twice; then those they are cooled from, so far apart.
_WARMING = 30
_APART = 10
_STARTS = 6
_COOLING = 20  # draws; enough to fall from typical hot places to where a posterior is level
_ENDS = 5  # of these draws the last show where a region lies
# Log-density below that of draws from the bulk. A region that makes 0.1 % of a posterior though it is e^7 times as wide
# in its five dimensions is e^14 less dense.
_FALL = 14.0
# SDs away at which a region is near enough: a chain crosses in tens of draws.
_NEAR = 12.0
_INWARD = np.array([-0.1, -0.25, -0.45, -0.7])
_PRICE = 1.3  # times the score that coordinates may have for it


@dataclass(frozen=True)
class FarRegions:
    """Draws phi (draw, patient, d) of chains started elsewhere, and which of them have weight (draw, patient)."""

    phi: np.ndarray
    weighty: np.ndarray


def far_regions(data: JointData, pilot: Pilot, population: Population, seed: int) -> FarRegions:
    """Where chains come to rest that start from draws of much flatter posteriors."""
    typical = pilot.copy(seed).draw(population, 2 * _APART)[::_APART]
    level = np.max([density_of_phi(data, population, phi)[0] for phi in typical], axis=0)
    hot = pilot.copy(seed + 1)
    for _ in range(2):
        hot = hot.adapted(hot.draw(population, _WARMING, _HEAT), population.k)
    starts = hot.draw(population, _STARTS * _APART, _HEAT)[_APART - 1 :: _APART]
    ends = [
        pilot.at(phi, population.k, seed + 2 + number).draw(population, _COOLING)[-_ENDS:]
        for number, phi in enumerate(starts)
    ]
    phi = np.concatenate(ends)
    density = np.array([density_of_phi(data, population, each)[0] for each in phi])
    return FarRegions(phi, density > level - _FALL)


def drawn_in(
    coordinates: Coordinates, far: FarRegions, near: IndividualDraws, wide: IndividualDraws
) -> Coordinates:
    """The coordinates with the mildest bends that bring far regions near, for patients in whom that costs little.

    Given coordinates have the scores of `judged`; those of the returned ones say only which are usable.
    """
    whitening = coordinates.whitening
    straight = whitening._replace(below=0.0 * whitening.below, above=0.0 * whitening.above)
    reach = np.zeros((2, *whitening.below.shape))
    x = np.empty_like(whitening.below)
    at = (near.population.mean, near.population.spread, near.population.k)
    for phi, weighty in zip(far.phi, far.weighty, strict=True):
        whiten(coordinates.window, straight, phi, *at, x)
        there = np.where(weighty[:, None] & np.isfinite(x), x, 0.0)
        reach = np.maximum(reach, np.stack([-there, there]))
    bend = np.where(reach > _NEAR, _mildest(reach), np.inf)
    below, above = np.minimum(whitening.below, bend[0]), np.minimum(whitening.above, bend[1])
    candidate = replace(coordinates, whitening=whitening._replace(below=below, above=above))
    changed = (bend < np.inf).any(axis=(0, 2))
    if not changed.any():
        return coordinates
    judged_anew = judged(candidate, (near, wide), changed).score
    accepted = np.isfinite(judged_anew) & (judged_anew <= _PRICE * coordinates.score)
    return better(coordinates, replace(candidate, score=np.where(accepted, 0.0, np.inf)))


def _mildest(reach: np.ndarray) -> np.ndarray:
    """Of the bends the mildest that brings `reach` near, else the strongest."""
    near = np.arcsinh(-_INWARD * reach[..., None]) / -_INWARD <= _NEAR
    return np.where(near.any(axis=-1), _INWARD[near.argmax(axis=-1)], _INWARD[-1])
