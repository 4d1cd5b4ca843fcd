"""What all patients share, given individual parameters: steps find the mode of its density."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_isa.kernels.trajectory import INDIVIDUAL
from bayes_isa.model.individuals import densities, given_at
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.patient_terms import kernel_parameters, record_terms, residual_of
from bayes_isa.model.population import Population, means
from bayes_isa.model.priors import load_priors
from bayes_isa.model.shared_update import SharedParameters, curvature_at, update_shared
from bayes_isa.model.spec import ModelSpec
from bayes_isa.simulation.virtual_trial import VirtualTrial, draw_virtual_trial


@pytest.fixture(scope="module")
def virtual() -> VirtualTrial:
    return draw_virtual_trial(40, seed=8)


@pytest.fixture(scope="module")
def data(virtual: VirtualTrial) -> JointData:
    return prepare(virtual.trial, ModelSpec(covariates={"hazard": ("plasmacytoma",)}), rough=True)


@pytest.fixture(scope="module")
def truth(virtual: VirtualTrial, data: JointData) -> Population:
    found = virtual.truth.parameters
    individual = data.spec.individual
    typical, omega = (
        np.array([found[f"{a}{name}{b}"] for name in individual]) for a, b in (("", "_pop"), ("omega_", ""))
    )
    effects = {target: np.zeros(matrix.sizes["covariate"]) for target, matrix in data.covariates.items()}
    shared = {name: found[name] for name in ("k", "Te", "s", "beta_link", "sigma_add", "sigma_prop")}
    return Population(typical, effects, omega, shared, means(data, typical, effects))


def test_it_ends_where_the_density_is_flat(virtual: VirtualTrial, data: JointData, truth: Population) -> None:
    parameters = SharedParameters.of(data, load_priors("weakly_informative"))
    phi = virtual.truth.individual.filter(like="log_").to_numpy()

    def log_density(population: Population) -> float:
        one = {**population.shared, "phi": phi, "beta_hazard": population.effects["hazard"]}
        terms = record_terms(data, kernel_parameters(data, one), residual_of(one))
        values = parameters.natural(population)
        prior = sum(p.logpdf(x) for p, x in zip(parameters.priors, values, strict=True))
        return float(terms.marker.sum() + terms.event.sum() + prior)

    population = truth
    for _ in range(5):
        curvature = curvature_at(data, parameters, population, phi[None])
        for _ in range(4):
            population = update_shared(data, parameters, population, phi[None], curvature)
    best = log_density(population)
    assert best > log_density(truth)
    for step in 0.02 * np.vstack([np.eye(parameters.unit.size), -np.eye(parameters.unit.size)]):
        assert log_density(parameters.moved(population, step)) < best


def test_steps_are_undone(data: JointData, truth: Population) -> None:
    parameters = SharedParameters.of(data, load_priors("weakly_informative"))
    step = np.linspace(-0.3, 0.4, parameters.unit.size)
    moved = parameters.moved(truth, step)
    np.testing.assert_allclose(parameters.step(truth, moved), step, rtol=1e-12)


def test_a_patient_beyond_a_wall_moves_hardly_anything(
    virtual: VirtualTrial, data: JointData, truth: Population
) -> None:
    parameters = SharedParameters.of(data, load_priors("weakly_informative"))
    phi = np.stack([virtual.truth.individual.filter(like="log_").to_numpy()] * 2)
    curvature = curvature_at(data, parameters, truth, phi)
    usual = parameters.step(truth, update_shared(data, parameters, truth, phi, curvature))
    passed_over = phi.copy()
    passed_over[:, 3] = np.nan
    beyond = phi.copy()
    beyond[1, 3, INDIVIDUAL.index("KL")] += 3.0
    given = given_at(data, truth)
    assert densities(given, beyond).value[1, 3] < densities(given, phi).value[1, 3] - 1e4
    for draws in (passed_over, beyond):
        step = parameters.step(truth, update_shared(data, parameters, truth, draws, curvature))
        np.testing.assert_allclose(step, usual, atol=0.15)
