"""Individual log-densities compiled as a whole: the same as the likelihood's terms and the priors put together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from bayes_isa.model.individuals import SHARED, DensityOfPhi, densities, density_of_psi, given_at
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.patient_terms import kernel_parameters, record_terms, residual_of
from bayes_isa.model.population import Population, initial_population
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.model.windows import map_all, response_windows
from bayes_isa.simulation.virtual_trial import draw_virtual_trial

N = 5
STEP = 1e-5


@pytest.fixture(scope="module", params=["pk", "constant"])
def data(request: pytest.FixtureRequest) -> JointData:
    return prepare(draw_virtual_trial(N, seed=3).trial, ModelSpec(exposure=request.param), rough=True)


@pytest.fixture(scope="module")
def population(data: JointData) -> Population:
    population = initial_population(data, load_priors("weakly_informative"))
    d = len(population.omega)
    return replace(population, correlation=0.7 * np.eye(d) + 0.3)


def sets_of(population: Population, n: int) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=(n, *population.mean.shape))
    return population.mean + 0.3 * noise


def from_terms(data: JointData, population: Population, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihoods (n_patients,) from the records' terms, and the log-densities of phi in the population."""
    one = {**population.shared, "phi": phi, "beta_hazard": population.effects["hazard"]}
    terms = record_terms(data, kernel_parameters(data, one), residual_of(one))
    covariance = np.linalg.inv(population.precision)
    prior = multivariate_normal(np.zeros(len(covariance)), covariance).logpdf(phi - population.mean)
    return terms.marker_by_patient(data) + terms.finite_event, prior


@pytest.mark.parametrize("power", [1.0, 0.3])
def test_density_is_likelihood_times_prior(data: JointData, population: Population, power: float) -> None:
    phi = sets_of(population, 3)
    found = densities(given_at(data, population, power), phi).value
    likelihood, prior = (
        np.array(x) for x in zip(*(from_terms(data, population, each) for each in phi), strict=True)
    )
    expected = power * likelihood + prior
    # up to a constant, the same for all
    np.testing.assert_allclose(found - found[0, 0], expected - expected[0, 0], rtol=1e-10, atol=1e-9)


def test_gradients_are_those_of_finite_differences(data: JointData, population: Population) -> None:
    given = given_at(data, population)
    phi = sets_of(population, 2)
    found = densities(given, phi)
    for j, move in enumerate(STEP * np.eye(phi.shape[2])):
        by_phi = (densities(given, phi + move).value - densities(given, phi - move).value) / (2.0 * STEP)
        np.testing.assert_allclose(found.by_phi[..., j], by_phi, rtol=1e-5, atol=1e-5)
    for name, value in population.shared.items():
        step = STEP * max(abs(value), 0.1)
        up, down = (
            densities(
                given_at(data, replace(population, shared={**population.shared, name: value + by})), phi
            )
            for by in (step, -step)
        )
        by_name = (up.value - down.value) / (2.0 * step)
        np.testing.assert_allclose(found.by_shared[..., SHARED.index(name)], by_name, rtol=1e-5, atol=1e-4)


def test_in_response_coordinates_the_jacobian_counts(data: JointData, population: Population) -> None:
    window = response_windows(data)[0]
    given = given_at(data, population)
    psi = np.tile([3.0, 0.3, -1.0, -4.0, 4.5][: population.omega.size], (N, 1))
    psi += 0.1 * np.random.default_rng(2).normal(size=psi.shape)
    density = density_of_psi(given, window)
    value, by_psi = density(psi)
    mapped = map_all(window, psi, population.k)
    expected = densities(given, mapped.phi[None]).value[0] + mapped.log_jacobian
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for j, move in enumerate(STEP * np.eye(psi.shape[1])):
        numeric = (density(psi + move)[0] - density(psi - move)[0]) / (2.0 * STEP)
        np.testing.assert_allclose(by_psi[:, j], numeric, rtol=1e-5, atol=1e-5)


def test_a_patient_that_begins_with_nan_is_passed_over(data: JointData, population: Population) -> None:
    given = given_at(data, population)
    phi = sets_of(population, 1)
    with_nan = phi.copy()
    with_nan[0, 2] = np.nan
    found, whole = densities(given, with_nan), densities(given, phi)
    assert np.isnan(found.by_phi[0, 2]).all()
    others = np.arange(N) != 2
    np.testing.assert_array_equal(found.value[0, others], whole.value[0, others])
    np.testing.assert_array_equal(found.by_phi[0, others], whole.by_phi[0, others])


@pytest.mark.parametrize("patients", [[3, 1], [2], list(range(N))])
def test_density_of_some_patients_is_theirs(
    patients: list[int], data: JointData, population: Population
) -> None:
    density = DensityOfPhi(given_at(data, population))
    phi = sets_of(population, 3)
    value, by_phi = density(phi)
    few_value, few_by_phi = density.of(np.array(patients))(phi[:, patients])
    np.testing.assert_array_equal(few_value, value[:, patients])
    np.testing.assert_array_equal(few_by_phi, by_phi[:, patients])
    again = density.of(np.array([4, 2, 0])).of(np.array([2, 0]))(phi[:, [0, 4]])
    np.testing.assert_array_equal(again[0], value[:, [0, 4]])
