"""Trial runs: short trajectories of a sampler in given coordinates, and how many of them go wrong.

The last word on open coordinates, in which growth is exponential twice over. Roughness tells what a step costs where
draws lie and cliffs what stands around them; that one trajectory in ten explodes on the way back from a far region,
only going there shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from bayes_isa.kernels.whitening import (
    halfway_in,
    halfway_numbers,
    unwhiten_halfway,
    unwhiten_pullback,
)
from bayes_isa.model.far_regions import FarRegions, drawn_in
from bayes_isa.model.threads import even_parts, in_threads
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
    worse = _cost(best.of(tried), *draws, regions) - _cost(rivals, *draws, regions) >= _MORE
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
        error = _worst_error(coordinates, draws, phi)
        for wrong, each in zip(_WRONG, _COST, strict=True):
            cost += weight * each * np.sum((error > wrong) & counted, axis=0)
    return cost


def _worst_error(coordinates: Coordinates, draws: IndividualDraws, phi: np.ndarray) -> np.ndarray:
    """The largest error of the energy (start, n_patients) on a trajectory from each phi (start, n_patients, d)."""
    posterior = _Posterior(coordinates, draws, len(phi))
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


class _Posterior:
    """Log-density and gradient of eps (set, n_patients, d) that draws are from, in some coordinates."""

    def __init__(self, coordinates: Coordinates, draws: IndividualDraws, sets: int) -> None:
        n, d = coordinates.whitening.pull.shape
        population = draws.population
        self.given = (coordinates.window, coordinates.whitening)
        self.mean, self.spread, self.k = population.mean, population.spread, population.k
        self.density = draws.density
        self.phi, self.log_jacobian = np.empty((sets, n, d)), np.empty((sets, n))
        self.halfway = np.empty((sets, n * halfway_numbers.py_func(d)))

    def __call__(self, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        by_eps, at = np.empty(eps.shape), (self.mean, self.spread)

        def forward(first: int, last: int) -> None:
            _unwhiten(*self.given, eps, *at, self.k, first, last, self.phi, self.log_jacobian, self.halfway)

        in_threads(forward, even_parts(len(eps)))
        value, by_phi = self.density(self.phi)

        def back(first: int, last: int) -> None:
            _pull_back(*self.given, *at, self.halfway, by_phi, first, last, by_eps)

        in_threads(back, even_parts(len(eps)))
        return value + self.log_jacobian, by_eps


@njit(nogil=True, cache=True, error_model="numpy")
def _unwhiten(window, whitening, eps, mean, spread, k, first, last, phi, log_jacobian, halfway):
    """`unwhiten_halfway` of sets first to last - 1."""
    _, n, d = eps.shape
    for s in range(first, last):
        kept = halfway_in(halfway[s], n, d)
        unwhiten_halfway(window, whitening, eps[s], mean, spread, k, phi[s], log_jacobian[s], kept)


@njit(nogil=True, cache=True, error_model="numpy")
def _pull_back(window, whitening, mean, spread, halfway, by_phi, first, last, by_eps):
    """`unwhiten_pullback` of sets first to last - 1, log Jacobian included."""
    _, n, d = by_phi.shape
    by_mean, by_spread, one = np.empty(mean.shape), np.empty(spread.shape), np.ones(n)
    for s in range(first, last):
        kept = halfway_in(halfway[s], n, d)
        unwhiten_pullback(
            window, whitening, mean, spread, kept, by_phi[s], one, by_eps[s], by_mean, by_spread
        )
