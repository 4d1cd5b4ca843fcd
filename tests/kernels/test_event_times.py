from dataclasses import replace

import numpy as np
import pytest

from bayes_isa.kernels.evaluate import evaluate_curves, evaluate_terms, event_times

from .examples import EVENT_DAY, N, example, exposure, panels_of, parameters, timeline


def test_the_cumulative_hazard_at_the_day_found_is_the_target():
    panels, shape = example()
    at = parameters()
    of = exposure()
    whole = evaluate_terms(panels, shape, at).cumulative_hazard
    for share in (1e-3, 0.2, 0.5, 0.9, 0.999):
        day = event_times(panels, evaluate_curves(panels, shape, at), share * whole)
        assert np.all((day > 0.0) & (day <= EVENT_DAY))
        again = panels_of(timeline(of, event_day=day, visits=(np.array([]),) * N), of, shape, at)
        np.testing.assert_allclose(
            evaluate_terms(again, shape, at).cumulative_hazard, share * whole, rtol=2e-4, atol=2e-6
        )


def test_days_grow_with_their_targets():
    panels, shape = example()
    at = parameters()
    curves = evaluate_curves(panels, shape, at)
    whole = evaluate_terms(panels, shape, at).cumulative_hazard
    days = np.array([event_times(panels, curves, share * whole) for share in np.geomspace(1e-12, 1.0, 400)])
    assert np.all(np.diff(days, axis=0) >= -1e-9)


def test_tiny_targets_fall_on_the_first_panel():
    """Near day 0 the hazard is (s/Te)(t/Te)^(s-1) times a constant."""
    panels, shape = example("none")
    at = parameters(beta_link=0.0)
    target = np.full(N, 1e-7)
    day = event_times(panels, evaluate_curves(panels, shape, at), target)
    expected = at.te * (target * np.exp(-at.hazard_lp)) ** (1.0 / at.s)
    np.testing.assert_allclose(day, expected, rtol=2e-2)


def test_a_hazard_that_explodes_at_once_is_still_inverted():
    """H = exp(lp) log(1 + (t/Te)^s) without a link: closed form, at e^40 times the usual hazard."""
    panels, shape = example("none")
    at = parameters(beta_link=0.0)
    at = replace(at, hazard_lp=at.hazard_lp + 40.0)
    for target in (1e-3, 1.0, 20.0):
        day = event_times(panels, evaluate_curves(panels, shape, at), np.full(N, target))
        expected = at.te * np.expm1(target * np.exp(-at.hazard_lp)) ** (1.0 / at.s)
        np.testing.assert_allclose(day, expected, rtol=1e-3)
    at = replace(at, hazard_lp=at.hazard_lp + 400.0)
    day = event_times(panels, evaluate_curves(panels, shape, at), np.full(N, 1e-3))
    assert np.all((day > 0.0) & (day < 1e-60))


def test_targets_out_of_reach_and_out_of_meaning():
    panels, shape = example()
    curves = evaluate_curves(panels, shape, parameters())
    found = event_times(panels, curves, np.array([1e9, np.inf, np.nan, 0.0]))
    assert found[0] == np.inf
    assert found[1] == np.inf
    assert np.isnan(found[2])
    assert found[3] == pytest.approx(0.0, abs=0.05)  # the hazard is a polynomial on the first panel: an hour
