import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import legendre

from bayes_isa.errors import DataError
from bayes_isa.pk import Doses, solve_isatuximab
from bayes_isa.pk._collocation import _A, _X, N_STAGES, evaluate_series

from .patients import random_patients, repeated_doses

DAYS = np.linspace(0.0, 60.0, 241)


def curves(parameters, doses, until=60.0, days=DAYS):
    """(n, m) concentrations."""
    solution = solve_isatuximab(parameters, *doses, until)
    who = np.repeat(np.arange(len(parameters)), len(days))
    return solution.concentration(who, np.tile(days, len(parameters))).reshape(len(parameters), -1)


def assert_same(a, b, rtol=2e-8):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-9)


def test_collocation_integrates_polynomials_exactly():
    for power in range(N_STAGES):
        np.testing.assert_allclose(_A @ _X**power, _X ** (power + 1) / (power + 1), atol=1e-15)
    # superconvergence of the last node: order 13
    np.testing.assert_allclose(_A[-1] @ _X**12, 1 / 13, rtol=1e-12)


@given(st.lists(st.floats(-10, 10), min_size=8, max_size=8), st.floats(0, 1))
@settings(deadline=None)
def test_series_is_the_one_of_numpy(series, x):
    expected = legendre.legval(2 * x - 1, series)
    assert evaluate_series(np.array(series), x) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_zero_before_the_first_dose_and_without_doses():
    parameters, _ = random_patients(3, seed=1)
    doses = Doses([0, 2], [10.0, 5.0], [1000.0, 0.0], [2.0, 2.0])
    c = curves(parameters, doses)
    assert np.all(c[0, DAYS <= 10] == 0)
    assert np.all(c[0, DAYS > 10] > 0)
    assert np.all(c[1:] == 0)
    assert np.all(curves(parameters, Doses.none()) == 0)


def test_clearance_clock_starts_at_the_first_dose():
    parameters, weight = random_patients(4, seed=2)
    early = repeated_doses(weight, 10.0, np.array([0.0, 14.0]))
    late = early._replace(day=np.asarray(early.day) + 8.0)
    assert_same(curves(parameters, early, 50, DAYS[:160]), curves(parameters, late, 60, DAYS[:160] + 8.0))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 20.0), st.floats(0.5, 100.0), st.floats(0.1, 0.9))
def test_an_infusion_split_in_two_is_the_same_infusion(seed, mg_per_kg, hours, fraction):
    parameters, weight = random_patients(2, seed)
    whole = Doses([0, 1], [0.0, 3.0], weight * mg_per_kg, [hours, hours])
    halves = Doses(
        [0, 1, 0, 1],
        np.array([0.0, 3.0, fraction * hours / 24, 3.0 + fraction * hours / 24]),
        np.concatenate([fraction * weight, (1 - fraction) * weight]) * mg_per_kg,
        np.repeat([fraction * hours, (1 - fraction) * hours], 2),
    )
    assert_same(curves(parameters, whole), curves(parameters, halves))


def test_overlapping_infusions_add_up():
    parameters, _ = random_patients(1, seed=3)
    together = Doses([0, 0], [1.0, 1.0], [400.0, 600.0], [48.0, 48.0])
    overlapping = Doses([0, 0, 0], [1.0, 1.0, 2.0], [400.0, 300.0, 300.0], [48.0, 24.0, 24.0])
    one = Doses([0], [1.0], [1000.0], [48.0])
    assert_same(curves(parameters, together), curves(parameters, one))
    assert_same(curves(parameters, overlapping), curves(parameters, one))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.permutations(range(5)))
def test_permuting_patients_permutes_concentrations(seed, order):
    parameters, weight = random_patients(5, seed)
    order = np.array(order)
    days = np.array([0.0, 7.0, 21.0])
    straight = curves(parameters, repeated_doses(weight, 5.0, days))
    permuted = curves(parameters[order], repeated_doses(weight[order], 5.0, days))
    np.testing.assert_array_equal(permuted, straight[order])


def test_order_of_doses_does_not_matter():
    parameters, weight = random_patients(3, seed=4)
    doses = repeated_doses(weight, 10.0, np.array([0.0, 7.0, 14.0]))
    shuffle = np.random.default_rng(1).permutation(9)
    shuffled = Doses(*(np.asarray(column)[shuffle] for column in doses))
    np.testing.assert_array_equal(curves(parameters, doses), curves(parameters, shuffled))


def test_linear_model_keeps_mass_and_scales():
    parameters, _ = random_patients(1, seed=5)
    parameters[:, [0, 7]] = 1e-12  # next to no elimination: all drug stays in the two compartments
    parameters[:, 1] = 0.0
    c = curves(parameters, Doses([0], [0.0], [1000.0], [2.0]), 3000.0, np.array([2990.0]))
    assert c[0, 0] == pytest.approx(1000.0 / (parameters[0, 4] + parameters[0, 6]), rel=1e-6)


def test_a_bolus_is_a_very_short_infusion_and_counts_from_after_its_time():
    parameters, _ = random_patients(1, seed=6)
    bolus = curves(parameters, Doses([0, 0], [1.0, 8.0], [500.0, 500.0], [0.0, 0.0]))
    brief = curves(parameters, Doses([0, 0], [1.0, 8.0], [500.0, 500.0], [1e-5, 1e-5]))
    assert bolus[0, DAYS == 1.0] == 0
    np.testing.assert_allclose(bolus, brief, rtol=1e-5)


def test_a_sudden_fall_of_clearance_is_not_jumped_over():
    parameters, weight = random_patients(1, seed=7)
    parameters[0, 1:4] = [2.0, 700.0, 1e5]  # within seconds, 29 days after the first dose
    doses = Doses([0], [0.0], 20 * weight, [3.0])
    before, after = parameters.copy(), parameters.copy()
    before[0, 2], after[0, 2] = 1e9, 1e-9
    days = np.array([20.0, 29.0, 29.5, 35.0])
    sudden, early, _ = (curves(x, doses, days=days)[0] for x in (parameters, before, after))
    assert_same(sudden[:2], early[:2])
    slope = -np.log(sudden[3] / sudden[2]) / 5.5
    assert slope < -np.log(early[3] / early[2]) / 5.5


def test_mean_concentration_is_the_integral():
    parameters, weight = random_patients(2, seed=8)
    solution = solve_isatuximab(parameters, *repeated_doses(weight, 3.0, np.array([0.0, 14.0, 28.0])), 60.0)
    fine = np.linspace(0.0, 33.3, 400_001)
    for i, mean in enumerate(solution.mean_concentration([33.3, 33.3])):
        c = solution.concentration(np.full(fine.size, i), fine)
        assert mean == pytest.approx(np.trapezoid(c, fine) / 33.3, rel=1e-6)


def test_queries_in_any_order_agree():
    parameters, weight = random_patients(4, seed=9)
    solution = solve_isatuximab(parameters, *repeated_doses(weight, 3.0, np.array([0.0, 14.0])), 60.0)
    rng = np.random.default_rng(2)
    who, day = rng.integers(0, 4, 500), rng.uniform(-5, 60, 500)
    one_by_one = [solution.concentration(i, d)[0] for i, d in zip(who, day, strict=True)]
    np.testing.assert_array_equal(solution.concentration(who, day), one_by_one)


def test_what_cannot_be_asked_for_raises():
    parameters, weight = random_patients(2, seed=10)
    solution = solve_isatuximab(parameters, *repeated_doses(weight, 3.0, np.array([0.0])), [10.0, 20.0])
    assert solution.concentration([1], [20.0])[0] > 0
    for who, day in ((0, 10.1), (1, 20.1), (2, 1.0), (-1, 1.0), (0, np.nan)):
        with pytest.raises(DataError):
            solution.concentration([who], [day])
    with pytest.raises(DataError, match="positive length"):
        solution.mean_concentration([0.0, 1.0])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [(0, 5, "positions"), (1, np.inf, "days"), (2, -1.0, "amounts"), (3, -1.0, "durations")],
)
def test_impossible_doses_raise(column, value, message):
    parameters, weight = random_patients(1, seed=11)
    doses = [np.array(c) for c in repeated_doses(weight, 3.0, np.array([0.0, 7.0]))]
    doses[column][1] = value
    with pytest.raises(DataError, match=message):
        solve_isatuximab(parameters, *doses, 20.0)


def test_impossible_parameters_raise():
    parameters, weight = random_patients(2, seed=12)
    doses = repeated_doses(weight, 3.0, np.array([0.0]))
    parameters[1, 4] = np.nan
    with pytest.raises(DataError, match="patient 1: Vc is nan"):
        solve_isatuximab(parameters, *doses, 20.0)
    with pytest.raises(DataError, match="shape"):
        solve_isatuximab(parameters[:, :8], *doses, 20.0)
    parameters[1, 4] = 5.0
    with pytest.raises(DataError, match="until_day"):
        solve_isatuximab(parameters, *doses, [20.0, np.nan])


def test_a_patient_that_cannot_be_solved_is_named():
    parameters, weight = random_patients(70, seed=13)
    parameters[66, 1] = 1000.0  # a clearance beyond all numbers
    with pytest.raises(DataError, match="patient 66"):
        solve_isatuximab(parameters, *repeated_doses(weight, 3.0, np.array([0.0])), 20.0)


def test_no_patients_at_all():
    solution = solve_isatuximab(np.zeros((0, 9)), *Doses.none(), 10.0)
    assert solution.n_patients == 0
    assert solution.concentration(np.zeros(0, dtype=int), np.zeros(0)).shape == (0,)
