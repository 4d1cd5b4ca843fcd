"""Response coordinates of individual parameters, whitened by each patient's own curvature.

The posterior of one patient's (M0, KL, KD, R, EC50) is a narrow curved valley, since data fix the net response and
hardly its parts. psi = (a, D, v, log R, log EC50) follows the valley: with ta <= tb two of the patient's assessment
days and

    Jt(x) = [E(Cbar) + k Cdbar] (1 - exp(-R x)) / R,   g = KL tb,   q = KD Jt(tb),

D = g - q is the net log change up to tb, v = log g + log q what the data hardly fix, a = log M0 + KL ta - KD Jt(ta) the
log level at ta. Growth far above what the event time allows meets a wall: the hazard is exponential in a curve that
grows exponentially. Where a patient has one, the third coordinate x stands for
v = knee + asinh(bend (x - knee)) / bend above the knee (v = x below), which spreads the wall out; bend = 0 leaves it.

Then psi = L^-1 b + C^-T eps with C C' = L = H + A' W A and b = h + A' W (mean - c), W = diag(1 / omega^2): the Gaussian
that the patient's data (H, h: approximation of the log-likelihood in psi) and the population (phi ~ c + A psi,
linearised) together suggest. eps is what a sampler sees. The map need not match the data to be right: it is a smooth
bijection with known Jacobian at any parameters, and quality decides the speed alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from bayes_isa.kernels.elementary import FASTMATH

# Keeps the mean effect positive for a patient without any drug in the window; the map stays one-to-one.
_LEAST_EFFECT = 1e-3


class Window(NamedTuple):
    """Reference days and mean exposures of each patient; `saturation` 1 for Emax, 0 for linear."""

    ta: np.ndarray  # (n_patients,), one of the edges
    tb: np.ndarray  # (n_patients,), the last edge
    edge: np.ndarray  # (n_patients, n_intervals + 1) days from 0 to tb
    effect: np.ndarray  # (n_patients, n_intervals, n_samples) concentrations spread over each interval, mg/L
    dexamethasone: np.ndarray  # (n_patients, n_intervals) mean, umol/L
    knee: np.ndarray  # (n_patients,) v from which the third coordinate is stretched
    bend: np.ndarray  # (n_patients,) how strongly; 0 for not at all
    saturation: float


class Whitening(NamedTuple):
    """Constants of the whitening for each patient; d is 4 (constant exposure) or 5."""

    curvature: np.ndarray  # H (n_patients, d, d), positive semi-definite
    pull: np.ndarray  # h (n_patients, d)
    linear: np.ndarray  # A (n_patients, d, d)
    offset: np.ndarray  # c (n_patients, d)


class _Integral(NamedTuple):
    """Jt at one reference day, and its derivatives by log R, log EC50 and k."""

    value: float
    by_r: float
    by_ec50: float
    by_k: float


@njit(inline="always", error_model="numpy", fastmath=FASTMATH)
def _mean_effect(concentration, ec50, saturation):
    """Mean of E over concentrations, and its derivative by log EC50."""
    total = 0.0
    square = 0.0
    for x in range(concentration.size):
        effect = concentration[x] / (ec50 + saturation * concentration[x] + 1e-300)
        total += effect
        square += effect * effect
    return total / concentration.size, (saturation * square - total) / concentration.size


@njit(inline="always", error_model="numpy")
def _kill_integrals(window, i, r, ec50, k):
    """Jt at ta and at tb."""
    value, by_r, by_ec50, by_k = 0.0, 0.0, 0.0, 0.0
    at_a = _Integral(0.0, 0.0, 0.0, 0.0)
    start, left = window.edge[i, 0], 1.0
    for w in range(window.effect.shape[1]):
        end = window.edge[i, w + 1]
        left_end = math.exp(-r * end)
        # (exp(-R t) - exp(-R t')) / R without cancellation for small R
        span = -left * math.expm1(-r * (end - start)) / r
        effect, effect_by_ec50 = _mean_effect(window.effect[i, w], ec50, window.saturation)
        total = effect + k * window.dexamethasone[i, w] + _LEAST_EFFECT
        value += total * span
        by_r += total * (end * left_end - start * left - span)
        by_ec50 += effect_by_ec50 * span
        by_k += window.dexamethasone[i, w] * span
        start, left = end, left_end
        if end == window.ta[i]:
            at_a = _Integral(value, by_r, by_ec50, by_k)
    return at_a, _Integral(value, by_r, by_ec50, by_k)


@njit(inline="always", error_model="numpy")
def _split(difference, v):
    """Growth g, kill q > 0 with g - q = difference and g q = e^v, without cancellation; and g + q."""
    product = math.exp(v)
    total = math.sqrt(difference * difference + 4.0 * product)
    if difference >= 0.0:
        growth = 0.5 * (difference + total)
        return growth, product / growth, total
    kill = 0.5 * (total - difference)
    return product / kill, kill, total


class _Stretched(NamedTuple):
    """v at a coordinate x, its derivative, and the log of that with its own derivative."""

    v: float
    slope: float
    log_slope: float
    log_slope_slope: float


@njit(inline="always", error_model="numpy")
def _stretched(window, i, x):
    above = window.bend[i] * (x - window.knee[i])
    if above <= 0.0:
        return _Stretched(x, 1.0, 0.0, 0.0)
    square = 1.0 + above * above
    v = window.knee[i] + math.asinh(above) / window.bend[i]
    return _Stretched(v, 1.0 / math.sqrt(square), -0.5 * math.log(square), -window.bend[i] * above / square)


@njit(inline="always", error_model="numpy")
def _unstretched(window, i, v):
    above = window.bend[i] * (v - window.knee[i])
    return v if above <= 0.0 else window.knee[i] + math.sinh(above) / window.bend[i]


@njit(nogil=True, cache=True, error_model="numpy")
def phi_from_psi(window: Window, i: int, psi: np.ndarray, k: float, phi: np.ndarray) -> float:
    """Fill `phi` (d,) of patient i; returns log |d phi / d psi|."""
    stretched = _stretched(window, i, psi[2])
    growth, kill, total = _split(psi[1], stretched.v)
    r = math.exp(psi[3])
    ec50 = math.exp(psi[4]) if psi.size == 5 else 0.0
    at_a, at_b = _kill_integrals(window, i, r, ec50, k)
    phi[0] = psi[0] - growth * window.ta[i] / window.tb[i] + kill * at_a.value / at_b.value
    phi[1] = math.log(growth) - math.log(window.tb[i])
    phi[2] = math.log(kill) - math.log(at_b.value)
    phi[3] = psi[3]
    if psi.size == 5:
        phi[4] = psi[4]
    return stretched.log_slope - math.log(total)


@njit(nogil=True, cache=True, error_model="numpy")
def psi_from_phi(window: Window, i: int, phi: np.ndarray, k: float, psi: np.ndarray) -> None:
    """Inverse of `phi_from_psi`."""
    r = math.exp(phi[3])
    ec50 = math.exp(phi[4]) if phi.size == 5 else 0.0
    at_a, at_b = _kill_integrals(window, i, r, ec50, k)
    log_growth = phi[1] + math.log(window.tb[i])
    log_kill = phi[2] + math.log(at_b.value)
    growth, kill = math.exp(log_growth), math.exp(log_kill)
    psi[0] = phi[0] + growth * window.ta[i] / window.tb[i] - kill * at_a.value / at_b.value
    psi[1] = growth - kill
    psi[2] = _unstretched(window, i, log_growth + log_kill)
    psi[3] = phi[3]
    if phi.size == 5:
        psi[4] = phi[4]


@njit(nogil=True, cache=True, error_model="numpy")
def phi_by_psi(
    window: Window,
    i: int,
    psi: np.ndarray,
    k: float,
    by_psi: np.ndarray,
    by_k: np.ndarray,
    log_jacobian: np.ndarray,
) -> None:
    """Fill d phi / d psi (d, d), d phi / d k (d,) and d log|d phi / d psi| / d psi (d,)."""
    stretched = _stretched(window, i, psi[2])
    growth, kill, total = _split(psi[1], stretched.v)
    r = math.exp(psi[3])
    ec50 = math.exp(psi[4]) if psi.size == 5 else 0.0
    at_a, at_b = _kill_integrals(window, i, r, ec50, k)
    share = window.ta[i] / window.tb[i]
    ratio = at_a.value / at_b.value
    by_psi[:] = 0.0
    by_k[:] = 0.0
    log_jacobian[:] = 0.0
    by_psi[0, 0] = 1.0
    by_psi[0, 1] = -share * growth / total - ratio * kill / total
    by_psi[0, 2] = (ratio - share) * growth * kill / total * stretched.slope
    by_psi[0, 3] = kill * (at_a.by_r - ratio * at_b.by_r) / at_b.value
    by_psi[1, 1] = 1.0 / total
    by_psi[1, 2] = kill / total * stretched.slope
    by_psi[2, 1] = -1.0 / total
    by_psi[2, 2] = growth / total * stretched.slope
    by_psi[2, 3] = -at_b.by_r / at_b.value
    by_psi[3, 3] = 1.0
    if psi.size == 5:
        by_psi[0, 4] = kill * (at_a.by_ec50 - ratio * at_b.by_ec50) / at_b.value
        by_psi[2, 4] = -at_b.by_ec50 / at_b.value
        by_psi[4, 4] = 1.0
    by_k[0] = kill * (at_a.by_k - ratio * at_b.by_k) / at_b.value
    by_k[2] = -at_b.by_k / at_b.value
    log_jacobian[1] = -psi[1] / (total * total)
    log_jacobian[2] = -2.0 * growth * kill / (total * total) * stretched.slope + stretched.log_slope_slope


@njit(inline="always", error_model="numpy")
def _cholesky(matrix, lower):
    """Lower Cholesky factor of a small matrix; NaN in it where the matrix is not positive definite."""
    d = matrix.shape[0]
    for column in range(d):
        for row in range(column, d):
            value = matrix[row, column]
            for inner in range(column):
                value -= lower[row, inner] * lower[column, inner]
            if row == column:
                lower[row, row] = math.sqrt(value) if value > 0.0 else math.nan
            else:
                lower[row, column] = value / lower[column, column]


@njit(inline="always", error_model="numpy")
def _solve_lower(lower, vector):
    """lower^-1 vector, in place."""
    for row in range(vector.size):
        for inner in range(row):
            vector[row] -= lower[row, inner] * vector[inner]
        vector[row] /= lower[row, row]


@njit(inline="always", error_model="numpy")
def _solve_upper(lower, vector):
    """lower'^-1 vector, in place."""
    for row in range(vector.size - 1, -1, -1):
        for inner in range(row + 1, vector.size):
            vector[row] -= lower[inner, row] * vector[inner]
        vector[row] /= lower[row, row]


@njit(inline="always", error_model="numpy")
def _gaussian(whitening, i, mean, weight, lower, matrix, centre):
    """Factor C of the precision and the centre L^-1 b of patient i."""
    d = mean.size
    for x in range(d):
        centre[x] = whitening.pull[i, x]
        for y in range(x + 1):
            value = whitening.curvature[i, x, y]
            for j in range(d):
                value += weight[j] * whitening.linear[i, j, x] * whitening.linear[i, j, y]
            matrix[x, y] = value
            matrix[y, x] = value
    for j in range(d):
        distance = weight[j] * (mean[j] - whitening.offset[i, j])
        for x in range(d):
            centre[x] += whitening.linear[i, j, x] * distance
    _cholesky(matrix, lower)
    _solve_lower(lower, centre)
    _solve_upper(lower, centre)


@njit(nogil=True, cache=True, error_model="numpy")
def unwhiten(
    window: Window,
    whitening: Whitening,
    eps: np.ndarray,
    mean: np.ndarray,
    omega: np.ndarray,
    k: float,
    phi: np.ndarray,
    log_jacobian: np.ndarray,
) -> None:
    """Fill `phi` (n_patients, d) and log |d phi / d eps| (n_patients,) from `eps`; mean (n_patients, d), omega (d,)."""
    n, d = eps.shape
    lower, matrix = np.zeros((d, d)), np.empty((d, d))
    centre, psi, weight = np.empty(d), np.empty(d), np.empty(d)
    for x in range(d):
        weight[x] = 1.0 / (omega[x] * omega[x])
    for i in range(n):
        _gaussian(whitening, i, mean[i], weight, lower, matrix, centre)
        psi[:] = eps[i]
        _solve_upper(lower, psi)
        for x in range(d):
            psi[x] += centre[x]
        total = phi_from_psi(window, i, psi, k, phi[i])
        for x in range(d):
            total -= math.log(lower[x, x])
        log_jacobian[i] = total


@njit(nogil=True, cache=True, error_model="numpy")
def whiten(
    window: Window,
    whitening: Whitening,
    phi: np.ndarray,
    mean: np.ndarray,
    omega: np.ndarray,
    k: float,
    eps: np.ndarray,
) -> None:
    """Inverse of `unwhiten`."""
    n, d = phi.shape
    lower, matrix = np.zeros((d, d)), np.empty((d, d))
    centre, psi = np.empty(d), np.empty(d)
    weight = 1.0 / (omega * omega)
    for i in range(n):
        _gaussian(whitening, i, mean[i], weight, lower, matrix, centre)
        psi_from_phi(window, i, phi[i], k, psi)
        for x in range(d):
            value = 0.0
            for y in range(x, d):
                value += lower[y, x] * (psi[y] - centre[y])
            eps[i, x] = value


@njit(nogil=True, cache=True, error_model="numpy")
def unwhiten_pullback(  # noqa: C901 - one matrix product after another, each its own loop
    window: Window,
    whitening: Whitening,
    eps: np.ndarray,
    mean: np.ndarray,
    omega: np.ndarray,
    k: float,
    to_phi: np.ndarray,
    to_log_jacobian: np.ndarray,
    to_eps: np.ndarray,
    to_mean: np.ndarray,
    to_omega: np.ndarray,
) -> float:
    """Derivatives by `eps`, `mean`, `omega` (filled) and k (returned) from those by `phi` and the log Jacobian."""
    n, d = eps.shape
    lower, matrix = np.zeros((d, d)), np.empty((d, d))
    centre, step, psi, weight = np.empty(d), np.empty(d), np.empty(d), np.empty(d)
    by_psi, by_k, by_jacobian = np.empty((d, d)), np.empty(d), np.empty(d)
    to_psi, to_centre, to_weight = np.empty(d), np.empty(d), np.zeros(d)
    to_lower, to_matrix, column = np.empty((d, d)), np.empty((d, d)), np.empty(d)
    to_k = 0.0
    for x in range(d):
        weight[x] = 1.0 / (omega[x] * omega[x])
    for i in range(n):
        _gaussian(whitening, i, mean[i], weight, lower, matrix, centre)
        step[:] = eps[i]
        _solve_upper(lower, step)
        for x in range(d):
            psi[x] = centre[x] + step[x]
        phi_by_psi(window, i, psi, k, by_psi, by_k, by_jacobian)
        for x in range(d):
            value = to_log_jacobian[i] * by_jacobian[x]
            for j in range(d):
                value += by_psi[j, x] * to_phi[i, j]
            to_psi[x] = value
            to_k += by_k[x] * to_phi[i, x]
        # psi = centre + C^-T eps
        to_eps[i] = to_psi
        _solve_lower(lower, to_eps[i])
        to_centre[:] = to_eps[i]
        _solve_upper(lower, to_centre)
        for x in range(d):
            for y in range(d):
                to_lower[x, y] = -step[x] * to_eps[i, y] if y <= x else 0.0
            to_lower[x, x] -= to_log_jacobian[i] / lower[x, x]
        _cholesky_adjoint(lower, to_lower, to_matrix, column)
        # centre = L^-1 b
        for x in range(d):
            for y in range(d):
                to_matrix[x, y] -= 0.5 * (to_centre[x] * centre[y] + centre[x] * to_centre[y])
        # L = H + A' W A, b = h + A' W (mean - c)
        for j in range(d):
            along = 0.0
            quadratic = 0.0
            for x in range(d):
                along += whitening.linear[i, j, x] * to_centre[x]
                inner = 0.0
                for y in range(d):
                    inner += to_matrix[x, y] * whitening.linear[i, j, y]
                quadratic += whitening.linear[i, j, x] * inner
            to_mean[i, j] = weight[j] * along
            to_weight[j] += quadratic + along * (mean[i, j] - whitening.offset[i, j])
    for j in range(d):
        to_omega[j] = -2.0 * to_weight[j] * weight[j] / omega[j]
    return to_k


@njit(inline="always", error_model="numpy")
def _cholesky_adjoint(lower, to_lower, to_matrix, column):
    """Derivative by a symmetric matrix from that by its Cholesky factor (Murray 2016, arXiv:1602.07527, eq. 8)."""
    d = lower.shape[0]
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
        _solve_upper(lower, column)
        for x in range(d):
            to_matrix[x, y] = column[x]
    for x in range(d):
        for y in range(d):
            column[y] = to_matrix[x, y]
        _solve_upper(lower, column)
        for y in range(d):
            to_matrix[x, y] = column[y]
