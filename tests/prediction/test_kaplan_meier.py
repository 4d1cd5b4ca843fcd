"""Kaplan-Meier curves of many samples at once, against lifelines."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_isa.prediction.kaplan_meier import kaplan_meier


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=25),
    st.lists(st.integers(0, 13), min_size=1, max_size=6),
)
def test_agrees_with_lifelines_ties_and_all(sample: list[tuple[int, bool]], at: list[int]) -> None:
    from lifelines import KaplanMeierFitter

    day = np.array([float(d) for d, _ in sample])
    event = np.array([e for _, e in sample])
    days = np.sort(np.array(at, dtype=float))
    expected = KaplanMeierFitter().fit(day, event).predict(days)
    both = kaplan_meier(np.stack([day, day[::-1]]), np.stack([event, event[::-1]]), days)
    np.testing.assert_allclose(both, np.stack([np.ravel(expected)] * 2), atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(2, 12), st.booleans(), st.floats(0.0, 0.99)), min_size=1, max_size=20),
    st.lists(st.integers(1, 13), min_size=1, max_size=6),
)
def test_late_entry_agrees_with_lifelines(sample: list[tuple[int, bool, float]], at: list[int]) -> None:
    from lifelines import KaplanMeierFitter

    # Three who are there throughout: lifelines refuses samples in which nobody is left at risk for a while.
    sample = [*sample, *[(13, False, 0.0)] * 3]
    day = np.array([float(d) for d, _, _ in sample])
    event = np.array([e for _, e, _ in sample])
    entry = np.array([np.round(share * (d - 1), 1) for d, _, share in sample])
    days = np.sort(np.array(at, dtype=float))
    found = kaplan_meier(day[None], event[None], days, entry)[0]
    fitted = KaplanMeierFitter().fit(day, event, entry=entry)
    np.testing.assert_allclose(found, np.ravel(fitted.predict(days)), atol=1e-12)
