"""One step of the isatuximab equations: collocation at seven Radau points (Radau IIA, order 13, L-stable).

Why not an explicit method: where Michaelis-Menten elimination has emptied the plasma, C follows the
peripheral compartment slowly while its own rate Vm/Km is 1-10 per hour, so that an explicit method takes
thousands of steps a patient for stability alone. Collocation steps over that phase, and its solution *is* a
polynomial of degree 7 on the step: dense output comes for free and its last Legendre coefficients tell how
well it resolves C.

On a step of length h with nodes x_j, stage values C_j and P_j, C(x) the polynomial
through (0, C_0) and the (x_j, C_j):

    A^-1 (C - C_0)/h = inflow - (k_lin(t_j) + k12) C - Vm C/(Km + C) + k12 P        nonlinear, by Newton
    A^-1 (P - P_0)/h = k21 (C - P)      linear:  P = P_0 (1 - z G 1) + z G C,  z = h k21,  G = (I + z A)^-1 A

so that Newton works on the seven C_j alone and only the diagonal of its matrix changes between iterations.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.polynomial import legendre

N_STAGES = 7
N_COEFFICIENTS = N_STAGES + 1
_MAX_NEWTON = 15


def _radau_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Nodes on [0, 1], the integrals A of the Lagrange basis up to each, A^-1, and values -> Legendre."""
    polynomial = [0.0] * (N_STAGES - 1) + [1.0, -1.0]  # P_6 - P_7
    nodes = np.sort(legendre.legroots(polynomial).real)
    nodes -= legendre.legval(nodes, polynomial) / legendre.legval(nodes, legendre.legder(polynomial))
    nodes[-1] = 1.0
    basis = np.linalg.inv(legendre.legvander(nodes, N_STAGES - 1))  # column j: Legendre series of l_j
    integrals = legendre.legval(nodes, legendre.legint(basis, lbnd=-1.0)).T / 2.0
    to_legendre = np.linalg.inv(legendre.legvander(np.concatenate([[-1.0], nodes]), N_STAGES))
    return (
        (nodes + 1.0) / 2.0,
        np.ascontiguousarray(integrals),
        np.linalg.inv(integrals),
        np.ascontiguousarray(to_legendre),
    )


_X, _A, _A_INV, _TO_LEGENDRE = _radau_tables()
_A_INV_ONE = _A_INV.sum(axis=1)


@njit(cache=True, nogil=True, error_model="numpy")
def linear_rate(t, theta):
    """CLlin(t)/Vc in 1/h at hour `t` since the first dose."""
    k_inf, clm, kcl, g = theta[0], theta[1], theta[2], theta[3]
    # t^g/(KCL^g + t^g) in a form that neither overflows nor loses digits
    sigmoid = 1.0 / (1.0 + math.exp(g * math.log(kcl / t))) if t > 0.0 else 0.0
    return k_inf * math.exp(clm * (1.0 - sigmoid))


class Scratch(NamedTuple):
    """Memory of a step, made once: `Scratch(*scratch_arrays())`."""

    stages: np.ndarray  # (4, 7): C, P, forcing, diagonal
    base: np.ndarray  # (7, 7)
    system: np.ndarray  # (7, 8): a matrix and its right-hand side
    coupling: np.ndarray  # (7, 14): I + z A and A, then 1 and G


@njit(cache=True, nogil=True, error_model="numpy")
def scratch_arrays():
    """Arrays for a `Scratch`."""
    return (
        np.empty((4, N_STAGES)),
        np.empty((N_STAGES, N_STAGES)),
        np.empty((N_STAGES, N_STAGES + 1)),
        np.empty((N_STAGES, 2 * N_STAGES)),
    )


# Both eliminations go without pivoting: Radau IIA is algebraically stable and compartments only lose drug, so
# that every matrix here, with rows weighted as in the quadrature, has a positive definite symmetric part.


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(system, x):
    """Gaussian elimination of the augmented `system` (7, 8), which is spent; the solution goes to `x`."""
    for i in range(N_STAGES):
        inverse = 1.0 / system[i, i]
        system[i, i] = inverse
        for r in range(i + 1, N_STAGES):
            factor = system[r, i] * inverse
            for j in range(i + 1, N_STAGES + 1):
                system[r, j] -= factor * system[i, j]
    for i in range(N_STAGES - 1, -1, -1):
        total = system[i, N_STAGES]
        for r in range(i + 1, N_STAGES):
            total -= system[i, r] * x[r]
        x[i] = total * system[i, i]


@njit(cache=True, nogil=True, error_model="numpy")
def _couple(z, coupling):
    """Gauss-Jordan elimination of [I + z A | A] in `coupling` (7, 14), whose right half becomes G."""
    for i in range(N_STAGES):
        for j in range(N_STAGES):
            coupling[i, j] = z * _A[i, j]
            coupling[i, j + N_STAGES] = _A[i, j]
        coupling[i, i] += 1.0
    for i in range(N_STAGES):
        inverse = 1.0 / coupling[i, i]
        for j in range(2 * N_STAGES):
            coupling[i, j] *= inverse
        for r in range(N_STAGES):
            if r != i:
                factor = coupling[r, i]
                for j in range(2 * N_STAGES):
                    coupling[r, j] -= factor * coupling[i, j]


@njit(cache=True, nogil=True, error_model="numpy")
def attempt_step(t, h, c0, p0, inflow, theta, rtol, atol, scratch, out):
    """Try a step of `h` hours from (t, C0, P0) and write the Legendre series of C to `out` (8,).

    Returns C and P at the end and the error over the tolerance: up to 1 is good, infinite if Newton fails.
    """
    k12, k21, vm, km = theta[4], theta[5], theta[6], theta[7]
    c, p, forcing, diagonal = scratch.stages
    g = scratch.coupling[:, N_STAGES:]
    z = h * k21
    _couple(z, scratch.coupling)
    for i in range(N_STAGES):
        row = 0.0
        for j in range(N_STAGES):
            row += g[i, j]
            scratch.base[i, j] = _A_INV[i, j] / h - k12 * z * g[i, j]
        p[i] = p0 * (1.0 - z * row)
        forcing[i] = inflow + _A_INV_ONE[i] * c0 / h + k12 * p[i]
        diagonal[i] = linear_rate(t + _X[i] * h, theta) + k12
        c[i] = c0

    if not _newton(c, scratch.base, diagonal, forcing, vm, km, rtol, atol, scratch.system):
        return c0, p0, math.inf
    for i in range(N_STAGES):
        for j in range(N_STAGES):
            p[i] += z * g[i, j] * c[j]
    return c[-1], p[-1], _resolution(c0, p0, c, p, rtol, atol, out)


@njit(cache=True, nogil=True, error_model="numpy")
def _newton(c, base, diagonal, forcing, vm, km, rtol, atol, system):
    """Solve (base + diag) C + Vm C/(Km + C) = forcing for the stage values, from the guess in `c`."""
    step = np.empty(N_STAGES)
    for _ in range(_MAX_NEWTON):
        for i in range(N_STAGES):
            inverse = 1.0 / (km + c[i])
            residual = forcing[i] - (diagonal[i] + vm * inverse) * c[i]
            for j in range(N_STAGES):
                residual -= base[i, j] * c[j]
                system[i, j] = base[i, j]
            system[i, i] += diagonal[i] + vm * km * inverse * inverse
            system[i, N_STAGES] = residual
        _solve(system, step)
        error = 0.0
        for i in range(N_STAGES):
            value = c[i] + step[i]
            if not math.isfinite(value):
                return False
            # a guess that leaves the domain of the equation restarts at its border
            value = value if value > -0.5 * km else 0.0
            change = abs(value - c[i])
            # what is left after a step of Newton: its square over Km + C, the scale of the curvature
            left = change * min(1.0, change / (km + min(c[i], value)))
            error = max(error, left / (atol + rtol * abs(value)))
            c[i] = value
        if error < 0.01:
            return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def _resolution(c0, p0, c, p, rtol, atol, out):
    """Write the Legendre series of C to `out`; return its tail, or that of P, over the tolerance."""
    smallest = abs(c0)
    largest = abs(p0)
    for j in range(N_STAGES):
        smallest = min(smallest, abs(c[j]))
        largest = max(largest, abs(p[j]))
    for i in range(N_COEFFICIENTS):
        total = _TO_LEGENDRE[i, 0] * c0
        for j in range(N_STAGES):
            total += _TO_LEGENDRE[i, j + 1] * c[j]
        out[i] = total
    last = _TO_LEGENDRE[N_STAGES, 0] * p0
    for j in range(N_STAGES):
        last += _TO_LEGENDRE[N_STAGES, j + 1] * p[j]
    tail = max(abs(out[N_STAGES]), 0.1 * abs(out[N_STAGES - 1]))
    return max(tail / (atol + rtol * smallest), abs(last) / (atol + rtol * largest))


@njit(cache=True, nogil=True, error_model="numpy")
def evaluate_series(a, x):
    """The Legendre series `a` (8,) at fraction `x` in [0, 1] of a step (Clenshaw)."""
    s = 2.0 * x - 1.0
    b1 = 0.0
    b2 = 0.0
    for n in range(N_STAGES, 0, -1):
        b1, b2 = a[n] + (2.0 * n + 1.0) / (n + 1.0) * s * b1 - (n + 1.0) / (n + 2.0) * b2, b1
    return a[0] + s * b1 - 0.5 * b2
