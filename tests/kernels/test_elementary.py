import math

import numpy as np
import pytest
from numba import njit

from bayes_isa.kernels.elementary import exp


@njit
def every(x, out):
    for i in range(x.size):
        out[i] = exp(x[i])


def exps(x):
    x = np.asarray(x, dtype=float)
    out = np.empty_like(x)
    every(x, out)
    return out


def test_agrees_with_the_standard_library():
    rng = np.random.default_rng(1)
    x = np.concatenate([np.linspace(-708.39, 709.08, 20_001), rng.normal(0.0, 3.0, 20_000), [1e-300, 5e-17]])
    expected = np.array([math.exp(v) for v in x])
    np.testing.assert_allclose(exps(x), expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0.0, 1.0),
        (-0.0, 1.0),
        (math.inf, math.inf),
        (-math.inf, 0.0),
        (709.2, math.inf),
        (1e300, math.inf),
        (-708.5, 0.0),
        (-1e300, 0.0),
        (math.nan, math.nan),
    ],
)
@pytest.mark.parametrize("length", [1, 37])  # alone and within vectors
def test_ends_of_the_range(x, expected, length):
    np.testing.assert_array_equal(exps(np.full(length, x)), expected)


def test_neighbours_of_a_nan_or_an_infinity_are_untouched():
    x = np.linspace(-5.0, 5.0, 41)
    spoilt = x.copy()
    spoilt[[3, 17]] = math.nan, math.inf
    same = np.ones(41, dtype=bool)
    same[[3, 17]] = False
    np.testing.assert_array_equal(exps(spoilt)[same], exps(x)[same])
