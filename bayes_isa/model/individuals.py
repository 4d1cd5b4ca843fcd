"""Each patient's own log-density, all patients at once, with its gradient: what modes and whitenings are found from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bayes_isa.kernels.evaluate import Parameters, evaluate_terms, measurement_terms
from bayes_isa.kernels.response import Window
from bayes_isa.kernels.trajectory import EVENT_PARTIALS, MARKER_PARTIALS, pull_back
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.population import Population
from bayes_isa.model.windows import map_all


def kernel_parameters(data: JointData, population: Population, phi: np.ndarray) -> Parameters:
    complete = np.full((phi.shape[0], 5), -np.inf)
    complete[:, : phi.shape[1]] = phi
    return Parameters(
        phi=complete,
        k=population.k,
        hazard_lp=data.covariates["hazard"].to_numpy() @ population.effects["hazard"],
        beta_link=population.shared.get("beta_link", 0.0),
        te=population.shared["Te"],
        s=population.shared.get("s", 1.0),
    )


@dataclass(frozen=True)
class Likelihood:
    """Log-likelihood by patient with its derivatives; -inf where a curve overflows."""

    marker: np.ndarray  # (n_patients,) all measurements of a patient
    event: np.ndarray  # (n_patients,) the PFS time
    by_phi: np.ndarray  # (n_patients, d)
    by_lp: np.ndarray  # (n_patients,)
    by_shared: dict[str, np.ndarray]  # each (n_patients,)


def likelihood(data: JointData, population: Population, phi: np.ndarray) -> Likelihood:
    design = data.panels.design
    n_patients = phi.shape[0]
    terms = evaluate_terms(data.panels, data.shape, kernel_parameters(data, population, phi))
    term, partial = np.empty(data.value.size), np.empty((data.value.size, 3))
    shared = population.shared
    measurement_terms(
        terms.log_m, data.value, data.below, shared["sigma_add"], shared["sigma_prop"], term, partial
    )
    event = data.event.astype(float)
    individual = np.empty((n_patients, 6))
    pull_back(
        design,
        np.ascontiguousarray(partial[:, 0]),
        np.full(n_patients, -1.0),
        event,
        terms.by_marker,
        terms.by_cumulative,
        terms.by_log_hazard,
        individual,
        np.empty(4),
    )
    patient = np.repeat(np.arange(n_patients), np.diff(design.measurement_offset))

    def by_patient(rows: np.ndarray) -> np.ndarray:
        return np.bincount(patient, weights=rows, minlength=n_patients)

    marker = by_patient(term)
    from_pfs = np.where(data.event, terms.log_hazard, 0.0) - terms.cumulative_hazard
    from_event = event[:, None] * terms.by_log_hazard - terms.by_cumulative
    by_shared = {name: from_event[:, EVENT_PARTIALS.index(name)] for name in ("k", "beta_link", "Te", "s")}
    by_shared["k"] = by_shared["k"] + by_patient(
        partial[:, 0] * terms.by_marker[:, MARKER_PARTIALS.index("k")]
    )
    by_shared |= {"sigma_add": by_patient(partial[:, 1]), "sigma_prop": by_patient(partial[:, 2])}
    return Likelihood(
        np.where(np.isfinite(marker), marker, -np.inf),
        np.where(np.isfinite(from_pfs), from_pfs, -np.inf),
        individual[:, : phi.shape[1]],
        individual[:, 5],
        by_shared,
    )


Density = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def log_density(data: JointData, window: Window, population: Population) -> Density:
    """Of psi (n_patients, d): log-likelihood, population density and log Jacobian, up to a constant; with gradient."""

    def density(psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mapped = map_all(window, psi, population.k)
        value, by_phi = density_of_phi(data, population, mapped.phi)
        gradient = np.einsum("nji,nj->ni", mapped.by_psi, by_phi) + mapped.log_jacobian_by_psi
        return value + mapped.log_jacobian, gradient

    return density


def density_of_phi(data: JointData, population: Population, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-density (n_patients,) of phi given the population, up to a constant, and its gradient (n_patients, d)."""
    terms = likelihood(data, population, phi)
    weight = population.omega**-2.0
    distance = phi - population.mean
    value = terms.marker + terms.event - 0.5 * np.sum(weight * distance**2, axis=1)
    return value, terms.by_phi - weight * distance
