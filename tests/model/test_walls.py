"""Walls: found where a density falls off a cliff, bent there, and not where the posterior reaches on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bayes_isa.kernels.whitening import Whitening, unwhiten, whiten
from bayes_isa.model.best_coordinates import best_coordinates
from bayes_isa.model.far_regions import FarRegions
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.population import Population, initial_population
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.model.walls import bent_at_walls, cliffs, judged
from bayes_isa.model.whitenings import Coordinates, IndividualDraws, score_of
from bayes_isa.model.windows import map_all, psi_all, response_windows
from bayes_isa.simulation.virtual_trial import draw_virtual_trial
from tests.model.densities import MadeUp

N, D = 4, 5
NOWHERE = FarRegions(np.zeros((1, N, D)), np.zeros((1, N), dtype=bool))
STEEP = 10.0  # of a wall that stands at 2 SDs: e^10 times as high one SD further on


@pytest.fixture(scope="module")
def data() -> JointData:
    return prepare(draw_virtual_trial(N, seed=3).trial, ModelSpec(), rough=True)


@pytest.fixture(scope="module")
def population(data: JointData) -> Population:
    return initial_population(data, load_priors("weakly_informative"))


@pytest.fixture(scope="module")
def plain(data: JointData, population: Population) -> Coordinates:
    """Whitened by the population alone."""
    window = response_windows(data)[-1]
    centre = psi_all(window, population.mean, population.k)
    mapped = map_all(window, centre, population.k)
    offset = mapped.phi - np.einsum("nij,nj->ni", mapped.by_psi, centre)
    none, one = np.zeros((N, D)), np.ones((N, D))
    whitening = Whitening(np.zeros((N, D, D)), none, mapped.by_psi, offset, one, none, none)
    return Coordinates(window, whitening, np.ones(N))


def draws_of(
    log_density: Callable[[np.ndarray], np.ndarray], plain: Coordinates, population: Population
) -> IndividualDraws:
    """Draws of a density of eps (n_patients,): standard normal points that the density does not make unlikely."""
    given = (plain.window, plain.whitening)
    at = (population.mean, population.omega, population.k)

    def in_phi(phi: np.ndarray) -> np.ndarray:
        eps, log_jacobian, back = np.empty((N, D)), np.empty(N), np.empty((N, D))
        values = np.empty(phi.shape[:2])
        for value, point in zip(values, phi, strict=True):
            whiten(*given, point, *at, eps)
            unwhiten(*given, eps, *at, back, log_jacobian)
            value[:] = log_density(eps) - log_jacobian
        return values

    points = np.random.default_rng(1).normal(size=(600, N, D))
    fall = np.array([-log_density(eps) - 0.5 * np.sum(eps**2, axis=1) for eps in points])
    phi = np.empty((200, N, D))
    for i in range(N):
        kept = points[fall[:, i] < 3.0, i][:200]
        eps = np.zeros((200, N, D))
        eps[:, i] = kept
        for s in range(200):
            one = np.empty((N, D))
            unwhiten(*given, eps[s], *at, one, np.empty(N))
            phi[s, i] = one[i]
    return IndividualDraws(population, MadeUp.of_all(in_phi, N), phi, np.zeros_like(phi))


def normal(eps: np.ndarray) -> np.ndarray:
    return -0.5 * np.sum(eps**2, axis=1)


def walled(eps: np.ndarray) -> np.ndarray:
    """A wall above on the second axis."""
    return normal(eps) - np.exp(np.minimum(STEEP * (eps[:, 1] - 2.0), 600.0))


def walled_in_part(eps: np.ndarray) -> np.ndarray:
    """The same wall, but open where the fourth coordinate is below -1."""
    return normal(eps) - np.exp(
        np.minimum(STEEP * (eps[:, 1] - 2.0 + 8.0 * np.minimum(eps[:, 3] + 1.0, 0.0)), 600.0)
    )


def test_a_normal_has_neither_walls_nor_cliffs(plain: Coordinates, population: Population) -> None:
    draws = draws_of(normal, plain, population)
    assert not cliffs(plain, draws).any()
    bent = bent_at_walls(plain, (draws,)).whitening
    assert not bent.below.any()
    assert not bent.above.any()


def test_an_axis_is_bent_at_its_wall_alone(plain: Coordinates, population: Population) -> None:
    draws = draws_of(walled, plain, population)
    assert (cliffs(plain, draws) > 0).all()
    bent = bent_at_walls(plain, (draws,))
    assert not bent.whitening.below.any()
    assert (bent.whitening.above[:, 1] > 0.5).all()
    assert not np.delete(bent.whitening.above, 1, axis=1).any()
    assert (cliffs(bent, draws) < cliffs(plain, draws)).all()


def test_what_lies_beyond_a_gap_in_the_wall_stays_near(plain: Coordinates, population: Population) -> None:
    """A bend throws it out exponentially far: found at 2.5 SDs, it is left within 6, the bound in `bent_at_walls`."""
    with_gap, without = (draws_of(each, plain, population) for each in (walled_in_part, walled))
    assert (cliffs(plain, with_gap) > 0).all()
    bend, stronger = (bent_at_walls(plain, (each,)).whitening.above[:, 1] for each in (with_gap, without))
    assert (bend > 0.0).all()
    assert (np.sinh(2.5 * bend) / bend <= 6.0).all()
    assert (np.sinh(2.5 * stronger) / stronger > 6.0).all()


def test_a_cliff_counts_more_in_open_coordinates(plain: Coordinates, population: Population) -> None:
    draws = draws_of(walled, plain, population)
    smooth = score_of(plain, (draws,))
    assert plain.window.open.all()
    found = cliffs(plain, draws)
    in_open = judged(plain, (draws,)).score
    assert (found > 0).all()
    np.testing.assert_allclose(in_open, smooth * (1.0 + 4.0 * found))


def test_coordinates_of_the_population_serve_where_no_others_can(
    data: JointData, population: Population
) -> None:
    """Draws that say nothing, as of a chain that never moved: no candidate is usable, and that is told by the score."""
    stuck = IndividualDraws(
        population,
        MadeUp.of_all(lambda phi: np.zeros(phi.shape[:2]), N),
        np.broadcast_to(population.mean, (200, N, D)).copy(),
        np.full((200, N, D), np.nan),
    )
    windows = response_windows(data)
    chosen = best_coordinates(windows, stuck, stuck, [NOWHERE], lambda patients, number: (stuck, stuck))
    assert not np.isfinite(chosen.score).any()
    assert not chosen.whitening.curvature.any()
    assert np.isfinite(chosen.whitening.linear).all()
