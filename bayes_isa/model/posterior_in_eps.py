"""Patients' posteriors as a sampler sees them: log-densities and gradients in eps, the coordinates it moves in."""

from __future__ import annotations

import numpy as np
from numba import njit

from bayes_isa.kernels.threads import even_parts, in_threads
from bayes_isa.kernels.whitening import halfway_in, halfway_numbers, unwhiten_halfway, unwhiten_pullback
from bayes_isa.model.whitenings import Coordinates, IndividualDraws


class PosteriorInEps:
    """The posteriors that draws are from, in some coordinates, at points eps (point, n_patients, d)."""

    def __init__(self, coordinates: Coordinates, draws: IndividualDraws) -> None:
        population = draws.population
        self._density = draws.density
        self._map = coordinates.window, coordinates.whitening
        self._at, self._k = (population.mean, population.spread), population.k
        self._make_room(0)

    def log_density(self, eps: np.ndarray) -> np.ndarray:
        """Log-densities (point, n_patients), up to a constant."""
        phi, log_jacobian, _ = self._forward(eps)
        return self._density(phi)[0] + log_jacobian

    def with_gradient(self, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-densities and their gradients by eps."""
        phi, log_jacobian, halfway = self._forward(eps)
        value, by_phi = self._density(phi)
        by_eps = np.empty(eps.shape)

        def back(first: int, last: int) -> None:
            _pull_back(*self._map, *self._at, halfway, by_phi, first, last, by_eps)

        in_threads(back, even_parts(len(eps)))
        return value + log_jacobian, by_eps

    def _forward(self, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """phi, log Jacobians and what the way back needs, in arrays that the next call fills anew."""
        if len(self._room[0]) < len(eps):
            self._make_room(len(eps))
        phi, log_jacobian, halfway = (array[: len(eps)] for array in self._room)

        def fill(first: int, last: int) -> None:
            _unwhiten(*self._map, eps, *self._at, self._k, first, last, phi, log_jacobian, halfway)

        in_threads(fill, even_parts(len(eps)))
        return phi, log_jacobian, halfway

    def _make_room(self, points: int) -> None:
        n, d = self._map[1].pull.shape
        numbers = n * halfway_numbers.py_func(d)
        self._room = np.empty((points, n, d)), np.empty((points, n)), np.empty((points, numbers))


@njit(nogil=True, cache=True, error_model="numpy")
def _unwhiten(window, whitening, eps, mean, spread, k, first, last, phi, log_jacobian, halfway):
    """`unwhiten_halfway` of points first to last - 1."""
    _, n, d = eps.shape
    for s in range(first, last):
        kept = halfway_in(halfway[s], n, d)
        unwhiten_halfway(window, whitening, eps[s], mean, spread, k, phi[s], log_jacobian[s], kept)


@njit(nogil=True, cache=True, error_model="numpy")
def _pull_back(window, whitening, mean, spread, halfway, by_phi, first, last, by_eps):
    """`unwhiten_pullback` of points first to last - 1, log Jacobian included."""
    _, n, d = by_phi.shape
    by_mean, by_spread, one = np.empty(mean.shape), np.empty(spread.shape), np.ones(n)
    for s in range(first, last):
        kept = halfway_in(halfway[s], n, d)
        unwhiten_pullback(
            window, whitening, mean, spread, kept, by_phi[s], one, by_eps[s], by_mean, by_spread
        )
