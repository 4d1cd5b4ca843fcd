"""Events between visits and delayed entry: derivatives, limits, and what they cost those who have neither."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_isa.kernels.evaluate import Parameters, evaluate_curves, evaluate_terms, event_times
from bayes_isa.kernels.hazard import make_shape
from bayes_isa.kernels.timeline import Timeline
from bayes_isa.kernels.trajectory import EVENT_PARTIALS

from .examples import EVENT_DAY, N, example, exposure, panels_of, parameters, timeline
from .test_trajectory import moved

SHAPE = make_shape("slope", "loglogistic", "emax")
# An interval from day 0, one within follow-up after a late entry, a late entry alone, none of it.
ENTRY = np.array([0.0, 14.0, 20.5, 0.0])
FREE = np.array([0.0, 35.5, 84.0, 30.2])
FEW = settings(max_examples=8, deadline=None)


def kinds(entry: np.ndarray = ENTRY, free: np.ndarray = FREE) -> Timeline:
    return replace(timeline(exposure()), entry_day=entry, free_day=free)


def cumulated(at: Parameters, day: np.ndarray) -> np.ndarray:
    """Hazard cumulated to each patient's `day`, from a trial that ends there; 0 on day 0."""
    of = exposure()
    line = timeline(of, np.maximum(day, 1e-3))
    found = evaluate_terms(panels_of(line, of, SHAPE, at), SHAPE, at).cumulative_hazard
    return np.where(day > 0.0, found, 0.0)


@pytest.mark.parametrize(
    "model", [("slope", "loglogistic"), ("log_value", "weibull"), ("none", "exponential")], ids="-".join
)
def test_derivatives_agree_with_finite_differences(model):
    shape = make_shape(*model, "emax")
    beta = {"slope": 6.65, "log_value": 0.7, "none": 0.0}[model[0]]
    at = replace(parameters(beta_link=beta), s=1.0 if model[1] == "exponential" else 1.56)
    of = exposure()
    panels = panels_of(kinds(), of, shape, at)
    terms = evaluate_terms(panels, shape, at)
    for column, name in enumerate(EVENT_PARTIALS):
        step = 1e-3 if name == "Te" else 1e-5
        up, down = (evaluate_terms(panels, shape, moved(at, name, sign * step)) for sign in (1.0, -1.0))
        for value, by in (("cumulative_hazard", terms.by_cumulative), ("log_event", terms.by_log_event)):
            numeric = (getattr(up, value) - getattr(down, value)) / (2.0 * step)
            np.testing.assert_allclose(
                by[:, column], numeric, rtol=2e-6, atol=2e-8, err_msg=f"{value} {name}"
            )


def test_terms_are_differences_of_survival():
    at = parameters()
    of = exposure()
    terms = evaluate_terms(panels_of(kinds(), of, SHAPE, at), SHAPE, at)
    entry, free, end = (cumulated(at, day) for day in (ENTRY, FREE, EVENT_DAY))
    np.testing.assert_allclose(terms.cumulative_hazard, free - entry, rtol=1e-6, atol=1e-9)
    interval = FREE < EVENT_DAY
    likelihood = np.log(np.maximum(np.exp(-free) - np.exp(-end), 1e-300)) + entry
    found = terms.log_event - terms.cumulative_hazard
    np.testing.assert_allclose(found[interval], likelihood[interval], rtol=1e-6)
    plain = evaluate_terms(*example(), at)
    np.testing.assert_allclose(terms.log_event[~interval], plain.log_event[~interval], rtol=1e-10)


@FEW
@given(seed=st.integers(0, 10_000), widths=st.floats(1e-4, 1e-2))
def test_a_shrinking_interval_tends_to_the_exact_time(seed, widths):
    """log[S(T - w) - S(T)] - log w -> log h(T) - H(T), with an error of first order in w."""
    at = parameters(seed=seed)
    of = exposure()
    plain = evaluate_terms(panels_of(timeline(of), of, SHAPE, at), SHAPE, at)
    exact = plain.log_event - plain.cumulative_hazard
    errors = []
    for width in (widths, widths / 4.0):
        line = kinds(np.zeros(N), EVENT_DAY - width)
        terms = evaluate_terms(panels_of(line, of, SHAPE, at), SHAPE, at)
        errors.append(np.abs(terms.log_event - terms.cumulative_hazard - np.log(width) - exact))
    assert np.all(errors[0] < 50.0 * widths + 1e-5)
    assert np.all(errors[1] < 0.5 * errors[0] + 1e-5)


@FEW
@given(seed=st.integers(0, 10_000), share=st.floats(0.01, 0.99))
def test_two_halves_of_an_interval_make_the_whole(seed, share):
    at = parameters(seed=seed)
    of = exposure()
    middle = FREE[1] + share * (EVENT_DAY[1] - FREE[1])
    ends = [(FREE[1], EVENT_DAY[1]), (FREE[1], middle), (middle, EVENT_DAY[1])]
    probability = []
    for free, end in ends:
        days, frees = EVENT_DAY.copy(), FREE.copy()
        days[1], frees[1] = end, free
        line = replace(timeline(of, days), entry_day=ENTRY, free_day=frees)
        terms = evaluate_terms(panels_of(line, of, SHAPE, at), SHAPE, at)
        probability.append(np.exp(terms.log_event[1] - terms.cumulative_hazard[1]))
    assert probability[0] == pytest.approx(probability[1] + probability[2], rel=1e-6)


def test_entry_at_day_0_and_an_exact_day_change_nothing():
    """Not a node, not a bit: trials without intervals and delayed entry cost what they did."""
    panels, shape = example()
    of = exposure()
    same = panels_of(kinds(np.zeros(N), EVENT_DAY.copy()), of, SHAPE, parameters())
    for ours, theirs in zip(panels.design, same.design, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not panels.design.entry_panels.any()
    np.testing.assert_array_equal(panels.design.free_panels, panels.design.hazard_panels)
    terms, others = (evaluate_terms(p, shape, parameters()) for p in (panels, same))
    np.testing.assert_array_equal(terms.by_cumulative, others.by_cumulative)


def test_panels_end_on_entry_and_on_both_ends_of_an_interval():
    of = exposure()
    panels = panels_of(kinds(), of, SHAPE, parameters())
    design = panels.design
    for i in range(N):
        ends = panels.panel_end[design.panel_offset[i] : design.panel_offset[i + 1]]
        assert np.isin([day for day in (ENTRY[i], FREE[i], EVENT_DAY[i]) if day > 0.0], ends).all()


def test_curves_and_event_times_start_at_entry():
    at = parameters()
    of = exposure()
    panels = panels_of(kinds(free=EVENT_DAY), of, SHAPE, at)
    curves, terms = evaluate_curves(panels, SHAPE, at), evaluate_terms(panels, SHAPE, at)
    design = panels.design
    at_entry = (design.panel_offset[:-1] + design.entry_panels - 1)[design.entry_panels > 0]
    assert not curves.hazard_end[at_entry].any()
    at_event = design.panel_offset[:-1] + design.hazard_panels - 1
    np.testing.assert_allclose(curves.hazard_end[at_event], terms.cumulative_hazard, rtol=1e-12)
    for share in (1e-9, 0.5, 1.0 - 1e-9):
        day = event_times(panels, curves, share * terms.cumulative_hazard)
        assert np.all((day >= ENTRY) & (day <= EVENT_DAY))


def test_an_interval_that_is_certain_or_hopeless_stays_finite():
    of = exposure()
    for lp in (-60.0, 8.0):
        at = replace(parameters(), hazard_lp=np.full(N, lp))
        panels = panels_of(kinds(), of, SHAPE, parameters())
        terms = evaluate_terms(panels, SHAPE, at)
        assert np.isfinite(terms.log_event).all()
        assert np.isfinite(terms.by_log_event).all()
        within = cumulated(replace(at, hazard_lp=np.zeros(N)), EVENT_DAY) * np.exp(lp)
        if lp < 0.0:
            assert terms.log_event[0] == pytest.approx(np.log(within[0]), rel=1e-6)
