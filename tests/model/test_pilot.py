from __future__ import annotations

import numpy as np
import pytest

import bayes_isa as bi
from bayes_isa.model.gaussian import Gaussian, modes
from bayes_isa.model.individuals import density_of_psi, given_at
from bayes_isa.model.joint_data import prepare
from bayes_isa.model.pilot import Pilot
from bayes_isa.model.population import initial_population
from bayes_isa.model.windows import psi_all, response_windows

N, D = 3, 5


@pytest.fixture(scope="module")
def pilot() -> Pilot:
    """Chains of three patients, at the centres of frames of unit scale."""
    data = prepare(bi.draw_virtual_trial(N, seed=1).trial, bi.ModelSpec(covariates={}), rough=True)
    centre = np.tile([3.0, 1.0, 0.0, -4.0, 5.0], (N, 1))
    frame = Gaussian(centre, np.tile(np.eye(D), (N, 1, 1)), np.ones(N, dtype=bool))
    return Pilot.start(data, response_windows(data)[0], frame, seed=1)


def typical(draws: int) -> np.ndarray:
    rng = np.random.default_rng(2)
    return np.log([25.0, 0.005, 0.04, 0.02, 170.0]) + 0.3 * rng.normal(size=(draws, N, D))


def test_chains_take_on_the_scale_of_their_draws(pilot: Pilot) -> None:
    phi = typical(400)
    psi = np.stack([psi_all(pilot.window, each, 5.0) for each in phi])
    adapted = pilot.adapted(phi, 5.0)
    found = np.einsum("nij,nkj->nik", adapted.frame.root, adapted.frame.root)
    expected = np.stack([(400 * np.cov(psi[:, i].T, bias=True) + 5.0 * np.eye(D)) / 405 for i in range(N)])
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    there = adapted.frame.centre + np.einsum("nij,nj->ni", adapted.frame.root, adapted.x)
    np.testing.assert_allclose(there, psi[-1], atol=1e-9)


def test_draws_far_out_on_a_line_are_no_obstacle(pilot: Pilot) -> None:
    """Where data say nothing a chain may run off: psi then spans many orders of magnitude in one direction."""
    phi = typical(48)
    phi[:, 1] = phi[0, 1] + np.linspace(0.0, 24.0, 48)[:, None] * np.array([0.0, 1.0, 1.0, 0.0, 0.0])
    adapted = pilot.adapted(phi, 5.0)
    assert np.isfinite(adapted.frame.root).all()
    assert np.isfinite(adapted.x).all()


def test_a_patient_without_numbers_keeps_its_frame(pilot: Pilot) -> None:
    phi = typical(48)
    phi[7, 2] = np.nan
    adapted = pilot.adapted(phi, 5.0)
    np.testing.assert_array_equal(adapted.frame.root[2], pilot.frame.root[2])
    np.testing.assert_array_equal(adapted.frame.centre[2], pilot.frame.centre[2])
    assert np.isfinite(adapted.frame.root).all()


def test_a_chain_left_behind_starts_anew_at_the_mode(pilot: Pilot) -> None:
    population = initial_population(pilot.data, bi.load_priors("weakly_informative"))
    phi = typical(10)
    assert pilot.freed(phi, population) is pilot
    phi[:, 1] = phi[0, 1]
    pilot.x[:] = 0.3
    freed = pilot.freed(phi, population)
    np.testing.assert_array_equal(freed.x, [[0.3] * D, [0.0] * D, [0.3] * D])
    np.testing.assert_array_equal(freed.frame.centre[::2], pilot.frame.centre[::2])
    np.testing.assert_array_equal(freed.frame.root[::2], pilot.frame.root[::2])
    density = density_of_psi(given_at(pilot.data, population), pilot.window)
    there = density(freed.frame.centre)[0]
    for step in 0.2 * np.vstack([np.eye(D), -np.eye(D)]):
        assert density(freed.frame.centre + step)[0][1] < there[1]
    assert pilot.frame.sound.all()
    assert freed.frame.sound.all()


def test_chains_of_some_patients_go_as_among_all_and_the_others_nowhere(pilot: Pilot) -> None:
    population = initial_population(pilot.data, bi.load_priors("weakly_informative"))
    pilot = Pilot.start(pilot.data, pilot.window, modes(pilot.data, pilot.window, population), seed=1)
    whole = pilot.copy(7).draw(population, 30)
    some = pilot.only(np.array([2, 0])).copy(7).draw(population, 30)
    np.testing.assert_array_equal(some.phi[:, [0, 2]], whole.phi[:, [0, 2]])
    np.testing.assert_array_equal(some.by_phi[:, [0, 2]], whole.by_phi[:, [0, 2]])
    assert np.isnan(some.phi[:, 1]).all()
    assert np.ptp(whole.phi[:, [0, 2]], axis=0).min() > 0.0
