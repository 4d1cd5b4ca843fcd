"""The coordinates of each patient: of several candidates, the one in which its posterior is most normal.

Judged by draws from that posterior (`bayes_isa.model.pilot`) with their gradients: in good coordinates eps the force
on a draw is -eps, that of a standard normal.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numba import njit

from bayes_isa.kernels.bend import bent, unbent
from bayes_isa.kernels.response import Window
from bayes_isa.kernels.whitening import Whitening, unwhiten
from bayes_isa.model.population import Population
from bayes_isa.model.windows import map_all, psi_all

# Smallest over largest eigenvalue of a precision that a sampler can factorise, also somewhat away from this population.
_WORST_CONDITION = 1e-12
_SCALES = np.array([0.7, 0.85, 1.0, 1.2, 1.4])
# Stronger bends overfit a few hundred draws: where the population differs a little they throw tails out of reach.
_BENDS = np.array([-1.5, -1.0, -0.7, -0.45, -0.25, 0.0, 0.3, 0.6, 1.0])
# Of the draws, which are correlated, in the fit of bends: its cost is most of that of the coordinates.
_FIT_EVERY = 2
# Rougher than this no coordinates were found: a chain that got lost, not a posterior.
_LOST = 50.0
# A wall: at this many SDs from the centre along an axis the density has fallen this many times as far as a normal's.
_WALL_AT = 3.5
_WALL = 1.5
_BESIDE = 2.0  # SDs along another axis: a wall may stand askew
# There, of these bends the strongest that leaves the furthest of a posterior this near: few draws come to a wall, so
# that fitting them hardly sees it.
_WALL_BENDS = np.array([0.3, 0.6, 1.0, 1.3, 1.6, 2.0, 2.5])
_NEAR = 6.0
# SDs at which to look whether a posterior reaches there: its density has not fallen by more than a normal's in five
# dimensions has around 99 % of its mass.
_SCAN = (2.5, 3.5)
_IN_REACH = 8.0


# Log-density (n_patients,) of phi or eps (n_patients, d), up to a constant.
Density = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class IndividualDraws:
    """Draws of phi (draw, patient, d) from the patients' posteriors at a population, with the density they are from."""

    population: Population
    density: Density
    phi: np.ndarray
    by_phi: np.ndarray  # gradients of the log-density


@dataclass(frozen=True)
class Coordinates:
    """A window and a whitening, and how far each patient's posterior is in them from standard normal."""

    window: Window
    whitening: Whitening
    score: np.ndarray  # (n_patients,) variance of |force|^2 over that of a standard normal; inf unusable


def best_coordinates(windows: list[Window], near: IndividualDraws, wide: IndividualDraws) -> Coordinates:
    """For each patient the best of the whitenings in the given windows, bent where that helps and at walls.

    `near` are draws at the population estimate, `wide` at one with wider omegas. Coordinates of the net change must do
    at both; open ones straighten some posteriors better.
    """
    *nets, last = windows
    net, open_one = _best_of(nets, (near, wide)), _best_of([last], (near,))
    at_estimate, open_score = (_score(c.whitening, *_standardised_all(c, (near,))) for c in (net, open_one))
    use = last.open & (open_score < at_estimate)
    best = _better(net, replace(open_one, score=np.where(use, -1.0, np.inf)))
    score = np.where(use, open_score, at_estimate)
    lost = ~(score < _LOST)
    uninformed = _uninformed(last, near.population)
    best = _better(best, replace(uninformed, score=np.where(lost, -np.inf, np.inf)))
    return replace(best, score=np.where(lost, np.inf, score))


def _best_of(windows: list[Window], draws: Sequence[IndividualDraws]) -> Coordinates:
    """The best whitenings in the windows, judged by all the draws, with bends; walls looked for at the last ones."""
    # What the data say of their own shows best against a wide population; near the estimate it may not show at all.
    candidates = [candidate for window in windows for candidate in _whitened(window, draws)]
    return _bent_at_walls(_bent(functools.reduce(_better, candidates), draws), draws)


def _in_eps(coordinates: Coordinates, draws: IndividualDraws) -> Density:
    """Log-density of eps (n_patients, d) that the draws are from."""
    window, whitening, population = coordinates.window, coordinates.whitening, draws.population

    def log_density(at: np.ndarray) -> np.ndarray:
        phi, log_jacobian = np.empty_like(at), np.empty(len(at))
        unwhiten(window, whitening, at, population.mean, population.spread, population.k, phi, log_jacobian)
        return draws.density(phi) + log_jacobian

    return log_density


def _reach(coordinates: Coordinates, draws: Sequence[IndividualDraws]) -> np.ndarray:
    """How far posteriors reach from 0 on either side of each axis before its bend: (2, n_patients, d).

    As far as the draws do, and as far as the density of the last ones is found: a chain may not have been there yet.
    """
    x, _ = _standardised_all(coordinates, draws)
    x = x / coordinates.whitening.scale
    reach = np.stack([np.maximum(-x, 0.0).max(axis=0), np.maximum(x, 0.0).max(axis=0)])
    zero = np.zeros_like(coordinates.whitening.below)
    straight = replace(coordinates, whitening=coordinates.whitening._replace(below=zero, above=zero))
    log_density = _in_eps(straight, draws[-1])
    for distance in _SCAN:
        falls = _falls(log_density, zero.shape, distance)
        reach = np.where(falls.min(axis=3) <= _IN_REACH, np.maximum(reach, distance), reach)
    return reach


def _falls(log_density: Density, shape: tuple[int, int], distance: float) -> np.ndarray:
    """Fall of the density from its value at 0 to `distance` on either side of each axis and to places beside those.

    (2, n_patients, d, places), the first place the one on the axis.
    """
    n, d = shape
    base = log_density(np.zeros(shape))
    falls = np.empty((2, n, d, 2 * d - 1))
    for j in range(d):
        beside = [(other, move) for other in range(d) if other != j for move in (-_BESIDE, _BESIDE)]
        for side, sign in enumerate((-1.0, 1.0)):
            for place, (other, move) in enumerate([(j, 0.0), *beside]):
                at = np.zeros(shape)
                at[:, other] = move
                at[:, j] = sign * distance
                # A curve that overflows falls without end.
                with np.errstate(over="ignore", invalid="ignore"):
                    fall = base - log_density(at)
                falls[side, :, j, place] = np.where(np.isnan(fall), np.inf, fall)
    return falls


def _uninformed(window: Window, population: Population) -> Coordinates:
    """Coordinates that rest on the population alone, as for a patient without data."""
    centre = psi_all(window, population.mean, population.k)
    nothing = np.zeros((*centre.shape, centre.shape[1]))
    mapped = map_all(window, centre, population.k)
    offset = mapped.phi - np.einsum("nij,nj->ni", mapped.by_psi, centre)
    zero = 0.0 * centre
    whitening = Whitening(nothing, zero, mapped.by_psi, offset, zero + 1.0, zero, zero.copy())
    return Coordinates(window, whitening, np.full(len(centre), np.inf))


def _bent_at_walls(coordinates: Coordinates, draws: Sequence[IndividualDraws]) -> Coordinates:
    """Stronger bends where an axis runs into a wall of the posterior that the last draws are from.

    None stronger than leaves all that is in reach near.
    """
    whitening = coordinates.whitening
    falls = _falls(_in_eps(coordinates, draws[-1]), whitening.pull.shape, _WALL_AT)
    falls[..., 1:] -= 0.5 * _BESIDE**2
    wall = (falls > _WALL * 0.5 * _WALL_AT**2).any(axis=3)
    reach = _reach(coordinates, draws)[..., None]
    near = np.sinh(_WALL_BENDS * reach) / _WALL_BENDS <= _NEAR
    strongest = np.where(near, _WALL_BENDS, 0.0).max(axis=3)
    below, above = (
        np.where(at_wall, np.maximum(bend, most), np.minimum(bend, most))
        for bend, at_wall, most in zip((whitening.below, whitening.above), wall, strongest, strict=True)
    )
    return replace(coordinates, whitening=whitening._replace(below=below, above=above))


def _whitened(window: Window, draws: Sequence[IndividualDraws]) -> list[Coordinates]:
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


def _bent(coordinates: Coordinates, draws: Sequence[IndividualDraws]) -> Coordinates:
    """The coordinates with the scales and bends that suit all draws, where they are better for it."""
    x, by_x = _standardised_all(coordinates, draws)
    scale, below, above = (np.empty(coordinates.score.shape + x.shape[2:]) for _ in range(3))
    _fit_bends(x[::_FIT_EVERY], by_x[::_FIT_EVERY], _SCALES, _BENDS, scale, below, above)
    whitening = coordinates.whitening._replace(scale=scale, below=below, above=above)
    return _better(coordinates, Coordinates(coordinates.window, whitening, _score(whitening, x, by_x)))


def _score(whitening: Whitening, x: np.ndarray, by_x: np.ndarray) -> np.ndarray:
    score = _force_variance(x, by_x, whitening.scale, whitening.below, whitening.above)
    return np.where(np.isfinite(score), score, np.inf)


def _standardised_all(
    coordinates: Coordinates, draws: Sequence[IndividualDraws]
) -> tuple[np.ndarray, np.ndarray]:
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
    k = draws.population.k
    psi, by_psi = np.empty_like(draws.phi), np.empty_like(draws.phi)
    for s, (phi, by_phi) in enumerate(zip(draws.phi, draws.by_phi, strict=True)):
        psi[s] = psi_all(window, phi, k)
        mapped = map_all(window, psi[s], k)
        by_psi[s] = np.einsum("nji,nj->ni", mapped.by_psi, by_phi) + mapped.log_jacobian_by_psi
    return psi, by_psi


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
    x = np.einsum("nji,snj->sni", lower, psi - centre)
    by_x = np.linalg.solve(lower[None], by_psi[..., None])[..., 0]
    return x, by_x


def _precision(psi: np.ndarray, by_psi: np.ndarray) -> np.ndarray:
    """Precision P (n, d, d) of the Gaussian nearest in Fisher divergence: P Cov(psi) P = Cov(gradient)."""
    covariance = _covariance(psi)
    root, inverse_root = _powers(covariance)
    # With R = Cov^(1/2): P = R^-1 (R Cov(gradient) R)^(1/2) R^-1.
    inner, _ = _powers(root @ _covariance(by_psi) @ root)
    return inverse_root @ inner @ inverse_root


def _covariance(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=0)
    return np.einsum("sni,snj->nij", centred, centred) / len(values)


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


@njit(cache=True, error_model="numpy")
def _fit_bends(x, by_x, scales, bends, scale, below, above):
    """For each patient and axis the scale and bends with the least mean |force + eps|^2 (the Fisher divergence).

    The sum over draws falls apart into those below and those above 0, each with its own bend.
    """
    n_draws, n_patients, d = x.shape
    for i in range(n_patients):
        for j in range(d):
            least = np.inf
            for c in scales:
                loss_below, loss_above = np.inf, np.inf
                best_below, best_above = 0.0, 0.0
                for bend in bends:
                    low, high = 0.0, 0.0
                    for s in range(n_draws):
                        z = unbent(x[s, i, j] / c, bend, bend)
                        at = bent(z, bend, bend)
                        miss = c * at.slope * by_x[s, i, j] + at.log_slope_slope + z
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


@njit(cache=True, error_model="numpy")
def _force_variance(x, by_x, scale, below, above):
    """Variance over draws of |force|^2 in eps, over 2 d: the energy error of a leapfrog step goes with its square root.

    Unlike the Fisher divergence it counts a few draws at a wall for what they cost.
    """
    n_draws, n_patients, d = x.shape
    result = np.empty(n_patients)
    for i in range(n_patients):
        mean, square = 0.0, 0.0
        for s in range(n_draws):
            total = 0.0
            for j in range(d):
                z = unbent(x[s, i, j] / scale[i, j], below[i, j], above[i, j])
                at = bent(z, below[i, j], above[i, j])
                total += (scale[i, j] * at.slope * by_x[s, i, j] + at.log_slope_slope) ** 2
            mean += total / n_draws
            square += total * total / n_draws
        result[i] = (square - mean * mean) / (2.0 * d)
    return result


def _better(first: Coordinates, second: Coordinates) -> Coordinates:
    """Patient by patient, the candidate with the lower score."""
    take = second.score < first.score

    def pick(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.where(take.reshape(-1, *[1] * (a.ndim - 1)), b, a))

    of_first, of_second = first.window._asdict(), second.window._asdict()
    saturation = of_first.pop("saturation")
    window = Window(
        **{name: pick(array, of_second[name]) for name, array in of_first.items()}, saturation=saturation
    )
    whitening = Whitening(*(pick(a, b) for a, b in zip(first.whitening, second.whitening, strict=True)))
    return Coordinates(window, whitening, np.minimum(first.score, second.score))
