from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from bayes_isa.errors import DataError
from bayes_isa.pk import solve_dexamethasone
from bayes_isa.pk.dexamethasone import (
    DEXAMETHASONE_CL_F,
    DEXAMETHASONE_V_F,
    MOLAR_MASS,
    SENSITIVITY_CL_F,
    SENSITIVITY_V_F,
)

KE = DEXAMETHASONE_CL_F / DEXAMETHASONE_V_F * 24.0
PEAK = 40.0 * 1000 / MOLAR_MASS / DEXAMETHASONE_V_F


def superposition(days, amounts, t, ke=KE, volume=DEXAMETHASONE_V_F):
    past = days < t
    return np.sum(amounts[past] * 1000 / MOLAR_MASS / volume * np.exp(-ke * (t - days[past])))


def test_one_dose():
    solution = solve_dexamethasone(2, [1], [3.0], [40.0])
    c = solution.concentration([0, 1, 1, 1], [4.0, 3.0, np.nextafter(3.0, 4.0), 3.0 + np.log(2) / KE])
    np.testing.assert_allclose(c, [0.0, 0.0, PEAK, PEAK / 2], rtol=1e-12)
    np.testing.assert_allclose(PEAK * DEXAMETHASONE_V_F, 101.9, atol=0.05)  # umol in 40 mg
    assert np.log(2) / KE * 24 == pytest.approx(3.83, abs=0.01)


doses = st.lists(st.tuples(st.floats(-2, 30), st.floats(0, 100)), min_size=1, max_size=12)


@settings(deadline=None)
@given(doses, st.floats(-3, 40))
def test_recursion_is_superposition(history, t):
    days, amounts = np.array(history).T
    solution = solve_dexamethasone(1, np.zeros(len(days), dtype=int), days, amounts)
    assert solution.concentration(0, t)[0] == pytest.approx(
        superposition(days, amounts, t), rel=1e-9, abs=1e-12
    )


@settings(deadline=None)
@given(doses, st.floats(0, 40))
def test_doubling_doses_doubles_everything(history, t):
    days, amounts = np.array(history).T
    who = np.zeros(len(days), dtype=int)
    one, two = (solve_dexamethasone(1, who, days, factor * amounts) for factor in (1, 2))
    np.testing.assert_allclose(two.concentration(0, t), 2 * one.concentration(0, t), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(
        two.discounted_integral(0, t, 0.02), 2 * one.discounted_integral(0, t, 0.02), rtol=1e-12
    )


@pytest.mark.parametrize("R", [0.0, 0.02, 1.5])
@pytest.mark.parametrize("t", [0.0, 0.2, 7.0, 9.7, 25.0])
def test_discounted_integral_by_quadrature(R, t):
    days = np.array([-0.1, 0.0, 7.0, 7.1, 14.0, 28.0])
    amounts = np.array([40.0, 40.0, 20.0, 40.0, 10.0, 40.0])
    solution = solve_dexamethasone(1, np.zeros(6, dtype=int), days, amounts)
    edges = np.unique(np.clip(np.concatenate([days, days + 1.0, [0.0, t]]), 0, t))
    expected = sum(
        quad(lambda u: np.exp(-R * u) * superposition(days, amounts, u), a, b, epsabs=1e-13, epsrel=1e-11)[0]
        for a, b in pairwise(edges)
    )
    assert solution.discounted_integral(0, t, R)[0] == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_sensitivity_set_has_half_the_area():
    one, other = (
        solve_dexamethasone(1, [0], [0.0], [20.0], **more)
        for more in ({}, {"clearance": SENSITIVITY_CL_F, "volume": SENSITIVITY_V_F})
    )
    ratio = other.discounted_integral(0, 50.0, 0.0) / one.discounted_integral(0, 50.0, 0.0)
    assert ratio[0] == pytest.approx(DEXAMETHASONE_CL_F / SENSITIVITY_CL_F, rel=1e-9)


def test_patients_do_not_mix():
    solution = solve_dexamethasone(3, [2, 0, 2], [7.0, 1.0, 0.0], [40.0, 20.0, 40.0])
    c = solution.concentration([0, 1, 2], [1.1, 1.1, 7.1])
    decay = np.exp(-KE * 0.1)
    np.testing.assert_allclose(c, [PEAK / 2 * decay, 0.0, PEAK * decay], rtol=1e-8)


def test_impossible_input_raises():
    with pytest.raises(DataError, match="positions"):
        solve_dexamethasone(1, [1], [0.0], [40.0])
    with pytest.raises(DataError, match="positive"):
        solve_dexamethasone(1, [0], [0.0], [40.0], clearance=0.0)
    solution = solve_dexamethasone(1, [0], [0.0], [40.0])
    with pytest.raises(DataError, match="finite"):
        solution.concentration(0, np.inf)
    with pytest.raises(DataError, match="negative"):
        solution.discounted_integral(0, 1.0, -0.1)
