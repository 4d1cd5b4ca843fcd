"""Bends: odd functions that are smooth at 0 and inverted exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from bayes_isa.kernels.bend import Bent, bent, from_bent, unbent, values_at

BENDS = st.sampled_from([-1.5, -0.25, 0.0, 0.3, 1.0])
# Beyond 6 bends above 0 go on straight; there their second derivative jumps.
SMOOTH = st.one_of(st.floats(-5.9, 5.9), st.floats(6.1, 9.0), st.floats(-9.0, -6.1))


@njit
def at(z: float, below: float, above: float) -> Bent:
    return bent(z, below, above)


@njit
def back(value: float, below: float, above: float) -> float:
    return unbent(value, below, above)


@njit
def all_back(value: float, bend: float) -> tuple[float, float, float]:
    return from_bent(value, bend)


all_back(1.0, 0.0)
at(1.0, 0.0, 0.0)  # compiled here, not within a test's deadline
back(1.0, 0.0, 0.0)


@given(z=st.floats(-8.0, 8.0), below=BENDS, above=BENDS)
def test_inverse(z: float, below: float, above: float) -> None:
    assert back(at(z, below, above).value, below, above) == pytest.approx(z, rel=1e-12, abs=1e-14)


@given(z=SMOOTH, bend=BENDS)
def test_slopes_at_a_value_are_those_at_its_inverse(z: float, bend: float) -> None:
    there = at(z, bend, bend)
    found, slope, log_slope_slope = all_back(there.value, bend)
    assert found == pytest.approx(z, rel=1e-10, abs=1e-13)
    assert slope == pytest.approx(there.slope, rel=1e-10)
    assert log_slope_slope == pytest.approx(there.log_slope_slope, rel=1e-10, abs=1e-13)


@given(z=st.floats(-9.0, 9.0), bend=BENDS)
def test_odd(z: float, bend: float) -> None:
    assert at(-z, bend, bend).value == pytest.approx(-at(z, bend, bend).value, rel=1e-14, abs=1e-15)


@given(z=SMOOTH, below=BENDS, above=BENDS)
def test_slopes_agree_with_finite_differences(z: float, below: float, above: float) -> None:
    step = 1e-6
    here, up, down = at(z, below, above), at(z + step, below, above), at(z - step, below, above)
    assert here.slope == pytest.approx((up.value - down.value) / (2 * step), rel=1e-6, abs=1e-6)
    by_difference = (np.log(up.slope) - np.log(down.slope)) / (2 * step)
    assert here.log_slope_slope == pytest.approx(by_difference, rel=1e-4, abs=1e-5)


def test_a_positive_bend_draws_in_and_a_negative_one_stretches() -> None:
    assert at(3.0, 0.0, 1.0).value < 3.0 < at(3.0, 0.0, -1.0).value
    assert at(-3.0, 0.0, 1.0).value == -3.0


@given(bend=st.floats(0.01, 3.0), value=st.floats(6.0, 1e3))
def test_nothing_is_thrown_out_further_than_in_proportion(bend: float, value: float) -> None:
    """Its tangent at 6 has a slope of at least 1 / (1 + 6 b)."""
    assert value <= back(value, bend, bend) <= 6.0 + (1.0 + 6.0 * bend) * value


def test_values_of_several_bends() -> None:
    bends = np.array([-0.5, 0.0, 0.4, 2.0])
    np.testing.assert_array_equal(values_at(15.0, bends), [at(15.0, b, b).value for b in bends])
