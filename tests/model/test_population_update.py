"""Typical values and omegas of the warm start, given draws of the individual parameters."""

from __future__ import annotations

import numpy as np
import pytest

import bayes_isa as bi
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.population import Population, initial_population
from bayes_isa.model.population_update import IndividualPriors, update_individual

N, D = 40, 5


@pytest.fixture(scope="module")
def data() -> JointData:
    return prepare(bi.draw_virtual_trial(N, seed=1).trial, bi.ModelSpec(covariates={}), rough=True)


@pytest.fixture(scope="module")
def priors() -> bi.PriorSet:
    return bi.load_priors("weakly_informative")


def updated(data: JointData, priors: bi.PriorSet, draws: np.ndarray) -> Population:
    population = initial_population(data, priors)
    return update_individual(data, IndividualPriors.of(data, priors), population, draws)


def test_they_are_those_of_the_draws(data: JointData, priors: bi.PriorSet) -> None:
    typical, omega = np.log([25.0, 0.005, 0.04, 0.02, 170.0]), np.array([0.3, 0.9, 0.8, 1.0, 0.5])
    draws = typical + omega * np.random.default_rng(2).normal(size=(50, N, D))
    found = updated(data, priors, draws)
    # 2000 draws: standard errors of a mean of 0.022 omega, and of the log of an SD of 0.016; the priors count little.
    assert (np.abs(np.log(found.typical) - typical) < 0.15 * omega).all()
    assert (np.abs(np.log(found.omega / omega)) < 0.15).all()
    np.testing.assert_allclose(found.mean, np.tile(np.log(found.typical), (N, 1)))


def test_patients_that_are_all_alike_do_not_make_omega_vanish(data: JointData, priors: bi.PriorSet) -> None:
    individual = IndividualPriors.of(data, priors)
    centre = np.array([each[0] for each in individual.centre])
    found = updated(data, priors, np.tile(centre, (3, N, 1)))
    np.testing.assert_allclose(found.omega, individual.omega * np.sqrt(2.0 / (N + 2.0)))
