"""Trial runs: short trajectories of a sampler in given coordinates, and how many of them go wrong.

The last word on open coordinates, in which growth is exponential twice over. Roughness tells what a step costs where
draws lie and cliffs what stands around them; that one trajectory in ten explodes on the way back from a far region,
only going there shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bayes_isa.model.far_regions import FarRegions, drawn_in
from bayes_isa.model.posterior_in_eps import PosteriorInEps
from bayes_isa.model.whitenings import Coordinates, IndividualDraws, eps_at

# The step that a fit of 201 patients settles at, and half of its trajectories: from any place to across the posterior.
_STEP = 0.155
_STEPS = 16
# Errors of the energy, which a good trajectory keeps to within some tenths, and what they cost. At the last a sampler
# calls a trajectory divergent.
_WRONG = (3.0, 1000.0)
_COST = (1.0, 9.0)
# What trajectories from draws near the estimate, at a wide population and from a far region count for: the second are
# out of the common, the last hold some per cent of a posterior at the most.
_NEAR, _WIDE, _FAR = 1.0, 0.3, 0.05
# What trajectories in open coordinates cost more where closed ones are taken, though scores speak for the open: about
# one that diverges on the way back from a far region, or one in two hundred near the bulk that goes wrong.
_MORE = 0.4
# Trajectories go wrong in hardly any of a lower score; closed ones of a score so many times as high are no rivals.
_ROUGH = 5.0
_NO_RIVAL = 20.0
# A score that comes of cliffs all around. Closed ones are taken then unless they cost more by that much: of open ones
# with such a score that passed, most had one trajectory in some thousand diverge.
_STEEP = 50.0
_TIMES = 2  # from each place, with other momenta: one in two hundred that goes wrong is to show
_SEED = 11


def closed_where_open_explode(
    best: Coordinates,
    closed: Coordinates,
    near: IndividualDraws,
    wide: IndividualDraws,
    far: Sequence[FarRegions],
) -> Coordinates:
    """The best coordinates, but the closed ones where trajectories go wrong more often in the best, open ones."""
    rival = np.isfinite(closed.score) & (closed.score < _NO_RIVAL * best.score)
    tried = np.flatnonzero(best.window.open & (best.score > _ROUGH) & rival)
    if not tried.size:
        return best
    draws = near.of(tried), wide.of(tried)
    regions = [region.of(tried) for region in far]
    rivals = drawn_in(closed.of(tried), regions, *draws)
    margin = np.where(best.score[tried] > _STEEP, -_MORE, _MORE)
    worse = _cost(best.of(tried), *draws, regions) - _cost(rivals, *draws, regions) >= margin
    return best.with_those(tried[worse], rivals.of(worse))


def _cost(
    coordinates: Coordinates, near: IndividualDraws, wide: IndividualDraws, far: Sequence[FarRegions]
) -> np.ndarray:
    """What trajectories from draws and from far regions cost that go wrong, (n_patients,)."""
    runs: list[tuple[float, IndividualDraws, np.ndarray, np.ndarray | bool]] = [
        (_NEAR, near, near.phi, True),
        (_WIDE, wide, wide.phi, True),
        # The wide population's posterior, as it is in the far regions of some patients that others give way.
        *((_FAR, wide, region.phi, region.weighty) for region in far),
    ]
    cost = np.zeros(len(coordinates.score))
    for weight, draws, phi, counted in runs:
        error = _worst_error(coordinates, draws, np.tile(phi, (_TIMES, 1, 1)))
        error = error.reshape(_TIMES, *phi.shape[:2])
        for wrong, each in zip(_WRONG, _COST, strict=True):
            cost += weight * each * np.sum((error > wrong) & counted, axis=(0, 1)) / _TIMES
    return cost


def _worst_error(coordinates: Coordinates, draws: IndividualDraws, phi: np.ndarray) -> np.ndarray:
    """The largest error of the energy (start, n_patients) on a trajectory from each phi (start, n_patients, d)."""
    posterior = PosteriorInEps(coordinates, draws).with_gradient
    eps = eps_at(coordinates, draws.population, phi)
    momentum = np.random.default_rng(_SEED).normal(size=eps.shape)
    worst = np.zeros(eps.shape[:2])
    with np.errstate(over="ignore", invalid="ignore"):  # trajectories that explode
        value, by_eps = posterior(eps)
        energy = value - 0.5 * np.sum(momentum**2, axis=2)
        for _ in range(_STEPS):
            momentum += 0.5 * _STEP * by_eps
            eps += _STEP * momentum
            value, by_eps = posterior(eps)
            momentum += 0.5 * _STEP * by_eps
            error = np.abs(value - 0.5 * np.sum(momentum**2, axis=2) - energy)
            worst = np.maximum(worst, np.where(np.isnan(error), np.inf, error))
    return worst
