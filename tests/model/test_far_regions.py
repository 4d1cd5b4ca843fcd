"""Regions far from a posterior's bulk: found by chains that start elsewhere, and drawn near."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from bayes_isa.data.examples import load_example
from bayes_isa.kernels.bend import values_at
from bayes_isa.kernels.whitening import Whitening, unwhiten, whiten
from bayes_isa.model.far_regions import FarRegions, drawn_in, far_regions
from bayes_isa.model.gaussian import modes
from bayes_isa.model.individuals import DensityOfPhi, given_at
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.patient_terms import kernel_parameters, record_terms, residual_of
from bayes_isa.model.pilot import Pilot
from bayes_isa.model.population import Population, initial_population
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.model.whitenings import Coordinates, IndividualDraws
from bayes_isa.model.windows import map_all, psi_all, response_windows
from tests.model.densities import MadeUp

# 178's last two measurements, 1.6 and 2 g/L after three below 0.5, are regrowth, or else two outliers.
IDS = ("178", "001", "002")
D = 5
TRUTH = {"sigma_add": 0.5, "sigma_prop": 0.07, "Te": 290.0, "s": 1.6, "k": 5.0, "beta_link": 6.4}
OUTLIERS = -12.0  # log-likelihood of the measurements between the two explanations, -15 and about -4


@pytest.fixture(scope="module")
def data() -> JointData:
    return prepare(load_example("virtual_rrmm").subset(IDS), ModelSpec(), rough=True)


@pytest.fixture(scope="module")
def population(data: JointData) -> Population:
    start = initial_population(data, load_priors("weakly_informative"))
    typical = np.array([25.0, 0.0065, 0.05, 0.015, 190.0])
    mean = np.tile(np.log(typical), (len(IDS), 1))
    omega = np.array([0.75, 1.0, 1.0, 1.0, 0.9])
    return replace(start, typical=typical, mean=mean, omega=omega, shared={**start.shared, **TRUTH})


@pytest.fixture(scope="module")
def plain(data: JointData, population: Population) -> Coordinates:
    """Whitened by the population alone."""
    window = response_windows(data)[0]
    centre = psi_all(window, population.mean, population.k)
    mapped = map_all(window, centre, population.k)
    offset = mapped.phi - np.einsum("nij,nj->ni", mapped.by_psi, centre)
    none, one = np.zeros((len(IDS), D)), np.ones((len(IDS), D))
    whitening = Whitening(np.zeros((len(IDS), D, D)), none, mapped.by_psi, offset, one, none, none)
    return Coordinates(window, whitening, np.ones(len(IDS)))


def test_both_explanations_of_late_measurements_are_found(data: JointData, population: Population) -> None:
    window = response_windows(data)[0]
    start = population.mean.copy()
    start[:, 0] = np.log(data.trial.baseline_mprotein.to_numpy(dtype=float))
    start[0] = np.log([14.05, 0.043, 0.39, 0.038, 111.0])
    with np.errstate(over="ignore", invalid="ignore"):
        pilot = Pilot.start(data, window, modes(data, window, population), seed=1)
        pilot = pilot.at(start, population.k, seed=1)
        bulk = pilot.draw(population, 50)
        density = DensityOfPhi(given_at(data, population))
        near = IndividualDraws(population, density, bulk.phi, bulk.by_phi)
        # One in five chains ends in the bulk, so that one search of six chains may find none.
        searches = [far_regions(pilot, near, seed)[0] for seed in (2, 3)]
    assert (marker_terms(data, population, bulk.phi) > OUTLIERS).all()
    found = set()
    for far in searches:
        assert far.phi.shape == (*far.weighty.shape, D)
        as_outliers = marker_terms(data, population, far.phi) < OUTLIERS
        assert (as_outliers & far.weighty[:, 0]).any()
        found |= set(as_outliers[far.weighty[:, 0]])
    assert found == {True, False}


def marker_terms(data: JointData, population: Population, phi: np.ndarray) -> np.ndarray:
    """The first patient's log-likelihood of measurements at each draw."""
    shared = {**population.shared, "beta_hazard": population.effects["hazard"]}
    terms = [
        record_terms(data, kernel_parameters(data, {**shared, "phi": each}), residual_of(shared))
        for each in phi
    ]
    return np.array([each.marker_by_patient(data)[0] for each in terms])


def gaussian(plain: Coordinates, population: Population) -> IndividualDraws:
    """Draws of what is standard normal in these coordinates."""
    given = (plain.window, plain.whitening)
    at = (population.mean, population.omega, population.k)

    def density(phi: np.ndarray) -> np.ndarray:
        eps, back, log_jacobian = np.empty_like(phi), np.empty_like(phi), np.empty(phi.shape[:2])
        for point in range(len(phi)):
            whiten(*given, phi[point], *at, eps[point])
            unwhiten(*given, eps[point], *at, back[point], log_jacobian[point])
        return norm.logpdf(eps).sum(axis=2) - log_jacobian

    eps = np.random.default_rng(1).normal(size=(200, len(IDS), D))
    phi, log_jacobian = np.empty_like(eps), np.empty(len(IDS))
    for each, place in zip(eps, phi, strict=True):
        unwhiten(*given, each, *at, place, log_jacobian)
    step = 1e-5
    by_phi = np.empty_like(phi)
    for j in range(D):
        move = step * np.eye(D)[j]
        by_phi[..., j] = (density(phi + move) - density(phi - move)) / (2.0 * step)
    return IndividualDraws(population, MadeUp.of_all(density, len(IDS)), phi, by_phi)


def at(eps: float, plain: Coordinates, population: Population) -> np.ndarray:
    """phi (patient, d) far out along the second axis, below the first patient's centre and above the second's."""
    point, phi, log_jacobian = np.zeros((len(IDS), D)), np.empty((len(IDS), D)), np.empty(len(IDS))
    point[0, 1], point[1, 1] = -eps, eps
    given = (plain.window, plain.whitening, point, population.mean, population.omega, population.k)
    unwhiten(*given, phi, log_jacobian)
    return phi


def test_an_axis_is_drawn_in_on_the_side_of_a_far_region_alone(
    plain: Coordinates, population: Population
) -> None:
    draws = gaussian(plain, population)
    phi = at(20.0, plain, population)
    bent = drawn_in(plain, [FarRegions(phi[None], np.ones((1, len(IDS)), dtype=bool))], draws, draws)
    below, above = bent.whitening.below, bent.whitening.above
    assert below[0, 1] < 0.0
    assert above[1, 1] < 0.0
    assert np.count_nonzero(below) == np.count_nonzero(above) == 1
    eps = np.empty_like(phi)
    whiten(bent.window, bent.whitening, phi, population.mean, population.omega, population.k, eps)
    assert np.abs(eps).max() <= 15.0


def test_a_region_that_is_narrow_is_not_drawn_in_further_than_steps_bear(
    plain: Coordinates, population: Population
) -> None:
    """Curvature grows with the square of the slope of a bend b, 1 + (b x)^2 at x, up to 45."""
    curvature, x = 30.0, 20.0
    draws = gaussian(plain, population)
    given = (plain.window, plain.whitening)
    at_population = (population.mean, population.omega, population.k)

    def with_narrow_region(phi: np.ndarray) -> np.ndarray:
        eps = np.empty_like(phi)
        for point, place in zip(phi, eps, strict=True):
            whiten(*given, point, *at_population, place)
        away = np.abs(eps[..., 1])
        narrow = np.where(away > 15.0, 0.5 * (curvature - 1.0) * (away - x) ** 2, 0.0)
        return draws.density(phi)[0] - narrow

    narrow = replace(draws, density=MadeUp.of_all(with_narrow_region, len(IDS)))
    far = FarRegions(at(x, plain, population)[None], np.ones((1, len(IDS)), dtype=bool))
    bent = drawn_in(plain, [far], narrow, draws)
    expected = -np.sqrt(45.0 / curvature - 1.0) / x
    assert bent.whitening.below[0, 1] == pytest.approx(expected, rel=1e-3)
    assert bent.whitening.above[1, 1] == pytest.approx(expected, rel=1e-3)
    assert np.count_nonzero(bent.whitening.below) == np.count_nonzero(bent.whitening.above) == 1


@pytest.mark.parametrize(("eps", "weighty"), [(40.0, False), (11.0, True)])
def test_nothing_is_bent_for_a_region_without_weight_or_near(
    eps: float, weighty: bool, plain: Coordinates, population: Population
) -> None:
    draws = gaussian(plain, population)
    far = FarRegions(at(eps, plain, population)[None], np.full((1, len(IDS)), weighty))
    bent = drawn_in(plain, [far], draws, draws)
    assert not bent.whitening.below.any()
    assert not bent.whitening.above.any()


def test_a_wall_bend_gives_way_where_a_valley_runs_on_and_nowhere_else(
    plain: Coordinates, population: Population
) -> None:
    """What lies 4 SDs along an axis bent by 1.3 is 21 away."""
    strong = np.full((len(IDS), D), 1.3)
    walled = replace(
        plain, whitening=plain.whitening._replace(below=strong, above=strong), score=np.full(len(IDS), 10.0)
    )
    phi = at(4.0, plain, population)
    far = FarRegions(phi[None], np.array([[True, True, False]]))
    bent = drawn_in(walled, [far], gaussian(plain, population), gaussian(plain, population))
    expected_below, expected_above = strong.copy(), strong.copy()
    expected_below[0, 1] = expected_above[1, 1] = 0.6
    np.testing.assert_array_equal(bent.whitening.below, expected_below)
    np.testing.assert_array_equal(bent.whitening.above, expected_above)
    eps = np.empty_like(phi)
    whiten(bent.window, bent.whitening, phi, population.mean, population.omega, population.k, eps)
    assert values_at(np.abs(eps[:2]).max(), np.array([0.6])) == pytest.approx(4.0)
    assert (bent.score[:2] != 10.0).all()
    assert bent.score[2] == 10.0


def test_a_price_too_high_is_not_paid(plain: Coordinates, population: Population) -> None:
    """Bends that make a standard normal far from normal are refused where scores are at their least."""
    draws = gaussian(plain, population)
    flat = MadeUp.of_all(lambda phi: np.fmax(draws.density(phi)[0], -1e3), len(IDS))
    flat_far_out = replace(draws, density=flat)
    score = np.full(len(IDS), 1e-3)
    far = FarRegions(at(1e4, plain, population)[None], np.ones((1, len(IDS)), dtype=bool))
    kept = drawn_in(replace(plain, score=score), [far], flat_far_out, draws)
    assert not kept.whitening.below.any()
    np.testing.assert_array_equal(kept.score, score)
