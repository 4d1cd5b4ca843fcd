"""Response rules on trajectories drawn by hand, one rule at a time."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_isa.simulation.response import CATEGORIES, assess


def one(*values, seen=None, confirmed=True):
    """Category and the three visits of one trajectory in g/L."""
    m = np.array([values], dtype=float)
    n_seen = np.array([len(values) if seen is None else seen])
    response = assess(m, n_seen, confirmed=confirmed)
    visits = tuple(int(v[0]) for v in response[1:])
    return CATEGORIES[response.best[0]], *visits


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # (best, first of PR or better, first VGPR, first PD)
        ((40, 4, 4), ("VGPR", 1, 1, -1)),  # exactly 90 % twice
        ((40, 4, 4.01), ("PR", 1, -1, -1)),  # not confirmed: the better half counts as PR
        ((40, 20, 20), ("PR", 1, -1, -1)),  # exactly 50 % twice
        ((40, 20, 20.1, 20), ("MR", -1, -1, -1)),  # never twice in a row
        ((40, 30, 30), ("MR", -1, -1, -1)),  # exactly 25 %
        ((40, 30, 30.1), ("SD", -1, -1, -1)),
        ((40, 39, 15, 3, 3), ("VGPR", 2, 3, -1)),  # PR at 15 g/L confirmed by 3 g/L
        ((40, 40, 40), ("SD", -1, -1, -1)),
        ((40, 30), ("NE", -1, -1, -1)),  # one visit cannot be confirmed
        ((40,), ("NE", -1, -1, -1)),
        ((40, 50, 50), ("PD", -1, -1, 1)),  # exactly 25 % above baseline
        ((40, 49.9, 60), ("SD", -1, -1, -1)),  # 49.9 is no PD, 60 is not confirmed
        ((40, 50, 49, 50, 50), ("PD", -1, -1, 3)),  # confirmed only the second time
        ((40, 20, 20, 25, 25), ("PR", 1, -1, 3)),  # 25 % and 5 g/L above the nadir of 20
        ((10, 10, 14.9, 14.9), ("SD", -1, -1, -1)),  # 49 %, but less than 5 g/L
        ((10, 10, 15, 15), ("PD", -1, -1, 2)),
        ((60, 60, 69.9, 69.9, 75, 75), ("PD", -1, -1, 4)),  # high nadir: 25 % is 15 g/L, above 10 g/L
        ((60, 50, 62.5, 62.5), ("PD", -1, -1, 2)),  # nadir 50: 25 % is 12.5 g/L
        ((40, 60, 60, 3, 3), ("PD", -1, -1, 1)),  # a response after PD does not count
        ((40, 20, 27, 20, 20), ("PR", 3, -1, -1)),  # the nadir is 20: 27 is one visit of PD, not two
        ((40, 20, 19, 25, 25), ("PR", 1, -1, 3)),
        ((40, 19, 25, 24), ("PD", -1, -1, 2)),  # nadir 19, bound 24; one visit of PR before it
    ],
)
def test_rules(values, expected):
    assert one(*values) == expected


def test_nadir_is_the_lowest_value_before_the_rise():
    """A slow rise: each step is below 25 % of the one before, together they are above the nadir's."""
    assert one(40, 20, 20, 23, 26, 29) == ("PR", 1, -1, 4)


def test_only_visits_seen_count():
    assert one(40, 3, 3, 60, 60, seen=2) == ("NE", -1, -1, -1)
    assert one(40, 3, 3, 60, 60, seen=3) == ("VGPR", 1, 1, -1)
    assert one(40, 3, 3, 60, 60, seen=4) == ("VGPR", 1, 1, -1)  # PD not confirmed yet
    assert one(40, 3, 3, 60, 60, seen=5) == ("VGPR", 1, 1, 3)


def test_without_confirmation():
    assert one(40, 3, 41, confirmed=False) == ("VGPR", 1, 1, 2)
    assert one(40, 39, confirmed=False) == ("SD", -1, -1, -1)
    assert one(40, confirmed=False) == ("NE", -1, -1, -1)


def test_shapes_and_growth_beyond_any_scale():
    m = np.full((2, 3, 4, 6), 10.0)
    m[0, 0, 0, 2:] = np.inf
    response = assess(m, np.full((2, 3, 4), 6))
    assert response.best.shape == (2, 3, 4)
    assert CATEGORIES[response.best[0, 0, 0]] == "PD"
    assert response.progression_visit[0, 0, 0] == 2
    assert (response.best.ravel()[1:] == CATEGORIES.index("SD")).all()


def test_scale_free_above_the_absolute_bounds():
    """Responses depend on ratios alone; so does PD where 25 % of the nadir is above 10 g/L."""
    m = np.random.default_rng(1).lognormal(0.0, 0.6, (200, 8))
    few, many = assess(1e3 * m, np.full(200, 8)), assess(1e5 * m, np.full(200, 8))
    for a, b in zip(few, many, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(set(few.best.tolist())) >= 4
