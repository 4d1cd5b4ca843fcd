"""Bands and global p-values: exact under exchangeability, blind to what is missing."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from bayes_isa.prediction.envelope import band, global_p_value


def test_p_values_are_uniform_for_exchangeable_curves() -> None:
    rng = np.random.default_rng(1)
    scale = np.array([1.0, 10.0, 0.1])
    n_tests, level = 400, 0.1
    p = np.array([global_p_value(c[0], c[1:]) for c in rng.standard_normal((n_tests, 40, 3)) * scale])
    low, high = binom.ppf([0.0005, 0.9995], n_tests, level)  # fails by chance once in a thousand seeds
    assert low <= np.sum(p <= level) <= high


def test_one_wild_place_is_enough() -> None:
    rng = np.random.default_rng(2)
    simulated = rng.standard_normal((199, 20))
    observed = np.zeros(20)
    assert global_p_value(observed, simulated) == 1.0
    observed[7] = 8.0
    assert global_p_value(observed, simulated) == 1 / 200


def test_missing_entries_neither_accuse_nor_excuse() -> None:
    rng = np.random.default_rng(3)
    simulated = rng.standard_normal((99, 5))
    observed = np.array([0.1, 9.0, 0.2, 0.3, np.nan])
    simulated[:50, 2] = np.nan
    simulated[:, 4] = np.nan
    assert global_p_value(observed, simulated) == 1 / 100
    assert np.isnan(global_p_value(np.full(5, np.nan), simulated))


def test_curves_without_spread_are_alike() -> None:
    assert global_p_value(np.ones(4), np.ones((9, 4))) == 1.0
    assert global_p_value(np.array([1.0, 2.0]), np.ones((9, 2))) == 1 / 10


def test_bands_hold_their_share_and_leave_out_what_is_missing() -> None:
    values = np.arange(101.0)[:, None] * np.array([1.0, 2.0])
    values[:, 1] = np.nan
    low, middle, high = band(values, 0.9)
    np.testing.assert_allclose([low[0], middle[0], high[0]], [5.0, 50.0, 95.0])
    assert np.isnan([low[1], middle[1], high[1]]).all()
