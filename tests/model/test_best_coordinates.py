"""Coordinates fitted to new draws are taken where they are better by the first ones, for the patients asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bayes_isa as bi
from bayes_isa.kernels.response import Window
from bayes_isa.model.best_coordinates import _Chosen, _tried
from bayes_isa.model.individuals import DensityOfPhi, given_at
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.pilot import Pilot
from bayes_isa.model.population import Population, initial_population
from bayes_isa.model.whitenings import IndividualDraws, whitened
from bayes_isa.model.windows import response_windows
from tests.model.chains import settled_pilot

N = 8
FEW = 12  # draws, too few to tell a covariance of five
Both = tuple[IndividualDraws, IndividualDraws]


@pytest.fixture(scope="module")
def data() -> JointData:
    return prepare(bi.draw_virtual_trial(N, seed=3).trial, bi.ModelSpec(), rough=True)


@pytest.fixture(scope="module")
def population(data: JointData) -> Population:
    return initial_population(data, bi.load_priors("weakly_informative"))


@pytest.fixture(scope="module")
def windows(data: JointData) -> list[Window]:
    return response_windows(data)


@pytest.fixture(scope="module")
def pilot(data: JointData, population: Population) -> Pilot:
    return settled_pilot(data, population)


def drawn(pilot: Pilot, population: Population, draws: int, seed: int) -> Both:
    found = pilot.copy(seed).draw(population, 3 * draws)
    density = DensityOfPhi(given_at(pilot.data, population))
    one = IndividualDraws(population, density, found.phi[::3], found.by_phi[::3])
    return one, one


@pytest.fixture(scope="module")
def both(pilot: Pilot, population: Population) -> Both:
    return drawn(pilot, population, 100, seed=2)


@pytest.fixture(scope="module")
def poor(windows: list[Window], pilot: Pilot, population: Population, both: Both) -> _Chosen:
    """Fitted to a few draws."""
    none = replace(whitened(windows[0], both[:1])[0], score=np.full(N, np.inf))
    few = drawn(pilot, population, FEW, seed=3)
    return _tried(_Chosen(none, none), windows, np.arange(N), few, both)


def test_better_ones_are_taken_and_worse_ones_not(
    poor: _Chosen, windows: list[Window], pilot: Pilot, population: Population, both: Both
) -> None:
    some = np.array([1, 4, 6])
    others = np.setdiff1d(np.arange(N), some)
    found = _tried(poor, windows, some, drawn(pilot, population, 100, seed=4), both)
    assert (found.best.score[some] < poor.best.score[some]).all()
    np.testing.assert_array_equal(found.best.score[others], poor.best.score[others])
    again = _tried(found, windows, some, drawn(pilot, population, FEW, seed=5), both)
    assert (again.best.score <= found.best.score).all()
    stayed = again.best.score == found.best.score
    assert stayed[some].any()
    for kept, given in zip(again.best.whitening, found.best.whitening, strict=True):
        np.testing.assert_array_equal(kept[stayed], given[stayed])
