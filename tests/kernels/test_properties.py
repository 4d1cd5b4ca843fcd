"""What must not change the likelihood, and how what must change it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_isa.kernels.evaluate import Parameters, Terms, evaluate_terms
from bayes_isa.kernels.hazard import make_shape
from bayes_isa.kernels.timeline import Timeline
from bayes_isa.pk import Doses, Exposure, constant_exposure, pk_exposure, typical_parameters

from .examples import EVENT_DAY, VISITS, exposure, panels_of, parameters, timeline

SHAPE = make_shape("slope", "loglogistic", "emax")
FEW = settings(max_examples=8, deadline=None)
SEEDS = st.integers(0, 10_000)


def terms_of(line: Timeline, of: Exposure, at: Parameters, tolerance: float = 1e-7) -> Terms:
    return evaluate_terms(panels_of(line, of, SHAPE, at, tolerance=tolerance), SHAPE, at)


def assert_same_terms(a: Terms, b: Terms, atol: float) -> None:
    for name in ("log_m", "cumulative_hazard", "log_event"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=0.0, atol=atol, err_msg=name)


def one_patient(amount: list[float], day: list[float], hours: list[float], until: float = 90.0) -> Exposure:
    pk = typical_parameters([70.0], [4.0], [1], [0], [0])
    return pk_exposure(pk, Doses(np.zeros(len(day), dtype=int), day, amount, hours), None, until)


def alone(
    of: Exposure, event_day: float = 75.3, visits: tuple[float, ...] = (0.0, 28.0, 56.0, 84.0)
) -> Timeline:
    return timeline(of, np.array([event_day]), (np.array(visits),))


@FEW
@given(seed=SEEDS, hours=st.floats(0.5, 8.0), share=st.floats(0.1, 0.9))
def test_an_infusion_in_two_parts_back_to_back(seed, hours, share):
    at = parameters(1, seed=seed)
    whole = one_patient([700.0, 700.0], [0.0, 14.0], [hours, hours])
    first = share * hours
    parts = one_patient(
        [share * 700.0, (1.0 - share) * 700.0, 700.0],
        [0.0, first / 24.0, 14.0],
        [first, hours - first, hours],
    )
    assert_same_terms(terms_of(alone(whole), whole, at), terms_of(alone(parts), parts, at), 1e-6)


@FEW
@given(seed=SEEDS, order=st.permutations(range(4)))
def test_patients_in_another_order(seed, order):
    at = parameters(seed=seed)
    of = exposure()
    ours = terms_of(timeline(of), of, at)

    class Permuted:
        breakpoints = None

        @staticmethod
        def evaluate(patient, day):
            return of.evaluate(np.asarray(order)[patient], day)

    breaks = [of.breakpoints.of(i) for i in order]
    visits = [VISITS[i] for i in order]
    line = Timeline(
        np.concatenate([[0], np.cumsum([b.size for b in breaks])]).astype(np.int64),
        np.concatenate(breaks),
        np.concatenate([[0], np.cumsum([v.size for v in visits])]).astype(np.int64),
        np.concatenate(visits),
        EVENT_DAY[list(order)],
    )
    shuffled = replace(at, phi=at.phi[list(order)], hazard_lp=at.hazard_lp[list(order)])
    theirs = terms_of(line, Permuted, shuffled)  # type: ignore[arg-type]
    np.testing.assert_allclose(theirs.cumulative_hazard, ours.cumulative_hazard[list(order)], rtol=1e-12)
    np.testing.assert_allclose(theirs.log_event, ours.log_event[list(order)], rtol=1e-12)
    offset = np.concatenate([[0], np.cumsum([v.size for v in VISITS])])
    rows = np.concatenate([np.arange(offset[i], offset[i + 1]) for i in order])
    np.testing.assert_allclose(theirs.log_m, ours.log_m[rows], rtol=1e-12)


@FEW
@given(seed=SEEDS)
def test_no_dose_and_no_sensitivity_leave_plain_growth(seed):
    at = parameters(1, seed=seed)
    untreated = one_patient([0.0], [0.0], [1.0])
    treated = one_patient([700.0], [0.0], [1.0])
    insensitive = replace(at, phi=at.phi.copy())
    insensitive.phi[0, 4] = np.log(1e300)
    days = np.array([0.0, 28.0, 56.0, 84.0])
    growth = at.phi[0, 0] + np.exp(at.phi[0, 1]) * days
    without = terms_of(alone(untreated), untreated, at)
    np.testing.assert_allclose(without.log_m, growth, rtol=1e-13)
    assert_same_terms(terms_of(alone(treated), treated, insensitive), without, 1e-6)


@FEW
@given(seed=SEEDS, extra=st.lists(st.floats(0.001, 89.0), min_size=1, max_size=5))
def test_redundant_breakpoints(seed, extra):
    at = parameters(1, seed=seed)
    of = one_patient([700.0, 700.0], [0.0, 14.0], [3.7, 1.85])
    line = alone(of)
    more = np.union1d(of.breakpoints.of(0), extra)
    cut = replace(line, break_offset=np.array([0, more.size]), break_day=more)
    assert_same_terms(terms_of(line, of, at), terms_of(cut, of, at), 1e-6)


@FEW
@given(seed=SEEDS, day=st.floats(0.1, 88.0))
def test_one_more_measurement_changes_no_other_term(seed, day):
    at = parameters(1, seed=seed)
    of = one_patient([700.0, 700.0], [0.0, 14.0], [3.7, 1.85])
    visits = (0.0, 28.0, 56.0, 84.0)
    more = tuple(sorted({*visits, day}))
    kept = [more.index(v) for v in visits]
    ours, theirs = terms_of(alone(of), of, at), terms_of(alone(of, visits=more), of, at)
    assert_same_terms(ours, replace(theirs, log_m=theirs.log_m[kept]), 1e-6)


@FEW
@given(seed=SEEDS, delay=st.floats(1.0, 30.0))
def test_treatment_that_starts_later_acts_later(seed, delay):
    """Without loss of effect (R -> 0) a course shifted in time does the same, that much later."""
    at = parameters(1, seed=seed)
    at.phi[0, 3] = -np.inf
    now, later = one_patient([700.0], [0.0], [2.0]), one_patient([700.0], [delay], [2.0], 130.0)
    ours = terms_of(alone(now), now, at, 1e-8)
    shifted = terms_of(
        alone(later, 75.3 + delay, tuple(delay + np.array([0.0, 28.0, 56.0, 84.0]))), later, at, 1e-8
    )
    growth = np.exp(at.phi[0, 1]) * delay
    # Clearance of isatuximab counts its time from the first dose, so that the concentrations are the same.
    np.testing.assert_allclose(shifted.log_m, ours.log_m + growth, atol=1e-6)


@FEW
@given(seed=SEEDS, r=st.floats(1e-4, 0.5))
def test_constant_exposure_is_the_claret_model(seed, r):
    """J = (1 - exp(-R t)) / R while on treatment, constant after it."""
    at = parameters(1, seed=seed)
    at.phi[0, 3:] = np.log(r), -np.inf
    stop = 60.0
    of = constant_exposure(1, 0.0, stop)
    days = np.array([0.0, 28.0, 56.0, 84.0])
    j = (1.0 - np.exp(-r * np.minimum(days, stop))) / r
    expected = at.phi[0, 0] + np.exp(at.phi[0, 1]) * days - np.exp(at.phi[0, 2]) * j
    np.testing.assert_allclose(terms_of(alone(of), of, at).log_m, expected, atol=1e-8)


def test_no_link_gives_the_closed_form_of_the_hazard():
    of = one_patient([700.0], [0.0], [2.0])
    shape = make_shape("none", "loglogistic", "emax")
    at = replace(parameters(1), beta_link=0.0)
    found = evaluate_terms(panels_of(alone(of), of, shape, at, tolerance=1e-9), shape, at)
    ratio = (75.3 / at.te) ** at.s
    assert found.cumulative_hazard[0] == pytest.approx(np.exp(at.hazard_lp[0]) * np.log1p(ratio), rel=1e-8)


def test_panels_cover_each_time_line_without_gaps_and_end_at_what_is_asked_for():
    of = exposure()
    panels = panels_of(timeline(of), of, SHAPE, parameters())
    design = panels.design
    for i in range(EVENT_DAY.size):
        own = slice(design.panel_offset[i], design.panel_offset[i + 1])
        start, end = panels.panel_start[own], panels.panel_end[own]
        assert start[0] == 0.0
        assert np.all(start[1:] == end[:-1])
        asked = np.append(VISITS[i][VISITS[i] > 0.0], EVENT_DAY[i])
        assert np.isin(asked, end).all()
    np.testing.assert_allclose(design.node_weight.sum(), (panels.panel_end - panels.panel_start).sum())
    assert np.all(panels.error <= panels.tolerance)
