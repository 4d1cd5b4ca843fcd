"""The kernel's verbs with their buffers allocated: trajectory terms, whole curves, and event times by inversion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from bayes_isa.kernels.design import Design, nodes_of
from bayes_isa.kernels.hazard import Shape
from bayes_isa.kernels.panels import Panels
from bayes_isa.kernels.path import NOTHING_KNOWN, path
from bayes_isa.kernels.quadrature import ORDERS, gauss_legendre
from bayes_isa.kernels.residual import Residual, measurement_term
from bayes_isa.kernels.strips import LANES
from bayes_isa.kernels.timeline import GRADING, panel_day
from bayes_isa.kernels.trajectory import EVENT_PARTIALS, MARKER_PARTIALS, trajectory

_AFTER_START = np.nextafter(
    -1.0, 0.0
)  # the earliest place that is not the panel's start: 1e-66 of it, on the first
# Cumulative hazard of one panel above which it is not taken for a polynomial: nobody survives it, and of what it adds
# up to the first part alone matters.
_EXPLOSION = 100.0


@dataclass(frozen=True)
class Parameters:
    """One parameter set: `phi` (n_patients, 5) logs of M0 (g/L), KL, KD, R (1/day), EC50 (mg/L); k L/umol, Te days."""

    phi: np.ndarray
    k: float
    hazard_lp: np.ndarray  # (n_patients,) covariate part of the log hazard
    beta_link: float
    te: float
    s: float

    def as_arguments(self) -> tuple[np.ndarray, float, np.ndarray, float, float, float]:
        """In the order of the kernel's signature, in the types it was compiled for."""
        return (
            np.ascontiguousarray(self.phi, dtype=float),
            float(self.k),
            np.ascontiguousarray(self.hazard_lp, dtype=float),
            float(self.beta_link),
            float(self.te),
            float(self.s),
        )


@dataclass(frozen=True)
class Terms:
    """Outputs of the fused kernel and their derivatives; see `trajectory`."""

    log_m: np.ndarray
    cumulative_hazard: np.ndarray
    log_event: np.ndarray
    by_marker: np.ndarray
    by_cumulative: np.ndarray
    by_log_event: np.ndarray


@dataclass(frozen=True)
class Curves:
    """J and cumulative hazard at panel ends, hazard (1/day) at nodes; see `path`."""

    integral_end: np.ndarray
    hazard_end: np.ndarray
    node_hazard: np.ndarray


def empty_terms(n_measurements: int, n_patients: int) -> Terms:
    """Buffers for `trajectory`."""
    return Terms(
        np.empty(n_measurements),
        np.empty(n_patients),
        np.empty(n_patients),
        np.empty((n_measurements, len(MARKER_PARTIALS))),
        np.empty((n_patients, len(EVENT_PARTIALS))),
        np.empty((n_patients, len(EVENT_PARTIALS))),
    )


def evaluate_terms(panels: Panels, shape: Shape, parameters: Parameters) -> Terms:
    """log M at measurements, cumulative hazard and log of the event's part, with derivatives."""
    design = panels.design
    terms = empty_terms(design.measurement_day.size, design.event_day.size)
    trajectory(
        design,
        shape,
        *parameters.as_arguments(),
        terms.log_m,
        terms.cumulative_hazard,
        terms.log_event,
        terms.by_marker,
        terms.by_cumulative,
        terms.by_log_event,
    )
    return terms


def evaluate_curves(panels: Panels, shape: Shape, parameters: Parameters) -> Curves:
    """The whole curve of every patient at panel ends and nodes."""
    design = panels.design
    n_panels = int(design.panel_offset[-1])
    curves = Curves(np.empty(n_panels), np.empty(n_panels), np.empty(design.node_day.size))
    path(
        design,
        shape,
        *parameters.as_arguments(),
        NOTHING_KNOWN,
        curves.integral_end,
        curves.hazard_end,
        curves.node_hazard,
    )
    return curves


def log_m_at_measurements(panels: Panels, curves: Curves, parameters: Parameters) -> np.ndarray:
    """log M (g/L) at the design's measurement days, from whole curves."""
    design = panels.design
    patient = np.repeat(np.arange(design.event_day.size), np.diff(design.measurement_offset))
    before = design.measurement_panel == 0
    at = np.where(before, 0, design.panel_offset[patient] + design.measurement_panel - 1)
    integral = np.where(before, 0.0, curves.integral_end[at])
    log_m0, kl, kd = parameters.phi[:, 0], np.exp(parameters.phi[:, 1]), np.exp(parameters.phi[:, 2])
    return log_m0[patient] + kl[patient] * design.measurement_day - kd[patient] * integral


@njit(nogil=True, cache=True, error_model="numpy")
def measurement_terms(
    log_m: np.ndarray,
    value: np.ndarray,
    below: np.ndarray,
    residual: Residual,
    term: np.ndarray,
    partial: np.ndarray,
) -> None:
    """`measurement_term` for each row; `partial` (n_measurements, 4): by log M and the fields of `Residual`."""
    for j in range(log_m.size):
        term[j], partial[j, 0], partial[j, 1], partial[j, 2], partial[j, 3] = measurement_term(
            log_m[j], value[j], below[j], residual.sigma_add, residual.sigma_prop, residual.nu
        )


def event_times(panels: Panels, curves: Curves, target: np.ndarray) -> np.ndarray:
    """Day at which each patient's cumulative hazard reaches `target` (n_patients,), inf where not before the end.

    With target = -log(U), U uniform, these are draws of progression-free survival, given survival to a late entry.
    """
    panel, x = np.empty(target.size, dtype=np.int64), np.empty(target.size)
    invert(panels.design, curves.hazard_end, curves.node_hazard, target, panel, x)
    reached = panel >= 0
    day = np.where(target >= 0.0, np.inf, np.nan)
    day[reached] = panel_day(
        panels.panel_start[panel[reached]], panels.panel_end[panel[reached]], x[reached]
    )[0]
    return day


@njit(nogil=True, cache=True, error_model="numpy")
def invert(
    design: Design,
    hazard_end: np.ndarray,
    node_hazard: np.ndarray,
    target: np.ndarray,
    panel: np.ndarray,
    x: np.ndarray,
) -> None:
    """The panel, -1 for none, and the place x in it where each patient's cumulative hazard reaches its target."""
    coefficient = np.empty(ORDERS[0])
    for i in range(target.size):
        first = design.panel_offset[i]
        used = design.hazard_panels[i]
        p = np.searchsorted(hazard_end[first : first + used], target[i])
        if p == used or not target[i] >= 0.0:
            panel[i] = -1
            continue
        panel[i] = first + p
        before = hazard_end[first + p - 1] if p > 0 else 0.0
        node, order = nodes_of(design.strips[i], design.place[first + p])
        node += design.node_offset[i]
        if hazard_end[first + p] - before > _EXPLOSION:
            x[i] = _place_in_explosion(order, node, p == 0, design.node_day, node_hazard, target[i] - before)
            if x[i] >= -1.0:
                continue
        _legendre_coefficients(order, node_hazard, design.node_weight, node, coefficient)
        low, high = -1.0, 1.0
        # Bisection to full precision of a double: the interpolated hazard may touch 0 where Newton would fail.
        for _ in range(53):
            middle = 0.5 * (low + high)
            if _legendre_integral(coefficient, middle) < target[i] - before:
                low = middle
            else:
                high = middle
        x[i] = 0.5 * (low + high)


# Nodes x in (-1, 1) of each of ORDERS, a row each.
_NODES = np.zeros((len(ORDERS), ORDERS[0]))
for _row, _order in enumerate(ORDERS):
    _NODES[_row, :_order] = gauss_legendre(_order).node


@njit(inline="always")
def _row_of(order):
    row = 0
    while ORDERS[row] != order:
        row += 1
    return row


@njit(error_model="numpy")
def _place_in_explosion(order, first, graded, day, hazard, target):
    """Place x in a panel at which the hazard cumulated from its start is `target`; NaN if not before the last node.

    The hazard is taken for a power of time from node to node. Where it rises by orders of magnitude within the panel, a
    polynomial through all nodes is off by more than the target.
    """
    row = _row_of(order)
    u_1, u_2 = 0.5 * (1.0 + _NODES[row, 0]), 0.5 * (1.0 + _NODES[row, 1])
    slope = (day[first + LANES] - day[first]) / (u_2 - u_1)
    start = 0.0 if graded else day[first] - slope * u_1
    reached = 0.0
    for a in range(order - 1):
        t, h = day[first + LANES * a], hazard[first + LANES * a]
        following, h_following = day[first + LANES * (a + 1)], hazard[first + LANES * (a + 1)]
        if not (0.0 < h < np.inf and 0.0 < h_following < np.inf):
            return np.nan
        power = 1.0 + math.log(h_following / h) / math.log(following / t)
        if a == 0:
            if power <= 0.0:
                return np.nan
            reached = h * t * (1.0 - (start / t) ** power) / power
        # a power that is 0 to within rounding would be a logarithm
        power = power if abs(power) > 1e-9 else 1e-9
        gained = h * t * math.expm1(power * math.log(following / t)) / power
        if target <= reached + gained:
            found = t * math.exp(math.log1p(power * (target - reached) / (h * t)) / power)
            u = u_1 * (found / day[first]) ** (1.0 / GRADING) if graded else (found - start) / slope
            return max(2.0 * u - 1.0, _AFTER_START)
        reached += gained
    return np.nan


@njit(error_model="numpy")
def _legendre_coefficients(order, values, weights, first, coefficient):
    """Legendre expansion in x of values x dt/dx on a panel, from its nodes' values and quadrature weights.

    0 beyond what `order` nodes tell.
    """
    coefficient[:] = 0.0
    row = _row_of(order)
    for a in range(order):
        x = _NODES[row, a]
        scaled = weights[first + LANES * a] * values[first + LANES * a]
        previous, current = 0.0, 1.0
        for n in range(order):
            coefficient[n] += (n + 0.5) * scaled * current
            previous, current = current, ((2 * n + 1) * x * current - n * previous) / (n + 1)


@njit(error_model="numpy")
def _legendre_integral(coefficient, x):
    """Integral of a Legendre expansion from -1 to x: that of P_n is (P_(n+1) - P_(n-1)) / (2n + 1)."""
    total = coefficient[0] * (x + 1.0)
    previous, current = 1.0, x
    for n in range(1, coefficient.size):
        following = ((2 * n + 1) * x * current - n * previous) / (n + 1)
        total += coefficient[n] * (following - previous) / (2 * n + 1)
        previous, current = current, following
    return total
