"""Each patient's own log-density, all patients at once, with its gradient: what modes and whitenings are found from.

The log-likelihood of a patient's records, to a power, plus the log-density of phi in the population, up to a constant;
in psi with the log Jacobian. Compiled as a whole, so that threads share the work; `Given` holds all that it reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from bayes_isa.kernels.design import Design, of_patients, parts_of
from bayes_isa.kernels.hazard import Shape
from bayes_isa.kernels.residual import Residual, measurement_term
from bayes_isa.kernels.response import N_INTEGRALS, Window, phi_by_psi, phi_from_psi
from bayes_isa.kernels.threads import THREADS, even_parts, in_threads
from bayes_isa.kernels.trajectory import EVENT_PARTIALS, INDIVIDUAL, MARKER_PARTIALS, pull_back, trajectory
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.patient_terms import kernel_parameters, residual_of
from bayes_isa.model.population import Population

# Columns of `Room.by_shared`.
SHARED = ("k", "beta_link", "Te", "s", *Residual._fields)

# Log-density (n_patients,) at a point (n_patients, d), and its gradient.
DensityOfPsi = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Given(NamedTuple):
    """A trial's records, and all parameters but the individual ones."""

    design: Design
    shape: Shape
    value: np.ndarray  # (n_measurements,)
    below: np.ndarray
    event: np.ndarray  # (n_patients,) 0.0 or 1.0
    mean: np.ndarray  # (n_patients, d) of phi
    precision: np.ndarray  # (d, d) of random effects
    hazard_lp: np.ndarray  # (n_patients,)
    k: float
    beta_link: float
    te: float
    s: float
    residual: Residual
    power: float  # to which the likelihood counts


class Densities(NamedTuple):
    """Individual log-densities up to a constant, with gradients; first axes (set, n_patients)."""

    value: np.ndarray
    by_phi: np.ndarray  # (..., d)
    by_lp: np.ndarray  # of the likelihood alone by the hazard's covariate part,
    by_shared: np.ndarray  # and by SHARED, (..., 7)


class Room(NamedTuple):
    """What one evaluation leaves: the likelihood by patient with its derivatives, and what these are made of."""

    phi: np.ndarray  # (n_patients, 5) complete
    log_m: np.ndarray  # outputs of `trajectory`
    cumulative: np.ndarray
    log_event: np.ndarray
    by_marker: np.ndarray
    by_cumulative: np.ndarray
    by_log_event: np.ndarray
    to_log_m: np.ndarray  # derivatives of the likelihood by those
    to_cumulative: np.ndarray
    by_totals: np.ndarray  # (4,)
    marker: np.ndarray  # (n_patients,) all measurements of a patient; -inf where its curve overflows
    survival: np.ndarray  # (n_patients,) the PFS record; -inf where its hazard explodes
    by_individual: np.ndarray  # (n_patients, 6) by phi and by the hazard's covariate part
    by_shared: np.ndarray  # (n_patients, 7) by SHARED
    by_psi: np.ndarray  # (n_patients, d, d) derivatives of phi, and of its log Jacobian
    log_jacobian_by_psi: np.ndarray  # (n_patients, d)


@njit(inline="always")
def make_room(given: Given) -> Room:
    n, measurements, d = given.event.size, given.value.size, given.mean.shape[1]
    return Room(
        np.full((n, len(INDIVIDUAL)), -np.inf),  # constant exposure is the limit EC50 -> 0
        np.empty(measurements),
        np.empty(n),
        np.empty(n),
        np.empty((measurements, len(MARKER_PARTIALS))),
        np.empty((n, len(EVENT_PARTIALS))),
        np.empty((n, len(EVENT_PARTIALS))),
        np.zeros(measurements),
        np.full(n, -1.0),
        np.empty(4),
        np.empty(n),
        np.empty(n),
        np.empty((n, len(INDIVIDUAL) + 1)),
        np.empty((n, len(SHARED))),
        np.empty((n, d, d)),
        np.empty((n, d)),
    )


@njit(inline="always", error_model="numpy")
def _likelihood(given, phi, first, last, room):
    """Of patients first to last - 1 at phi (n_patients, d): fills their rows of `room`."""
    for i in range(phi.shape[0]):
        room.phi[i, 0] = math.nan  # passes over the others
    for i in range(first, last):
        for x in range(phi.shape[1]):
            room.phi[i, x] = phi[i, x]
    trajectory(
        given.design,
        given.shape,
        room.phi,
        given.k,
        given.hazard_lp,
        given.beta_link,
        given.te,
        given.s,
        room.log_m,
        room.cumulative,
        room.log_event,
        room.by_marker,
        room.by_cumulative,
        room.by_log_event,
    )
    residual = given.residual
    for i in range(first, last):
        by_shared = room.by_shared[i]
        if math.isnan(phi[i, 0]):
            room.marker[i], room.survival[i], by_shared[:] = math.nan, math.nan, math.nan
            continue
        total, by_k, by_add, by_prop, by_nu = 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(given.design.measurement_offset[i], given.design.measurement_offset[i + 1]):
            term, by_log_m, to_add, to_prop, to_nu = measurement_term(
                room.log_m[j],
                given.value[j],
                given.below[j],
                residual.sigma_add,
                residual.sigma_prop,
                residual.nu,
            )
            total += term
            room.to_log_m[j] = by_log_m
            by_k += by_log_m * room.by_marker[j, 5]
            by_add += to_add
            by_prop += to_prop
            by_nu += to_nu
        room.marker[i] = total if math.isfinite(total) else -math.inf
        event = given.event[i]
        survival = (room.log_event[i] if event > 0.0 else 0.0) - room.cumulative[i]
        room.survival[i] = survival if math.isfinite(survival) else -math.inf
        by_shared[0] = event * room.by_log_event[i, 5] - room.by_cumulative[i, 5] + by_k
        for c in range(3):
            by_shared[1 + c] = event * room.by_log_event[i, 7 + c] - room.by_cumulative[i, 7 + c]
        by_shared[4], by_shared[5], by_shared[6] = by_add, by_prop, by_nu
    pull_back(
        given.design,
        room.to_log_m,
        room.to_cumulative,
        given.event,
        room.by_marker,
        room.by_cumulative,
        room.by_log_event,
        room.by_individual,
        room.by_totals,
    )


@njit(inline="always", error_model="numpy")
def fill_by_phi(given, phi, first, last, room, value, by_phi):
    """Log-densities of patients first to last - 1 at phi (n_patients, d): fills their rows of value and by_phi."""
    _likelihood(given, phi, first, last, room)
    d = phi.shape[1]
    for i in range(first, last):
        square = 0.0
        for x in range(d):
            pull = 0.0
            for y in range(d):
                pull += given.precision[x, y] * (phi[i, y] - given.mean[i, y])
            square += pull * (phi[i, x] - given.mean[i, x])
            by_phi[i, x] = given.power * room.by_individual[i, x] - pull
        value[i] = given.power * (room.marker[i] + room.survival[i]) - 0.5 * square


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def fill_by_psi(given, window, psi, first, last, room, phi, of_phi, by_phi, value, by_psi):
    """Of patients first to last - 1 at psi: fills their rows of phi, `fill_by_phi` there, and the same for psi."""
    d = psi.shape[1]
    integrals, by_k = np.empty(N_INTEGRALS), np.empty(d)
    for i in range(first, last):
        value[i] = phi_from_psi(window, i, psi[i], given.k, phi[i], integrals)
        phi_by_psi(window, i, psi[i], integrals, room.by_psi[i], by_k, room.log_jacobian_by_psi[i])
    fill_by_phi(given, phi, first, last, room, of_phi, by_phi)
    for i in range(first, last):
        value[i] += of_phi[i]
        for x in range(d):
            by_psi[i, x] = room.log_jacobian_by_psi[i, x]
            for j in range(d):
                by_psi[i, x] += room.by_psi[i, j, x] * by_phi[i, j]


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_sets(given, phi, first, last, found):
    """`densities` of sets first to last - 1."""
    room, lp = make_room(given), len(INDIVIDUAL)
    for s in range(first, last):
        fill_by_phi(given, phi[s], 0, phi.shape[1], room, found.value[s], found.by_phi[s])
        for i in range(phi.shape[1]):
            found.by_lp[s, i] = room.by_individual[i, lp]
            for c in range(room.by_shared.shape[1]):
                found.by_shared[s, i, c] = room.by_shared[i, c]


def given_at(data: JointData, population: Population, power: float = 1.0) -> Given:
    """What the individual log-densities are of; the likelihood counts to the given power."""
    one = {**population.shared, "phi": population.mean, "beta_hazard": population.effects["hazard"]}
    parameters = kernel_parameters(data, one)
    return Given(
        data.panels.design,
        data.shape,
        data.value,
        data.below,
        data.event.astype(float),
        np.ascontiguousarray(population.mean),
        np.ascontiguousarray(population.precision),
        np.ascontiguousarray(parameters.hazard_lp, dtype=float),
        parameters.k,
        parameters.beta_link,
        parameters.te,
        parameters.s,
        Residual(*(float(value) for value in residual_of(one))),
        float(power),
    )


def densities(given: Given, phi: np.ndarray) -> Densities:
    """At sets of phi (set, n_patients, d). A patient whose phi begins with NaN is passed over: NaN."""
    phi = np.ascontiguousarray(phi)
    size = phi.shape[:2]
    found = Densities(np.empty(size), np.empty_like(phi), np.empty(size), np.empty((*size, len(SHARED))))
    in_threads(lambda first, last: _fill_sets(given, phi, first, last, found), even_parts(len(phi)))
    return found


@dataclass(frozen=True)
class DensityOfPhi:
    """Log-densities (set, n_patients) at sets of phi, with their gradients."""

    given: Given

    def __call__(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = densities(self.given, phi)
        return found.value, found.by_phi

    def of(self, patients: np.ndarray) -> DensityOfPhi:
        """Those of some patients."""
        given = self.given
        _, measurements = parts_of(given.design.measurement_offset, patients)
        few = given._replace(
            design=of_patients(given.design, patients),
            value=given.value[measurements],
            below=given.below[measurements],
            event=given.event[patients],
            mean=given.mean[patients],
            hazard_lp=given.hazard_lp[patients],
        )
        return DensityOfPhi(few)


def density_of_psi(given: Given, window: Window) -> DensityOfPsi:
    """The log-density (n_patients,) as a function of psi (n_patients, d), with its gradient."""
    parts = patient_parts(given)

    def density(psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        psi = np.ascontiguousarray(psi)
        phi, by_phi, by_psi = (np.empty_like(psi) for _ in range(3))
        of_phi, value = np.empty(len(psi)), np.empty(len(psi))

        def fill(first: int, last: int) -> None:
            room = make_room.py_func(given)
            fill_by_psi(given, window, psi, first, last, room, phi, of_phi, by_phi, value, by_psi)

        in_threads(fill, parts)
        return value, by_psi

    return density


def patient_parts(given: Given) -> np.ndarray:
    """Bounds of parts with about as many nodes each."""
    nodes = given.design.node_offset
    return np.searchsorted(nodes, np.linspace(0, nodes[-1], THREADS + 1))
