"""The K-PD model of isatuximab against an ODE solver, and what a linear model must do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from bayes_isa.errors import DataError
from bayes_isa.pk import KPD_HALF_LIFE_DAY, Doses, kpd_exposure, mean_exposure, solve_kpd

KDE = np.log(2.0) / KPD_HALF_LIFE_DAY
# Overlapping infusions, a dose without duration, one before day 0.
DOSES = Doses(
    [0] * 5, [-3.0, 0.0, 0.05, 14.0, 28.0], [300.0, 750.0, 500.0, 750.0, 100.0], [1.0, 3.7, 2.0, 0.0, 1.25]
)

doses = st.lists(
    st.tuples(st.floats(-2, 60), st.floats(0, 2000), st.sampled_from([0.0, 1.25, 3.7, 48.0])),
    min_size=1,
    max_size=8,
)


def solved(history: list[tuple[float, float, float]], factor: float = 1.0):
    day, amount, duration = np.array(history).T
    return solve_kpd(1, Doses(np.zeros(day.size, dtype=int), day, factor * amount, duration))


def by_solve_ivp(given: Doses, query: np.ndarray) -> np.ndarray:
    """KDE A by DOP853, restarted at every dose and end of infusion; values at doses are those just before."""
    day, amount, duration = (np.asarray(x, dtype=float) for x in given[1:])
    end = day + duration / 24.0
    edges = np.unique(np.concatenate([day, end, [query[-1]]]))
    state, out = np.zeros(1), np.zeros(query.size)
    for a, b in pairwise(edges):
        state = state + amount[(day == a) & (duration == 0.0)].sum()
        running = (day <= a) & (end > a)
        inflow = np.sum(amount[running] / (end - day)[running])
        inside = (query > a) & (query <= b)
        solution = solve_ivp(
            lambda t, A, inflow=inflow: inflow - KDE * A,
            (a, b),
            state,
            method="DOP853",
            rtol=1e-11,
            atol=1e-9,
            t_eval=np.union1d(query[inside], b),
        )
        out[inside] = KDE * solution.y[0, np.searchsorted(solution.t, query[inside])]
        state = solution.y[:, -1]
    return out


def test_it_is_the_solution_of_its_equation() -> None:
    query = np.sort(np.concatenate([np.linspace(-2.9, 90.0, 61), [0.0, 0.08, 0.1, 14.0, 28.02]]))
    found = solve_kpd(1, DOSES).driver(0, query)
    np.testing.assert_allclose(found, by_solve_ivp(DOSES, query), rtol=1e-8, atol=1e-9)


def test_the_mean_is_the_integral() -> None:
    exposure = kpd_exposure(1, DOSES, None, 90.0)
    for until in (0.1, 10.0, 14.0, 90.0):
        cuts = exposure.breakpoints.of(0)
        expected, _ = quad(
            lambda t: exposure.evaluate(0, t)[0][0],
            0.0,
            until,
            points=cuts[(cuts > 0) & (cuts < until)],
            limit=200,
        )
        assert mean_exposure(exposure, until)[0][0] == pytest.approx(expected / until, rel=1e-8)


def test_it_halves_in_its_half_life_and_averages_the_dose_rate() -> None:
    days = np.arange(0.0, 2000.0, 14.0)
    solution = solve_kpd(1, Doses(np.zeros(days.size, dtype=int), days, 750.0, 1.25), half_life_day=20.0)
    after = days[-1] + 1.0
    first, second = solution.driver(0, [after, after + 20.0])
    assert second == pytest.approx(first / 2.0, rel=1e-12)
    steady = solution.mean_driver(1400.0)[0] * 1400.0 - solution.mean_driver(700.0)[0] * 700.0
    assert steady / 700.0 == pytest.approx(750.0 / 14.0, rel=1e-6)


@settings(deadline=None)
@given(doses, st.floats(0, 100))
def test_doubling_doses_doubles_the_driver(history, t) -> None:
    one, two = solved(history), solved(history, 2.0)
    np.testing.assert_allclose(two.driver(0, t), 2.0 * one.driver(0, t), rtol=1e-10, atol=1e-9)
    assert one.driver(0, t)[0] >= 0.0


@settings(deadline=None)
@given(doses, st.floats(0.1, 0.9), st.floats(0, 100))
def test_a_dose_may_be_split(history, share, t) -> None:
    """Two doses at once are one dose; an infusion cut in two is that infusion."""
    at_once, in_turn = [], []
    for d, a, h in history:
        at_once += [(d, share * a, h), (d, (1.0 - share) * a, h)]
        in_turn += [(d, share * a, share * h), (d + share * h / 24.0, (1.0 - share) * a, (1.0 - share) * h)]
    expected = solved(history).driver(0, t)
    for split in (at_once, in_turn):
        np.testing.assert_allclose(solved(split).driver(0, t), expected, rtol=1e-9, atol=1e-7)


def test_without_doses_nothing_happens() -> None:
    solution = solve_kpd(2, Doses([1], [5.0], [0.0], [1.0]))
    np.testing.assert_array_equal(solution.driver([0, 1, 1], [10.0, 4.0, 10.0]), 0.0)
    np.testing.assert_array_equal(solution.mean_driver(10.0), 0.0)


def test_what_is_impossible_is_refused() -> None:
    with pytest.raises(DataError, match="half-life"):
        solve_kpd(1, DOSES, half_life_day=0.0)
    with pytest.raises(DataError, match="amounts"):
        solve_kpd(1, Doses([0], [0.0], [-1.0], [1.0]))
