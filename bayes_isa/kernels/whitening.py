"""Whitening of response coordinates by each patient's own curvature: what a sampler sees is close to standard normal.

psi = L^-1 b + C^-T x with C C' = L = H + A' W A and b = h + A' W (mean - c): the Gaussian that the patient's data
(H, h: approximation of the log-likelihood in psi) and the population (phi ~ c + A psi, linearised, of precision W)
together suggest. W = diag(1 / omega^2), or that of correlated random effects. x = scale S(eps), each number by itself,
with S bent where a posterior is far from Gaussian: see `bayes_isa.kernels.bend`. Quality decides the speed alone, the
map is exact.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numba.extending import overload

from bayes_isa.kernels.bend import bent, unbent
from bayes_isa.kernels.elementary import ENTRY
from bayes_isa.kernels.response import N_INTEGRALS, Window, phi_by_psi, phi_from_psi, psi_from_phi


class Whitening(NamedTuple):
    """Constants of the whitening for each patient; d is 4 (constant exposure) or 5."""

    curvature: np.ndarray  # H (n_patients, d, d), positive semi-definite
    pull: np.ndarray  # h (n_patients, d)
    linear: np.ndarray  # A (n_patients, d, d)
    offset: np.ndarray  # c (n_patients, d)
    scale: np.ndarray  # (n_patients, d)
    below: np.ndarray  # (n_patients, d) bend of S at negative eps
    above: np.ndarray  # (n_patients, d) bend of S at positive eps


class Halfway(NamedTuple):
    """What `unwhiten_halfway` leaves for the pullback at the same point, for each patient."""

    lower: np.ndarray  # C (n_patients, d, d)
    inverse: np.ndarray  # (n_patients, d) 1 over its diagonal
    centre: np.ndarray  # L^-1 b
    step: np.ndarray  # C^-T x
    slope: np.ndarray  # of x by eps
    log_slope: np.ndarray  # derivative of the log of that
    integrals: np.ndarray  # (n_patients, N_INTEGRALS)


@njit(inline="always")
def halfway_numbers(d: int) -> int:
    """Numbers of a `Halfway` for each patient."""
    return d * d + 5 * d + N_INTEGRALS


@njit(inline="always")
def halfway_in(flat: np.ndarray, n: int, d: int) -> Halfway:
    """A `Halfway` whose arrays are views of `flat`, n * halfway_numbers(d) numbers."""
    after, width = n * d * d, n * d
    return Halfway(
        flat[:after].reshape((n, d, d)),
        flat[after : after + width].reshape((n, d)),
        flat[after + width : after + 2 * width].reshape((n, d)),
        flat[after + 2 * width : after + 3 * width].reshape((n, d)),
        flat[after + 3 * width : after + 4 * width].reshape((n, d)),
        flat[after + 4 * width : after + 5 * width].reshape((n, d)),
        flat[after + 5 * width : after + 5 * width + n * N_INTEGRALS].reshape((n, N_INTEGRALS)),
    )


@njit(inline="always", error_model="numpy")
def _cholesky(d, matrix, lower, inverse):
    """Lower Cholesky factor of a small matrix and 1 over its diagonal; NaN where it is not positive definite."""
    for column in range(d):
        for row in range(column, d):
            value = matrix[row, column]
            for inner in range(column):
                value -= lower[row, inner] * lower[column, inner]
            if row == column:
                lower[row, row] = math.sqrt(value) if value > 0.0 else math.nan
                # One division for all that follow: they would be the bulk of the cost.
                inverse[row] = 1.0 / lower[row, row]
            else:
                lower[row, column] = value * inverse[column]


@njit(inline="always", error_model="numpy")
def _solve_lower(d, lower, inverse, vector):
    """lower^-1 vector, in place."""
    for row in range(d):
        value = vector[row]
        for inner in range(row):
            value -= lower[row, inner] * vector[inner]
        vector[row] = value * inverse[row]


@njit(inline="always", error_model="numpy")
def _solve_upper(d, lower, inverse, vector):
    """lower'^-1 vector, in place."""
    for row in range(d - 1, -1, -1):
        value = vector[row]
        for inner in range(row + 1, d):
            value -= lower[inner, row] * vector[inner]
        vector[row] = value * inverse[row]


@njit(inline="always", error_model="numpy")
def _gaussian(  # noqa: C901 - one matrix product after another, each its own loop
    d, whitening, i, mean, weight, precision, lower, inverse, matrix, centre
):
    """Factor C of the precision, 1 over its diagonal, and the centre L^-1 b of patient i."""
    for x in range(d):
        centre[x] = whitening.pull[i, x]
        for y in range(x + 1):
            matrix[x, y] = whitening.curvature[i, x, y]
    for j in range(d):
        distance = weight[j] * (mean[j] - whitening.offset[i, j])
        for x in range(d):
            here = whitening.linear[i, j, x]
            # The coordinate map is sparse: most individual parameters depend on one or two coordinates.
            if here != 0.0:
                centre[x] += here * distance
                weighted = weight[j] * here
                for y in range(x + 1):
                    matrix[x, y] += weighted * whitening.linear[i, j, y]
    for j in range(precision.shape[0]):  # what W has beside its diagonal; nothing without correlations
        for m in range(d):
            if m != j:
                distance = precision[j, m] * (mean[m] - whitening.offset[i, m])
                for x in range(d):
                    here = whitening.linear[i, j, x]
                    if here != 0.0:
                        centre[x] += here * distance
                        weighted = precision[j, m] * here
                        for y in range(x + 1):
                            matrix[x, y] += weighted * whitening.linear[i, m, y]
    _cholesky(d, matrix, lower, inverse)
    _solve_lower(d, lower, inverse, centre)
    _solve_upper(d, lower, inverse, centre)


def _weights(spread):
    """Diagonal of W, and W itself where it is no diagonal matrix, else an empty one."""
    if spread.ndim == 1:
        return 1.0 / (spread * spread), np.empty((0, 0))
    return np.diag(spread).copy(), spread


def _by_spread(spread, weight, to_weight, to_precision, to_spread):
    """Fill `to_spread`: derivatives by SDs or by W."""
    if spread.ndim == 1:
        to_spread[:] = -2.0 * to_weight * weight / spread
    else:
        to_spread[:] = to_precision + np.diag(to_weight)


# What they return depends on the number of dimensions, so compiled code is chosen by it.
@overload(_weights)
def _compiled_weights(spread):
    if spread.ndim == 1:
        return lambda spread: (1.0 / (spread * spread), np.empty((0, 0)))
    return lambda spread: (np.diag(spread).copy(), spread)


@overload(_by_spread)
def _compiled_by_spread(spread, weight, to_weight, to_precision, to_spread):
    if spread.ndim == 1:

        def by_sds(spread, weight, to_weight, to_precision, to_spread):
            to_spread[:] = -2.0 * to_weight * weight / spread

        return by_sds

    def by_precision(spread, weight, to_weight, to_precision, to_spread):
        to_spread[:] = to_precision + np.diag(to_weight)

    return by_precision


def unwhiten(
    window: Window,
    whitening: Whitening,
    eps: np.ndarray,
    mean: np.ndarray,
    spread: np.ndarray,
    k: float,
    phi: np.ndarray,
    log_jacobian: np.ndarray,
) -> None:
    """Fill `phi` (n_patients, d) and log |d phi / d eps| (n_patients,) from `eps`; mean (n_patients, d).

    spread: SDs omega (d,) of independent random effects, or the precision W (d, d) of correlated ones.
    """
    n, d = eps.shape
    halfway = halfway_in.py_func(np.empty(n * halfway_numbers.py_func(d)), n, d)
    unwhiten_halfway(window, whitening, eps, mean, spread, k, phi, log_jacobian, halfway)


@njit(nogil=True, cache=True, **ENTRY)
def unwhiten_halfway(
    window: Window,
    whitening: Whitening,
    eps: np.ndarray,
    mean: np.ndarray,
    spread: np.ndarray,
    k: float,
    phi: np.ndarray,
    log_jacobian: np.ndarray,
    halfway: Halfway,
) -> None:
    """`unwhiten` that also fills `halfway`, so that the pullback need not come there again."""
    at, outputs = (eps, mean, spread, k), (phi, log_jacobian, halfway)
    # A number that the compiler knows lets it unroll the small loops.
    if eps.shape[1] == 5:
        _unwhitened(5, window, whitening, at, outputs)
    else:
        _unwhitened(eps.shape[1], window, whitening, at, outputs)


@njit(inline="always", error_model="numpy")
def _unwhitened(d, window, whitening, at, outputs):
    """`unwhiten_halfway` of d individual parameters."""
    eps, mean, spread, k = at
    phi, log_jacobian, halfway = outputs
    n = eps.shape[0]
    matrix, psi = np.empty((d, d)), np.empty(d)
    weight, precision = _weights(spread)
    for i in range(n):
        lower, inverse, centre, step = (
            halfway.lower[i],
            halfway.inverse[i],
            halfway.centre[i],
            halfway.step[i],
        )
        _gaussian(d, whitening, i, mean[i], weight, precision, lower, inverse, matrix, centre)
        volume = 1.0
        for x in range(d):
            bend = bent(eps[i, x], whitening.below[i, x], whitening.above[i, x])
            step[x] = whitening.scale[i, x] * bend.value
            halfway.slope[i, x] = whitening.scale[i, x] * bend.slope
            halfway.log_slope[i, x] = bend.log_slope_slope
            volume *= halfway.slope[i, x] * inverse[x]
        _solve_upper(d, lower, inverse, step)
        for x in range(d):
            psi[x] = centre[x] + step[x]
        log_jacobian[i] = math.log(volume) + phi_from_psi(window, i, psi, k, phi[i], halfway.integrals[i])


@njit(nogil=True, cache=True, **ENTRY)
def whiten(
    window: Window,
    whitening: Whitening,
    phi: np.ndarray,
    mean: np.ndarray,
    spread: np.ndarray,
    k: float,
    eps: np.ndarray,
) -> None:
    """Inverse of `unwhiten`."""
    n, d = phi.shape
    lower, matrix = np.zeros((d, d)), np.empty((d, d))
    centre, psi, inverse = np.empty(d), np.empty(d), np.empty(d)
    weight, precision = _weights(spread)
    for i in range(n):
        _gaussian(d, whitening, i, mean[i], weight, precision, lower, inverse, matrix, centre)
        psi_from_phi(window, i, phi[i], k, psi)
        for x in range(d):
            value = 0.0
            for y in range(x, d):
                value += lower[y, x] * (psi[y] - centre[y])
            value /= whitening.scale[i, x]
            eps[i, x] = unbent(value, whitening.below[i, x], whitening.above[i, x])


@njit(nogil=True, cache=True, **ENTRY)
def unwhiten_pullback(
    window: Window,
    whitening: Whitening,
    mean: np.ndarray,
    spread: np.ndarray,
    halfway: Halfway,
    to_phi: np.ndarray,
    to_log_jacobian: np.ndarray,
    to_eps: np.ndarray,
    to_mean: np.ndarray,
    to_spread: np.ndarray,
) -> float:
    """Derivatives by `eps`, `mean`, `spread` (filled) and k (returned) from those by `phi` and the log Jacobian.

    `halfway` as `unwhiten_halfway` left it at the same point.
    """
    cotangents, outputs = (to_phi, to_log_jacobian), (to_eps, to_mean, to_spread)
    # A number that the compiler knows lets it unroll the small loops: a third less time.
    if to_phi.shape[1] == 5:
        return _pulled_back(5, window, whitening, mean, spread, halfway, cotangents, outputs)
    return _pulled_back(to_phi.shape[1], window, whitening, mean, spread, halfway, cotangents, outputs)


@njit(inline="always", error_model="numpy")
def _pulled_back(  # noqa: C901 - one matrix product after another, each its own loop
    d, window, whitening, mean, spread, halfway, cotangents, outputs
):
    """`unwhiten_pullback` of d individual parameters."""
    to_phi, to_log_jacobian = cotangents
    to_eps, to_mean, to_spread = outputs
    n = to_phi.shape[0]
    psi = np.empty(d)
    weight, precision = _weights(spread)
    to_precision, along = np.zeros(precision.shape), np.empty(d)
    by_psi, by_k, by_jacobian = np.empty((d, d)), np.empty(d), np.empty(d)
    to_psi, to_centre, to_weight = np.empty(d), np.empty(d), np.zeros(d)
    to_lower, to_matrix, column = np.empty((d, d)), np.empty((d, d)), np.empty(d)
    to_x = np.empty(d)
    to_k = 0.0
    for i in range(n):
        lower, inverse, centre, step = (
            halfway.lower[i],
            halfway.inverse[i],
            halfway.centre[i],
            halfway.step[i],
        )
        for x in range(d):
            psi[x] = centre[x] + step[x]
        phi_by_psi(window, i, psi, halfway.integrals[i], by_psi, by_k, by_jacobian)
        for x in range(d):
            value = to_log_jacobian[i] * by_jacobian[x]
            for j in range(d):
                value += by_psi[j, x] * to_phi[i, j]
            to_psi[x] = value
            to_k += by_k[x] * to_phi[i, x]
        # psi = centre + C^-T x, x = scale S(eps)
        to_x[:] = to_psi
        _solve_lower(d, lower, inverse, to_x)
        to_centre[:] = to_x
        _solve_upper(d, lower, inverse, to_centre)
        for x in range(d):
            to_eps[i, x] = halfway.slope[i, x] * to_x[x] + to_log_jacobian[i] * halfway.log_slope[i, x]
            for y in range(x + 1):
                to_lower[x, y] = -step[x] * to_x[y]
            to_lower[x, x] -= to_log_jacobian[i] * inverse[x]
        _cholesky_adjoint(d, lower, inverse, to_lower, to_matrix, column)
        # centre = L^-1 b
        for x in range(d):
            for y in range(d):
                to_matrix[x, y] -= 0.5 * (to_centre[x] * centre[y] + centre[x] * to_centre[y])
        # L = H + A' W A, b = h + A' W (mean - c)
        for j in range(d):
            along[j] = 0.0
            quadratic = 0.0
            for x in range(d):
                here = whitening.linear[i, j, x]
                if here != 0.0:
                    along[j] += here * to_centre[x]
                    inner = 0.0
                    for y in range(d):
                        inner += to_matrix[x, y] * whitening.linear[i, j, y]
                    quadratic += here * inner
            to_mean[i, j] = weight[j] * along[j]
            to_weight[j] += quadratic + along[j] * (mean[i, j] - whitening.offset[i, j])
        for j in range(precision.shape[0]):
            for m in range(d):
                if m != j:
                    to_mean[i, j] += precision[j, m] * along[m]
                    value = along[j] * (mean[i, m] - whitening.offset[i, m])
                    for x in range(d):
                        here = whitening.linear[i, j, x]
                        if here != 0.0:
                            for y in range(d):
                                value += here * to_matrix[x, y] * whitening.linear[i, m, y]
                    to_precision[j, m] += value
    _by_spread(spread, weight, to_weight, to_precision, to_spread)
    return to_k


@njit(inline="always", error_model="numpy")
def _cholesky_adjoint(d, lower, inverse, to_lower, to_matrix, column):
    """Derivative by a symmetric matrix from that by its Cholesky factor (Murray 2016, arXiv:1602.07527, eq. 8)."""
    # P = tril(C' C_bar) with half its diagonal, made symmetric.
    for x in range(d):
        for y in range(x + 1):
            value = 0.0
            for inner in range(x, d):
                value += lower[inner, x] * to_lower[inner, y]
            value *= 0.5
            to_matrix[x, y] = value
            to_matrix[y, x] = value
    # C^-T P C^-1, column by column and then row by row.
    for y in range(d):
        for x in range(d):
            column[x] = to_matrix[x, y]
        _solve_upper(d, lower, inverse, column)
        for x in range(d):
            to_matrix[x, y] = column[x]
    for x in range(d):
        for y in range(d):
            column[y] = to_matrix[x, y]
        _solve_upper(d, lower, inverse, column)
        for y in range(d):
            to_matrix[x, y] = column[y]
