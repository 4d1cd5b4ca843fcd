"""Trial runs: trajectories follow the posterior, and coordinates in which they go wrong are passed over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bayes_isa.kernels.whitening import Whitening
from bayes_isa.model import trial_runs
from bayes_isa.model.far_regions import FarRegions
from bayes_isa.model.gaussian import modes
from bayes_isa.model.individuals import densities, given_at
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.pilot import Pilot
from bayes_isa.model.population import initial_population
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.model.trial_runs import with_better_runs
from bayes_isa.model.whitenings import Coordinates, IndividualDraws, whitened
from bayes_isa.model.windows import response_windows
from bayes_isa.simulation.virtual_trial import draw_virtual_trial

N = 4


@pytest.fixture(scope="module")
def data() -> JointData:
    return prepare(draw_virtual_trial(N, seed=3).trial, ModelSpec(), rough=True)


@pytest.fixture(scope="module")
def draws(data: JointData) -> IndividualDraws:
    population = initial_population(data, load_priors("weakly_informative"))
    window = response_windows(data)[0]
    pilot = Pilot.start(data, window, modes(data, window, population), seed=1)
    for _ in range(2):
        pilot = pilot.adapted(pilot.draw(population, 60).phi, population.k)
    drawn, given = pilot.draw(population, 60), given_at(data, population)
    return IndividualDraws(population, lambda phi: densities(given, phi)[:2], drawn.phi, drawn.by_phi)


@pytest.fixture(scope="module")
def good(data: JointData, draws: IndividualDraws) -> Coordinates:
    """As rough as to be put to the trial."""
    return replace(whitened(response_windows(data)[0], [draws])[0], score=np.full(N, 20.0))


@pytest.fixture(scope="module")
def far(draws: IndividualDraws) -> FarRegions:
    return FarRegions(draws.phi[:5], np.ones((5, N), dtype=bool))


def stretched(coordinates: Coordinates, by: float) -> Coordinates:
    """With eps in a unit that is so many times as long: a step of a sampler leaps over the posterior."""
    scale = by * coordinates.whitening.scale
    return replace(coordinates, whitening=coordinates.whitening._replace(scale=scale))


def test_errors_of_the_energy_fall_with_the_square_of_the_step(
    good: Coordinates, draws: IndividualDraws, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = []
    for step, steps in ((0.02, 16), (0.01, 32)):
        monkeypatch.setattr(trial_runs, "_STEP", step)
        monkeypatch.setattr(trial_runs, "_STEPS", steps)
        error.append(trial_runs._worst_error(good, draws, draws.phi[::10]))
    assert (error[0] > 1e-6).all()
    np.testing.assert_allclose(np.median(error[0] / error[1]), 4.0, rtol=0.05)


def test_trajectories_of_a_usual_step_keep_their_energy(good: Coordinates, draws: IndividualDraws) -> None:
    assert np.median(trial_runs._worst_error(good, draws, draws.phi)) < 0.5


@pytest.mark.parametrize("smoother", [True, False], ids=["smoother", "rougher"])
def test_coordinates_that_explode_are_passed_over_whatever_their_score(
    good: Coordinates, draws: IndividualDraws, far: FarRegions, smoother: bool
) -> None:
    bad = replace(stretched(good, 40.0), score=good.score * (0.5 if smoother else 2.0))
    for given, rivals in ((good, bad), (bad, good)):
        chosen = with_better_runs(given, rivals, draws, draws, [far])
        np.testing.assert_array_equal(chosen.whitening.scale, good.whitening.scale)


def test_equal_ones_are_told_apart_by_their_scores(
    good: Coordinates, draws: IndividualDraws, far: FarRegions
) -> None:
    other = stretched(good, 1.001)
    factor = np.where(np.arange(N) % 2, 0.5, 2.0)
    chosen = with_better_runs(good, replace(other, score=good.score * factor), draws, draws, [far])
    np.testing.assert_allclose(
        chosen.whitening.scale / good.whitening.scale, np.where(factor < 1, 1.001, 1.0)[:, None] * np.ones(5)
    )


def test_scores_alone_decide_where_they_are_far_apart_or_good(
    good: Coordinates, draws: IndividualDraws, far: FarRegions
) -> None:
    bad = stretched(good, 40.0)
    for score, rival in ((20.0, 0.5), (2.0, 1.0)):
        given = replace(good, score=np.full(N, score))
        chosen = with_better_runs(given, replace(bad, score=np.full(N, rival)), draws, draws, [far])
        np.testing.assert_array_equal(chosen.whitening.scale, bad.whitening.scale)


def test_unusable_rivals_are_never_taken_and_unusable_coordinates_always_left(
    good: Coordinates, draws: IndividualDraws, far: FarRegions
) -> None:
    nothing = Whitening(*(np.full_like(each, np.nan) for each in good.whitening))
    unusable = Coordinates(good.window, nothing, np.full(N, np.inf))
    for given, rivals in ((good, unusable), (unusable, good)):
        chosen = with_better_runs(given, rivals, draws, draws, [far])
        for found, expected in zip(chosen.whitening, good.whitening, strict=True):
            np.testing.assert_array_equal(found, expected)
