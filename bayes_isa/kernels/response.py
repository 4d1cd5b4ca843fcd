"""Response coordinates of individual parameters.

The posterior of one patient's (M0, KL, KD, R, EC50) is a narrow curved valley, since data fix the net response and
hardly its parts. psi = (a, D, v, log R, log EC50) follows the valley: with ta <= tb two of the patient's assessment
days and

    Jt(x) = [E(Cbar) + k Cdbar] (1 - exp(-R x)) / R,   g = KL tb,   q = KD Jt(tb),

D = g - q is the net log change up to tb, v = log g + log q what the data hardly fix, a = log M0 + KL ta - KD Jt(ta) the
log level at ta.

Where a patient's data do not fix the net change (followed for days, or below the LLOQ to the end) that valley does not
exist, but often a wall: growth must not outrun kill. There psi = (log M0, v, log R, log EC50, log g - log q)
(`open`) is straighter: linear in phi but for Jt, with the wall across its last axis.

The map need not match the data to be right: it is a smooth bijection with known Jacobian at any parameters.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from bayes_isa.kernels.elementary import ENTRY, FASTMATH

# Keeps the mean effect positive for a patient without any drug in the window; the map stays one-to-one.
_LEAST_EFFECT = 1e-3
# Decay over an interval below which differences of exponentials lose more digits than a series of two terms.
_SLOW = 1e-5


class Window(NamedTuple):
    """Reference days and mean exposures of each patient; `saturation` 1 for Emax, 0 for linear."""

    ta: np.ndarray  # (n_patients,), one of the edges
    tb: np.ndarray  # (n_patients,), the last edge
    edge: np.ndarray  # (n_patients, n_intervals + 1) days from 0 to tb
    effect: np.ndarray  # (n_patients, n_intervals, n_samples) concentrations spread over each interval, mg/L
    dexamethasone: np.ndarray  # (n_patients, n_intervals) mean, umol/L
    open: np.ndarray  # (n_patients,) of bool: data do not fix the net change
    saturation: float

    def of(self, patients: np.ndarray) -> Window:
        """That of some patients."""
        few: dict[str, Any] = {name: getattr(self, name)[patients] for name in _BY_PATIENT}
        return self._replace(**few)

    def with_those(self, patients: np.ndarray, others: Window) -> Window:
        """With others for some patients."""
        changed: dict[str, Any] = {name: getattr(self, name).copy() for name in _BY_PATIENT}
        for name, array in changed.items():
            array[patients] = getattr(others, name)
        return self._replace(**changed)


_BY_PATIENT = tuple(name for name in Window._fields if name != "saturation")


class _Integral(NamedTuple):
    """Jt at one reference day, and its derivatives by log R, log EC50 and k."""

    value: float
    by_r: float
    by_ec50: float
    by_k: float


N_INTEGRALS = 8  # numbers that `phi_from_psi` leaves for `phi_by_psi`: those of ta and of tb


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
        # (exp(-R t) - exp(-R t')) / R, by its series where that cancels
        width = end - start
        slow = r * width < _SLOW
        span = left * width * (1.0 - 0.5 * r * width) if slow else (left - left_end) / r
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
def _keep(at_a, at_b, integrals):
    integrals[0], integrals[1], integrals[2], integrals[3] = at_a.value, at_a.by_r, at_a.by_ec50, at_a.by_k
    integrals[4], integrals[5], integrals[6], integrals[7] = at_b.value, at_b.by_r, at_b.by_ec50, at_b.by_k


@njit(inline="always", error_model="numpy")
def _kept(integrals):
    return (
        _Integral(integrals[0], integrals[1], integrals[2], integrals[3]),
        _Integral(integrals[4], integrals[5], integrals[6], integrals[7]),
    )


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


@njit(inline="always", error_model="numpy")
def _phi_from_open(window, i, psi, k, phi, integrals):
    ec50 = math.exp(psi[3]) if psi.size == 5 else 0.0
    at_a, at_b = _kill_integrals(window, i, math.exp(psi[2]), ec50, k)
    _keep(at_a, at_b, integrals)
    phi[0] = psi[0]
    phi[1] = 0.5 * (psi[1] + psi[-1]) - math.log(window.tb[i])
    phi[2] = 0.5 * (psi[1] - psi[-1]) - math.log(at_b.value)
    for x in range(3, psi.size):
        phi[x] = psi[x - 1]
    return -math.log(2.0)


@njit(inline="always", error_model="numpy")
def _phi_by_open(psi, integrals, by_psi, by_k):
    d = psi.size
    _, at_b = _kept(integrals)
    by_psi[0, 0] = 1.0
    by_psi[1, 1] = 0.5
    by_psi[1, d - 1] = 0.5
    by_psi[2, 1] = 0.5
    by_psi[2, d - 1] = -0.5
    by_psi[2, 2] = -at_b.by_r / at_b.value
    by_psi[3, 2] = 1.0
    if d == 5:
        by_psi[2, 3] = -at_b.by_ec50 / at_b.value
        by_psi[4, 3] = 1.0
    by_k[2] = -at_b.by_k / at_b.value


@njit(nogil=True, cache=True, **ENTRY)
def phi_from_psi(
    window: Window, i: int, psi: np.ndarray, k: float, phi: np.ndarray, integrals: np.ndarray
) -> float:
    """Fill `phi` (d,) of patient i, and `integrals` (N_INTEGRALS,) for `phi_by_psi`; returns log |d phi / d psi|."""
    if window.open[i]:
        return _phi_from_open(window, i, psi, k, phi, integrals)
    growth, kill, total = _split(psi[1], psi[2])
    r = math.exp(psi[3])
    ec50 = math.exp(psi[4]) if psi.size == 5 else 0.0
    at_a, at_b = _kill_integrals(window, i, r, ec50, k)
    _keep(at_a, at_b, integrals)
    phi[0] = psi[0] - growth * window.ta[i] / window.tb[i] + kill * at_a.value / at_b.value
    phi[1] = math.log(growth) - math.log(window.tb[i])
    phi[2] = math.log(kill) - math.log(at_b.value)
    phi[3] = psi[3]
    if psi.size == 5:
        phi[4] = psi[4]
    return -math.log(total)


@njit(nogil=True, cache=True, **ENTRY)
def psi_from_phi(window: Window, i: int, phi: np.ndarray, k: float, psi: np.ndarray) -> None:
    """Inverse of `phi_from_psi`."""
    r = math.exp(phi[3])
    ec50 = math.exp(phi[4]) if phi.size == 5 else 0.0
    at_a, at_b = _kill_integrals(window, i, r, ec50, k)
    log_growth = phi[1] + math.log(window.tb[i])
    log_kill = phi[2] + math.log(at_b.value)
    if window.open[i]:
        psi[0] = phi[0]
        psi[1] = log_growth + log_kill
        for x in range(3, phi.size):
            psi[x - 1] = phi[x]
        psi[-1] = log_growth - log_kill
        return
    growth, kill = math.exp(log_growth), math.exp(log_kill)
    psi[0] = phi[0] + growth * window.ta[i] / window.tb[i] - kill * at_a.value / at_b.value
    psi[1] = growth - kill
    psi[2] = log_growth + log_kill
    psi[3] = phi[3]
    if phi.size == 5:
        psi[4] = phi[4]


@njit(nogil=True, cache=True, **ENTRY)
def phi_by_psi(
    window: Window,
    i: int,
    psi: np.ndarray,
    integrals: np.ndarray,
    by_psi: np.ndarray,
    by_k: np.ndarray,
    log_jacobian: np.ndarray,
) -> None:
    """Fill d phi / d psi (d, d), d phi / d k (d,) and d log|d phi / d psi| / d psi (d,); first `phi_from_psi`."""
    by_psi[:] = 0.0
    by_k[:] = 0.0
    log_jacobian[:] = 0.0
    if window.open[i]:
        _phi_by_open(psi, integrals, by_psi, by_k)
        return
    growth, kill, total = _split(psi[1], psi[2])
    at_a, at_b = _kept(integrals)
    share = window.ta[i] / window.tb[i]
    ratio = at_a.value / at_b.value
    by_psi[0, 0] = 1.0
    by_psi[0, 1] = -share * growth / total - ratio * kill / total
    by_psi[0, 2] = (ratio - share) * growth * kill / total
    by_psi[0, 3] = kill * (at_a.by_r - ratio * at_b.by_r) / at_b.value
    by_psi[1, 1] = 1.0 / total
    by_psi[1, 2] = kill / total
    by_psi[2, 1] = -1.0 / total
    by_psi[2, 2] = growth / total
    by_psi[2, 3] = -at_b.by_r / at_b.value
    by_psi[3, 3] = 1.0
    if psi.size == 5:
        by_psi[0, 4] = kill * (at_a.by_ec50 - ratio * at_b.by_ec50) / at_b.value
        by_psi[2, 4] = -at_b.by_ec50 / at_b.value
        by_psi[4, 4] = 1.0
    by_k[0] = kill * (at_a.by_k - ratio * at_b.by_k) / at_b.value
    by_k[2] = -at_b.by_k / at_b.value
    log_jacobian[1] = -psi[1] / (total * total)
    log_jacobian[2] = -2.0 * growth * kill / (total * total)
