"""Regions of a patient's posterior far from where most of it lies, and coordinates in which a chain returns from them.

Where measurements can be told as outliers at little cost, a posterior has beside its bulk a wide plateau of some per
cent; and a valley may run on, curved, past a wall. In coordinates whitened and bent for the bulk such a place may lie
50 SDs away: a chain goes there seldom, and not back for hundreds of draws. A smaller bend of the axis brings it near,
one below 0 if need be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bayes_isa.kernels.bend import values_at
from bayes_isa.model.pilot import Pilot
from bayes_isa.model.walls import fall_of, judged, straightened
from bayes_isa.model.whitenings import Coordinates, IndividualDraws, eps_at

# The likelihood to this power: errors 2.6 times as large, so that chains pass from region to region.
_HEAT = 0.15
# Draws on whose scale the hot chains are set, twice; then those they are cooled from, so far apart.
_WARMING = 30
_APART = 10
_STARTS = 6
_COOLING = 15  # draws; enough to fall from typical hot places to where a posterior is level
_ENDS = 5  # of these draws the last show where a region lies
# Draws with the likelihood to this power, which go further along the same valleys than those of the posterior.
_WARMTH = 0.4
_TAILS = 50
# Log-density below that of draws from the bulk. A region that makes 0.1 % of a posterior though it is e^7 times as wide
# in its five dimensions is e^14 less dense.
_FALL = 14.0
# SDs away at which a region is near enough: a chain crosses in tens of draws.
_NEAR = 15.0
# Bends to choose from: a wall's (above 0) may throw out what lies along it, those below 0 draw tails in.
# Milder ones than needed are better: a valley may run on, and what is steep is narrow.
_BENDS = np.array(
    [2.5, 2.0, 1.6, 1.3, 1.0, 0.6, 0.3, 0.0, -0.05, -0.1, -0.15, -0.2, -0.25, -0.35, -0.45, -0.7]
)
# The score that coordinates may have for it: times the one before, or one more, as a single patient costs little.
_PRICE = 1.3
_PRICE_MORE = 1.0
# Curvature of the log-density in eps at which leapfrog steps of 0.15 are half as long as they may be.
_STIFFEST = 45.0
_AWAY = 5.0  # SDs from which on a place is far
_DIFFERENCE = 0.1  # of second differences, in SDs: places are as wide as that at the least


@dataclass(frozen=True)
class FarRegions:
    """Draws phi (draw, patient, d) of chains that go far, and which of them have weight (draw, patient)."""

    phi: np.ndarray
    weighty: np.ndarray

    def of(self, patients: np.ndarray) -> FarRegions:
        """Those of some patients."""
        return FarRegions(self.phi[:, patients], self.weighty[:, patients])


def far_regions(pilot: Pilot, near: IndividualDraws, seed: int) -> list[FarRegions]:
    """Where chains come to rest that start from draws of much flatter posteriors; draws of somewhat flatter ones."""
    population = near.population
    hot = pilot.copy(seed)
    for _ in range(2):
        hot = hot.adapted(hot.draw(population, _WARMING, _HEAT).phi, population.k)
    starts = hot.draw(population, _STARTS * _APART, _HEAT).phi[_APART - 1 :: _APART]
    ends = [
        pilot.at(phi, population.k, seed + 1 + number).draw(population, _COOLING).phi[-_ENDS:]
        for number, phi in enumerate(starts)
    ]
    tails = pilot.copy(seed + 1 + _STARTS).draw(population, _TAILS, _WARMTH).phi
    level = near.density(near.phi[[0, -1]])[0].max(axis=0)
    regions = (np.concatenate(ends), tails)
    return [FarRegions(phi, near.density(phi)[0] > level - _FALL) for phi in regions]


def drawn_in(
    coordinates: Coordinates, far: Sequence[FarRegions], near: IndividualDraws, wide: IndividualDraws
) -> Coordinates:
    """The coordinates with the mildest bends that bring far regions near, for patients in whom that costs little.

    Bends stronger than it takes are weakened, and so are those that make a region too narrow for a sampler's steps,
    though it stay far. Scores are those of `judged`, of the given coordinates and the returned ones.
    """
    straight, whitening = straightened(coordinates), coordinates.whitening
    x = np.concatenate([_places(straight, each, near) for each in far])
    reach = np.stack([-x.min(axis=0, initial=0.0), x.max(axis=0, initial=0.0)])
    bends = np.stack([whitening.below, whitening.above])
    outmost = _outmost(reach)
    wanted = np.where(outmost < 0.0, outmost, np.minimum(bends, outmost))
    pulled = np.flatnonzero(((wanted < 0.0) & (reach > _AWAY)).any(axis=(0, 2)))
    strongest = _strongest(straight.of(pulled), near.of(pulled), _outer(x[:, pulled]))
    wanted[:, pulled] = np.maximum(wanted[:, pulled], -strongest)
    changed = np.flatnonzero((wanted != bends).any(axis=(0, 2)))
    below, above = wanted[:, changed]
    before = coordinates.of(changed)
    candidate = replace(before, whitening=before.whitening._replace(below=below, above=above))
    after = judged(candidate, (near.of(changed), wide.of(changed)))
    cheap = after.score <= np.maximum(_PRICE * before.score, before.score + _PRICE_MORE)
    cheap &= np.isfinite(after.score)
    return coordinates.with_those(changed[cheap], after.of(cheap))


def _places(straight: Coordinates, far: FarRegions, draws: IndividualDraws) -> np.ndarray:
    """Where far regions of weight lie in coordinates without bends, (draw, n_patients, d); 0 for others."""
    x = eps_at(straight, draws.population, far.phi)
    return np.where(far.weighty[..., None] & np.isfinite(x), x, 0.0)


def _strongest(straight: Coordinates, draws: IndividualDraws, x: np.ndarray) -> np.ndarray:
    """The most that bends may draw in far points x (point, n_patients, d), on either side: (2, n_patients, d).

    For a sampler's steps to be stable there: the curvature along an axis grows with the square of its slope.
    """
    fall = fall_of(straight, draws)
    here = fall(x)
    strongest = np.full((2, *x.shape[1:]), np.inf)
    for j, move in enumerate(_DIFFERENCE * np.eye(x.shape[2])):
        with np.errstate(invalid="ignore"):  # cliffs
            curvature = (fall(x + move) + fall(x - move) - 2.0 * here) / _DIFFERENCE**2
        # Beside a cliff no slope will do; where the density is flat or curves upwards any does.
        curvature = np.where(np.isnan(curvature), np.inf, np.maximum(curvature, 1e-9))
        bend = np.sqrt(np.maximum(_STIFFEST / curvature - 1.0, 0.0)) / np.maximum(np.abs(x[..., j]), _AWAY)
        for side, there in enumerate((x[..., j] < -_AWAY, x[..., j] > _AWAY)):
            strongest[side, :, j] = np.where(there, bend, np.inf).min(axis=0, initial=np.inf)
    return strongest


def _outer(x: np.ndarray) -> np.ndarray:
    """Of points (point, n_patients, d) those that are far, as many for each patient as the one with most has."""
    near = np.abs(x).max(axis=2, initial=0.0) <= _AWAY
    most = np.sum(~near, axis=0).max(initial=0)
    return np.take_along_axis(x, np.argsort(near, axis=0, kind="stable")[:most, :, None], axis=0)


def _outmost(reach: np.ndarray) -> np.ndarray:
    """The largest of the bends at which `reach` is near, else the one that draws in most."""
    near = reach[..., None] <= values_at(_NEAR, _BENDS)
    return np.where(near.any(axis=-1), _BENDS[near.argmax(axis=-1)], _BENDS[-1])
