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
