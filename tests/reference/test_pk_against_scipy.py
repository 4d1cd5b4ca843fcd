"""The isatuximab solver against SciPy, patient by patient, over 20 months and at the extremes."""

import numpy as np
import pytest
from pk.patients import EVERY_2_WEEKS, UNTIL_DAY, random_patients, repeated_doses

from bayes_isa.pk import Doses, solve_isatuximab

from .by_solve_ivp import isatuximab_by_solve_ivp

WEEKLY_THEN_EVERY_2_WEEKS = np.concatenate([np.arange(0.0, 28.0, 7.0), np.arange(28.0, 600.0, 14.0)])


def largest_error(parameters, doses, solution, i, days, **options):
    """Largest relative error of patient i, below 0.01 mg/L that of 0.01 mg/L."""
    own = np.asarray(doses.patient) == i
    expected = isatuximab_by_solve_ivp(
        parameters[i], *(np.asarray(column)[own] for column in doses[1:]), days, **options
    )
    found = solution.concentration(np.full(len(days), i), days)
    return np.max(np.abs(found - expected) / np.maximum(expected, 0.01))


@pytest.mark.parametrize(
    ("mg_per_kg", "days"),
    [(3.0, EVERY_2_WEEKS), (20.0, WEEKLY_THEN_EVERY_2_WEEKS)],
    ids=["3 Q2W", "20 QW-Q2W"],
)
def test_twenty_months_of_random_patients(mg_per_kg, days):
    parameters, weight = random_patients(5, seed=20)
    doses = repeated_doses(weight, mg_per_kg, days)
    solution = solve_isatuximab(parameters, *doses, UNTIL_DAY)
    rng = np.random.default_rng(3)
    soon_after_doses = rng.choice(days, 400) + rng.exponential(0.3, 400)
    query = np.unique(np.concatenate([rng.uniform(0, UNTIL_DAY, 400), soon_after_doses, days[1:]]))
    for i in range(len(weight)):
        # mostly SciPy's own error, where stability holds back its steps; ours is tested below
        assert largest_error(parameters, doses, solution, i, query) < 3e-7


def test_plasma_emptied_by_fast_elimination():
    """Vm/Km of 5-40 per hour: stiff, so that SciPy needs steps well inside its limit of stability."""
    parameters, weight = random_patients(3, seed=21)
    parameters[:, 8] = parameters[:, 7] / np.array([5.0, 15.0, 40.0])
    doses = repeated_doses(weight, 1.0, np.array([0.0, 14.0]))
    solution = solve_isatuximab(parameters, *doses, 28.0)
    query = np.unique(np.concatenate([np.linspace(0.01, 28.0, 500), 14.0 + np.linspace(0.0, 0.1, 50)]))
    for i in range(3):
        found = solution.concentration(np.full(len(query), i), query)
        assert found.min() >= 0
        error = largest_error(parameters, doses, solution, i, query, max_step=0.1)
        assert error < 3e-8


def test_extreme_clearance_curves():
    parameters, weight = random_patients(3, seed=22)
    parameters[:, 3] = [0.15, 40.0, 1.0]  # no derivative at 0; a steep fall; smooth
    parameters[:, 1] = [2.5, 2.5, -1.0]
    doses = repeated_doses(weight, 10.0, np.arange(0.0, 90.0, 14.0))
    solution = solve_isatuximab(parameters, *doses, 90.0)
    query = np.unique(np.concatenate([np.linspace(0.001, 90.0, 500), np.geomspace(1e-4, 1.0, 50)]))
    for i in range(3):
        assert largest_error(parameters, doses, solution, i, query) < 3e-8


def test_overlapping_infusions():
    parameters, _ = random_patients(1, seed=23)
    doses = Doses(
        [0, 0, 0], np.array([0.0, 0.5, 3.0]), np.array([500.0, 800.0, 300.0]), np.array([24.0, 30.0, 5.0])
    )
    solution = solve_isatuximab(parameters, *doses, 20.0)
    assert largest_error(parameters, doses, solution, 0, np.linspace(0.01, 20.0, 300)) < 3e-8


def test_tolerance_is_honoured():
    parameters, weight = random_patients(20, seed=24)
    doses = repeated_doses(weight, 3.0)
    who, days = np.repeat(np.arange(20), 500), np.tile(np.linspace(0.1, 600.0, 500), 20)
    tight = solve_isatuximab(parameters, *doses, UNTIL_DAY, rtol=1e-11).concentration(who, days)
    for rtol in (1e-5, 1e-7, 1e-9):
        found = solve_isatuximab(parameters, *doses, UNTIL_DAY, rtol=rtol).concentration(who, days)
        assert np.max(np.abs(found - tight) / np.maximum(tight, 0.1)) < 10 * rtol
