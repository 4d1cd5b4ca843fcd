"""Whitenings of each patient's posterior, with bends, and how normal the posterior is in them.

Judged by draws from that posterior (`bayes_isa.model.pilot`) with their gradients: in good coordinates eps the force
on a draw is -eps, that of a standard normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numba import njit

from bayes_isa.kernels.bend import from_bent
from bayes_isa.kernels.response import N_INTEGRALS, Window, phi_by_psi, phi_from_psi, psi_from_phi
from bayes_isa.kernels.threads import even_parts, in_threads
from bayes_isa.kernels.whitening import Whitening, whiten
from bayes_isa.model.population import Population
from bayes_isa.model.windows import map_all

# Smallest over largest eigenvalue of a precision that a sampler can factorise, also somewhat away from this population.
_WORST_CONDITION = 1e-12
_SCALES = np.array([0.7, 0.85, 1.0, 1.2, 1.4])
# Stronger bends overfit a few hundred draws: where the population differs a little they throw tails out of reach.
_BENDS = np.array([-1.5, -1.0, -0.7, -0.45, -0.25, 0.0, 0.3, 0.6, 1.0])


class Density(Protocol):
    """Log-densities (point, n_patients), up to a constant, at phi (point, n_patients, d), and their gradients."""

    def __call__(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...

    def of(self, patients: np.ndarray) -> Density:
        """Those of some patients."""
        ...


@dataclass(frozen=True)
class IndividualDraws:
    """Draws of phi (draw, patient, d) from the patients' posteriors at a population, with the density they are from."""

    population: Population
    density: Density
    phi: np.ndarray
    by_phi: np.ndarray  # gradients of the log-density

    def of(self, patients: np.ndarray) -> IndividualDraws:
        """Those of some patients."""
        population = replace(self.population, mean=self.population.mean[patients])
        density = self.density.of(patients)
        return IndividualDraws(population, density, self.phi[:, patients], self.by_phi[:, patients])


@dataclass(frozen=True)
class Coordinates:
    """A window and a whitening, and how far each patient's posterior is in them from standard normal."""

    window: Window
    whitening: Whitening
    score: np.ndarray  # (n_patients,) roughness, 1 for a standard normal; inf unusable

    def of(self, patients: np.ndarray) -> Coordinates:
        """Those of some patients."""
        whitening = Whitening(*(array[patients] for array in self.whitening))
        return Coordinates(self.window.of(patients), whitening, self.score[patients])

    def with_those(self, patients: np.ndarray, others: Coordinates) -> Coordinates:
        """With others for some patients."""

        def put(own: np.ndarray, other: np.ndarray) -> np.ndarray:
            changed = own.copy()
            changed[patients] = other
            return changed

        window = self.window.with_those(patients, others.window)
        whitening = Whitening(*map(put, self.whitening, others.whitening))
        return Coordinates(window, whitening, put(self.score, others.score))


def whitened(window: Window, draws: Sequence[IndividualDraws]) -> list[Coordinates]:
    """The whitenings with centre and precision of each of the draws, without bends, judged by all."""
    in_psi = [_in_psi(window, each) for each in draws]
    candidates = []
    for centre, (psi, by_psi) in zip(draws, in_psi, strict=True):
        whitening, usable = _whitening(window, centre.population, psi.mean(axis=0), _precision(psi, by_psi))
        parts = [
            _standardised(whitening, each.population, *at) for each, at in zip(draws, in_psi, strict=True)
        ]
        score = _score(whitening, *_all(parts))
        candidates.append(Coordinates(window, whitening, np.where(usable, score, np.inf)))
    return candidates


def bent_to(coordinates: Coordinates, draws: Sequence[IndividualDraws]) -> Coordinates:
    """The coordinates with the scales and bends that suit all draws, where they are better for it."""
    x, by_x = standardised_all(coordinates, draws)
    scale, below, above = (np.empty(coordinates.score.shape + x.shape[2:]) for _ in range(3))
    by_patient = (np.ascontiguousarray(each.transpose(1, 2, 0)) for each in (x, by_x))
    at = (*by_patient, _SCALES, _BENDS)
    in_threads(lambda first, last: _fit_bends(*at, first, last, scale, below, above), even_parts(len(scale)))
    whitening = coordinates.whitening._replace(scale=scale, below=below, above=above)
    return better(coordinates, Coordinates(coordinates.window, whitening, _score(whitening, x, by_x)))


def score_of(coordinates: Coordinates, draws: Sequence[IndividualDraws]) -> np.ndarray:
    """Roughness (n_patients,) of the posteriors in these coordinates at the draws, 1 for a standard normal, or inf."""
    return _score(coordinates.whitening, *standardised_all(coordinates, draws))


def _score(whitening: Whitening, x: np.ndarray, by_x: np.ndarray) -> np.ndarray:
    score = _roughness(x, by_x, whitening.scale, whitening.below, whitening.above)
    return np.where(np.isfinite(score), score, np.inf)


def eps_at(coordinates: Coordinates, population: Population, phi: np.ndarray) -> np.ndarray:
    """The coordinates eps of phi, (set, n_patients, d) both, at a population."""
    eps = np.empty(phi.shape)
    at = (population.mean, population.spread, population.k)
    for each, place in zip(np.ascontiguousarray(phi), eps, strict=True):
        whiten(coordinates.window, coordinates.whitening, each, *at, place)
    return eps


def standardised_all(
    coordinates: Coordinates, draws: Sequence[IndividualDraws]
) -> tuple[np.ndarray, np.ndarray]:
    """x and the force on x of `_standardised` at all draws, (draw, patient, d) each."""
    return _all(
        [
            _standardised(coordinates.whitening, each.population, *_in_psi(coordinates.window, each))
            for each in draws
        ]
    )


def _all(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    x, by_x = (np.concatenate(part) for part in zip(*parts, strict=True))
    return x, by_x


def _in_psi(window: Window, draws: IndividualDraws) -> tuple[np.ndarray, np.ndarray]:
    """Draws and gradients of the log-density in psi, (draw, patient, d) each."""
    psi, by_psi = np.empty_like(draws.phi), np.empty_like(draws.phi)

    def fill(first: int, last: int) -> None:
        _fill_psi(window, draws.phi, draws.by_phi, draws.population.k, first, last, psi, by_psi)

    in_threads(fill, even_parts(len(psi)))
    return psi, by_psi


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_psi(window, phi, by_phi, k, first, last, psi, by_psi):
    """`_in_psi` of draws first to last - 1."""
    d = phi.shape[2]
    phi_again, integrals = np.empty(d), np.empty(N_INTEGRALS)
    phi_by, by_k, log_jacobian_by = np.empty((d, d)), np.empty(d), np.empty(d)
    for s in range(first, last):
        for i in range(phi.shape[1]):
            psi_from_phi(window, i, phi[s, i], k, psi[s, i])
            phi_from_psi(window, i, psi[s, i], k, phi_again, integrals)
            phi_by_psi(window, i, psi[s, i], integrals, phi_by, by_k, log_jacobian_by)
            for x in range(d):
                by_psi[s, i, x] = log_jacobian_by[x]
                for j in range(d):
                    by_psi[s, i, x] += phi_by[j, x] * by_phi[s, i, j]


def _standardised(
    whitening: Whitening, population: Population, psi: np.ndarray, by_psi: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """x = C' (psi - centre) of the whitening at the draws' population, before bends, and the force on x."""
    linear = whitening.linear
    weighted = np.einsum("jl,nli->nji", population.precision, linear)
    precision = whitening.curvature + np.einsum("nji,njk->nik", linear, weighted)
    pull = whitening.pull + np.einsum("nji,nj->ni", weighted, population.mean - whitening.offset)
    sound = np.isfinite(precision).all(axis=(1, 2)) & (np.linalg.eigvalsh(precision)[:, 0] > 0.0)
    precision = np.where(sound[:, None, None], precision, np.eye(precision.shape[1]))
    lower = np.linalg.cholesky(precision)
    centre = np.linalg.solve(precision, pull[..., None])[..., 0]
    x = _by_patient(psi - centre, lower)
    return x, _by_patient(by_psi, np.linalg.inv(lower).transpose(0, 2, 1))


def _by_patient(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Rows (draw, patient, d) times each patient's matrix (n_patients, d, d)."""
    return (rows.transpose(1, 0, 2) @ matrix).transpose(1, 0, 2)


def _precision(psi: np.ndarray, by_psi: np.ndarray) -> np.ndarray:
    """Precision P (n, d, d) of the Gaussian nearest in Fisher divergence: P Cov(psi) P = Cov(gradient)."""
    covariance = _covariance(psi)
    root, inverse_root = _powers(covariance)
    # With R = Cov^(1/2): P = R^-1 (R Cov(gradient) R)^(1/2) R^-1.
    inner, _ = _powers(root @ _covariance(by_psi) @ root)
    return inverse_root @ inner @ inverse_root


def _covariance(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=0)
    return centred.transpose(1, 2, 0) @ centred.transpose(1, 0, 2) / len(values)


def _powers(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric root and its inverse; a direction that a chain never moved in gets a tiny variance."""
    sound = np.isfinite(matrix).all(axis=(1, 2))
    eigenvalue, vector = np.linalg.eigh(np.where(sound[:, None, None], matrix, np.eye(matrix.shape[1])))
    eigenvalue = np.maximum(eigenvalue, _WORST_CONDITION * np.maximum(eigenvalue[:, -1:], _WORST_CONDITION))
    root = np.einsum("nij,nj,nkj->nik", vector, np.sqrt(eigenvalue), vector)
    return root, np.einsum("nij,nj,nkj->nik", vector, 1.0 / np.sqrt(eigenvalue), vector)


def _whitening(
    window: Window, population: Population, centre: np.ndarray, precision: np.ndarray
) -> tuple[Whitening, np.ndarray]:
    """The whitening that has this centre and precision at the population estimate, and where it is usable.

    What the population explains of the precision is taken off: that part moves with the population.
    """
    mapped = map_all(window, centre, population.k)
    linear = mapped.by_psi
    offset = mapped.phi - np.einsum("nij,nj->ni", linear, centre)
    weighted = np.einsum("jl,nli->nji", population.precision, linear)
    from_population = np.einsum("nji,njk->nik", linear, weighted)
    eigenvalue, vector = np.linalg.eigh(precision - from_population)
    curvature = np.einsum("nij,nj,nkj->nik", vector, np.maximum(eigenvalue, 0.0), vector)
    whole = curvature + from_population
    pull = np.einsum("nij,nj->ni", whole, centre)
    pull -= np.einsum("nji,nj->ni", weighted, population.mean - offset)
    eigenvalue = np.linalg.eigvalsh(whole)
    usable = np.isfinite(whole).all(axis=(1, 2)) & (eigenvalue[:, 0] > _WORST_CONDITION * eigenvalue[:, -1])
    arrays = (curvature, pull, linear, offset, np.ones_like(centre), 0.0 * centre, 0.0 * centre)
    return Whitening(*(np.ascontiguousarray(array) for array in arrays)), usable


@njit(nogil=True, cache=True, error_model="numpy")
def _fit_bends(x, by_x, scales, bends, first, last, scale, below, above):
    """For each patient and axis the scale and bends with the least mean |force + eps|^2 (the Fisher divergence).

    Of patients first to last - 1; x and the force on it: (n_patients, d, draw). The sum over draws falls apart into
    those below and those above 0, each with its own bend.
    """
    _, d, n_draws = x.shape
    for i in range(first, last):
        for j in range(d):
            least = np.inf
            for c in scales:
                loss_below, loss_above = np.inf, np.inf
                best_below, best_above = 0.0, 0.0
                for bend in bends:
                    low, high = 0.0, 0.0
                    for s in range(n_draws):
                        z, slope, log_slope_slope = from_bent(x[i, j, s] / c, bend)
                        miss = c * slope * by_x[i, j, s] + log_slope_slope + z
                        if z < 0.0:
                            low += miss * miss
                        else:
                            high += miss * miss
                    if low < loss_below:
                        loss_below, best_below = low, bend
                    if high < loss_above:
                        loss_above, best_above = high, bend
                total = (loss_below + loss_above) / n_draws
                if total < least:
                    least = total
                    scale[i, j], below[i, j], above[i, j] = c, best_below, best_above


@njit(nogil=True, cache=True, error_model="numpy")
def _roughness(x, by_x, scale, below, above):
    """Variance over draws of |force|^2 in eps over 2 d, 1 for a standard normal, plus mean |force + eps|^2 over d.

    The energy error of a leapfrog step goes with the square root of the first, which counts a few draws at a wall for
    what they cost. The second, the Fisher divergence, counts those that lie far out where the density is flat.
    """
    n_draws, n_patients, d = x.shape
    result = np.empty(n_patients)
    for i in range(n_patients):
        mean, squares, divergence = 0.0, 0.0, 0.0
        for s in range(n_draws):
            total = 0.0
            for j in range(d):
                value = x[s, i, j] / scale[i, j]
                z, slope, log_slope_slope = from_bent(value, below[i, j] if value < 0.0 else above[i, j])
                force = scale[i, j] * slope * by_x[s, i, j] + log_slope_slope
                total += force * force
                divergence += (force + z) * (force + z)
            # As they come: the difference of two large sums may be anything, even below 0.
            off = total - mean
            mean += off / (s + 1)
            squares += off * (total - mean)
        result[i] = squares / (2.0 * d * n_draws) + divergence / (n_draws * d)
    return result


def better(first: Coordinates, second: Coordinates) -> Coordinates:
    """Patient by patient, the candidate with the lower score."""
    lower = np.flatnonzero(second.score < first.score)
    return first.with_those(lower, second.of(lower))
