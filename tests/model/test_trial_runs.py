"""Trial runs: trajectories follow the posterior, and open coordinates in which they explode are passed over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bayes_isa.model import trial_runs
from bayes_isa.model.far_regions import FarRegions
from bayes_isa.model.individuals import DensityOfPhi, given_at
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.population import initial_population
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.model.trial_runs import closed_where_open_explode
from bayes_isa.model.whitenings import Coordinates, IndividualDraws, whitened
from bayes_isa.model.windows import response_windows
from bayes_isa.simulation.virtual_trial import draw_virtual_trial
from tests.model.chains import settled_pilot

N = 4


@pytest.fixture(scope="module")
def data() -> JointData:
    return prepare(draw_virtual_trial(N, seed=3).trial, ModelSpec(), rough=True)


@pytest.fixture(scope="module")
def draws(data: JointData) -> IndividualDraws:
    population = initial_population(data, load_priors("weakly_informative"))
    drawn = settled_pilot(data, population).draw(population, 60)
    return IndividualDraws(population, DensityOfPhi(given_at(data, population)), drawn.phi, drawn.by_phi)


@pytest.fixture(scope="module")
def closed(data: JointData, draws: IndividualDraws) -> Coordinates:
    return whitened(response_windows(data)[0], [draws])[0]


@pytest.fixture(scope="module")
def opened(data: JointData, draws: IndividualDraws) -> Coordinates:
    """Open coordinates, as rough as to be put to the trial."""
    return replace(whitened(response_windows(data)[-1], [draws])[0], score=np.full(N, 10.0))


@pytest.fixture(scope="module")
def far(draws: IndividualDraws) -> FarRegions:
    return FarRegions(draws.phi[:5], np.ones((5, N), dtype=bool))


def exploding(coordinates: Coordinates) -> Coordinates:
    """With eps in a unit 40 times as long: a step of a sampler leaps over the posterior."""
    scale = 40.0 * coordinates.whitening.scale
    return replace(coordinates, whitening=coordinates.whitening._replace(scale=scale))


def test_errors_of_the_energy_fall_with_the_square_of_the_step(
    closed: Coordinates, draws: IndividualDraws, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = []
    for step, steps in ((0.02, 16), (0.01, 32)):
        monkeypatch.setattr(trial_runs, "_STEP", step)
        monkeypatch.setattr(trial_runs, "_STEPS", steps)
        error.append(trial_runs._worst_error(closed, draws, draws.phi[::10]))
    assert (error[0] > 1e-6).all()
    np.testing.assert_allclose(np.median(error[0] / error[1]), 4.0, rtol=0.05)


def test_trajectories_of_a_usual_step_keep_their_energy(closed: Coordinates, draws: IndividualDraws) -> None:
    assert np.median(trial_runs._worst_error(closed, draws, draws.phi)) < 0.5


def test_closed_coordinates_replace_open_ones_that_explode(
    opened: Coordinates, closed: Coordinates, draws: IndividualDraws, far: FarRegions
) -> None:
    found = closed_where_open_explode(exploding(opened), closed, draws, draws, [far])
    assert opened.window.open.all()
    assert not found.window.open.any()
    np.testing.assert_array_equal(found.whitening.linear, closed.whitening.linear)


@pytest.mark.parametrize("other", ["explode, too", "are rough beyond comparison", "are unusable"])
def test_open_coordinates_stay_where_closed_ones(
    other: str, opened: Coordinates, closed: Coordinates, draws: IndividualDraws, far: FarRegions
) -> None:
    best = opened
    if other == "explode, too":
        closed = exploding(closed)
    else:
        best = exploding(opened)
        closed = replace(closed, score=np.full(N, np.inf if other == "are unusable" else 1e3))
    assert closed_where_open_explode(best, closed, draws, draws, [far]).window.open.all()


def test_what_is_closed_or_smooth_is_not_put_to_the_trial(
    opened: Coordinates, closed: Coordinates, draws: IndividualDraws, far: FarRegions
) -> None:
    smooth = replace(exploding(opened), score=np.full(N, 2.0))
    for best in (smooth, replace(exploding(closed), score=np.full(N, 10.0))):
        found = closed_where_open_explode(best, closed, draws, draws, [far])
        for kept, given in zip(found.whitening, best.whitening, strict=True):
            np.testing.assert_array_equal(kept, given)
