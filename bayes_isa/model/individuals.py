"""Each patient's own log-density, all patients at once, with its gradient: what modes and whitenings are found from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bayes_isa.kernels.residual import Residual
from bayes_isa.kernels.response import Window
from bayes_isa.kernels.trajectory import EVENT_PARTIALS, MARKER_PARTIALS, pull_back
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.patient_terms import by_patient, kernel_parameters, record_terms, residual_of
from bayes_isa.model.population import Population
from bayes_isa.model.windows import map_all


@dataclass(frozen=True)
class Likelihood:
    """Log-likelihood by patient with its derivatives; -inf where a curve overflows."""

    marker: np.ndarray  # (n_patients,) all measurements of a patient
    event: np.ndarray  # (n_patients,) the PFS time
    by_phi: np.ndarray  # (n_patients, d)
    by_lp: np.ndarray  # (n_patients,)
    by_shared: dict[str, np.ndarray]  # each (n_patients,)


def likelihood(data: JointData, population: Population, phi: np.ndarray) -> Likelihood:
    n_patients = phi.shape[0]
    one = {**population.shared, "phi": phi, "beta_hazard": population.effects["hazard"]}
    records = record_terms(data, kernel_parameters(data, one), residual_of(one))
    terms, event = records.terms, data.event.astype(float)
    individual = np.empty((n_patients, 6))
    pull_back(
        data.panels.design,
        np.ascontiguousarray(records.by_marker[:, 0]),
        np.full(n_patients, -1.0),
        event,
        terms.by_marker,
        terms.by_cumulative,
        terms.by_log_event,
        individual,
        np.empty(4),
    )
    from_event = event[:, None] * terms.by_log_event - terms.by_cumulative
    by_shared = {name: from_event[:, EVENT_PARTIALS.index(name)] for name in ("k", "beta_link", "Te", "s")}
    by_k = records.by_marker[:, 0] * terms.by_marker[:, MARKER_PARTIALS.index("k")]
    by_shared["k"] = by_shared["k"] + by_patient(data, by_k)
    for column, name in enumerate(Residual._fields, start=1):
        by_shared[name] = by_patient(data, records.by_marker[:, column])
    return Likelihood(
        records.marker_by_patient(data),
        records.finite_event,
        individual[:, : phi.shape[1]],
        individual[:, 5],
        by_shared,
    )


Density = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def log_density(data: JointData, window: Window, population: Population, power: float = 1.0) -> Density:
    """Of psi (n_patients, d): `density_of_phi` and log Jacobian, up to a constant; with gradient."""

    def density(psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mapped = map_all(window, psi, population.k)
        value, by_phi = density_of_phi(data, population, mapped.phi, power)
        gradient = np.einsum("nji,nj->ni", mapped.by_psi, by_phi) + mapped.log_jacobian_by_psi
        return value + mapped.log_jacobian, gradient

    return density


def density_of_phi(
    data: JointData, population: Population, phi: np.ndarray, power: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Log-density (n_patients,) of phi given the population, up to a constant, and its gradient (n_patients, d).

    The likelihood counts to the given power.
    """
    terms = likelihood(data, population, phi)
    distance = phi - population.mean
    if population.correlation is None:
        pull = population.omega**-2.0 * distance
    else:
        pull = np.einsum("ij,nj->ni", population.precision, distance)
    value = power * (terms.marker + terms.event) - 0.5 * np.sum(pull * distance, axis=1)
    return value, power * terms.by_phi - pull
