from dataclasses import replace

import numpy as np
import pytest
from numpy.polynomial import Polynomial

from bayes_isa.kernels.design import nodes_of
from bayes_isa.kernels.evaluate import (
    Parameters,
    evaluate_curves,
    evaluate_terms,
    log_m_at_measurements,
)
from bayes_isa.kernels.quadrature import ORDERS
from bayes_isa.kernels.strips import LANES
from bayes_isa.kernels.trajectory import EVENT_PARTIALS, MARKER_PARTIALS, pull_back

from .examples import N, example, parameters

SCALES = {"slope": 6.65, "value": 0.05, "log_value": 0.7, "relative_slope": 80.0, "none": 0.0}
MODELS = [(link, "loglogistic", "emax") for link in SCALES] + [
    ("slope", "weibull", "emax"),
    ("slope", "exponential", "linear"),
    ("value", "loglogistic", "linear"),
]


def moved(at: Parameters, name: str, by: float) -> Parameters:
    """`at` with one parameter of every patient moved: an individual one on its log scale."""
    if name in MARKER_PARTIALS[:5]:
        phi = at.phi.copy()
        phi[:, MARKER_PARTIALS.index(name)] += by
        return replace(at, phi=phi)
    field = {"k": "k", "hazard_lp": "hazard_lp", "beta_link": "beta_link", "Te": "te", "s": "s"}[name]
    return replace(at, **{field: getattr(at, field) + by})


@pytest.mark.parametrize("model", MODELS, ids="-".join)
def test_derivatives_agree_with_finite_differences(model):
    link, hazard, _ = model
    panels, shape = example(*model)
    at = replace(parameters(beta_link=SCALES[link]), s=1.0 if hazard == "exponential" else 1.56)
    if model[2] == "linear":
        at = replace(at, phi=at.phi + np.array([0.0, 0.0, 0.0, 0.0, 1.0]))
    terms = evaluate_terms(panels, shape, at)
    for column, name in enumerate(EVENT_PARTIALS):
        step = 1e-3 if name == "Te" else 1e-5
        up, down = (evaluate_terms(panels, shape, moved(at, name, sign * step)) for sign in (1.0, -1.0))
        for value, by in (("cumulative_hazard", terms.by_cumulative), ("log_event", terms.by_log_event)):
            numeric = (getattr(up, value) - getattr(down, value)) / (2.0 * step)
            np.testing.assert_allclose(
                by[:, column], numeric, rtol=2e-6, atol=2e-8, err_msg=f"{value} by {name}"
            )
        if name in MARKER_PARTIALS:
            numeric = (up.log_m - down.log_m) / (2.0 * step)
            own = terms.by_marker[:, MARKER_PARTIALS.index(name)]
            np.testing.assert_allclose(own, numeric, rtol=2e-6, atol=2e-8, err_msg=f"log M by {name}")


@pytest.mark.parametrize("model", MODELS, ids="-".join)
def test_curves_agree_with_terms(model):
    panels, shape = example(*model)
    at = parameters(beta_link=SCALES[model[0]])
    terms, curves = evaluate_terms(panels, shape, at), evaluate_curves(panels, shape, at)
    np.testing.assert_allclose(log_m_at_measurements(panels, curves, at), terms.log_m, rtol=1e-12)
    last = panels.design.panel_offset[1:] - 1
    np.testing.assert_allclose(curves.hazard_end[last], terms.cumulative_hazard, rtol=1e-12)


def test_hazard_at_the_event_is_the_limit_of_the_curve():
    panels, shape = example()
    terms, curves = evaluate_terms(panels, shape, parameters()), evaluate_curves(panels, shape, parameters())
    design = panels.design
    for i in range(N):
        last = design.place[design.panel_offset[i] + design.hazard_panels[i] - 1]
        first, order = nodes_of.py_func(design.strips[i], last)
        nodes = design.node_offset[i] + first + LANES * np.arange(order)
        day, log_hazard = design.node_day[nodes], np.log(curves.node_hazard[nodes])
        assert np.all(day < design.event_day[i])
        extrapolated = Polynomial.fit(day, log_hazard, order - 1)(design.event_day[i])
        assert extrapolated == pytest.approx(terms.log_event[i], abs=1e-3)


def test_patients_without_measurements_and_panels_after_the_event():
    panels, _ = example()
    design = panels.design
    assert design.measurement_offset.tolist() == [0, 6, 9, 10, 10]
    total = np.diff(design.panel_offset)
    assert (design.hazard_panels < total).tolist() == [True, False, False, False]
    assert panels.panel_end[design.panel_offset[1:] - 1].tolist() == [140.0, 63.5, 84.0, 30.2]
    curves = evaluate_curves(*example(), parameters())
    until = LANES * np.array(ORDERS) @ design.strips[0, : len(ORDERS)]
    assert until < design.node_offset[1]
    assert not curves.node_hazard[until : design.node_offset[1]].any()


def test_pull_back_is_the_product_with_the_jacobian():
    panels, shape = example()
    terms = evaluate_terms(panels, shape, parameters())
    rng = np.random.default_rng(3)
    design = panels.design
    to_log_m = rng.standard_normal(design.measurement_day.size)
    to_cumulative, to_log_event = rng.standard_normal((2, N))
    individual, shared = np.full((N, 6), np.nan), np.full(4, np.nan)
    pull_back(
        design,
        to_log_m,
        to_cumulative,
        to_log_event,
        terms.by_marker,
        terms.by_cumulative,
        terms.by_log_event,
        individual,
        shared,
    )
    patient = np.repeat(np.arange(N), np.diff(design.measurement_offset))
    of_event = to_cumulative[:, None] * terms.by_cumulative + to_log_event[:, None] * terms.by_log_event
    of_marker = np.zeros((N, 6))
    np.add.at(of_marker, patient, to_log_m[:, None] * terms.by_marker)
    np.testing.assert_allclose(individual[:, :5], of_event[:, :5] + of_marker[:, :5], rtol=1e-12)
    np.testing.assert_allclose(individual[:, 5], of_event[:, 6], rtol=1e-12)
    np.testing.assert_allclose(shared[0], of_event[:, 5].sum() + of_marker[:, 5].sum(), rtol=1e-12)
    np.testing.assert_allclose(shared[1:], of_event[:, 7:].sum(axis=0), rtol=1e-12)


def test_an_exploding_patient_leaves_the_others_alone():
    panels, shape = example()
    wild = parameters()
    wild.phi[0] = np.log([50.0, 2.0, 0.01, 0.1, 100.0])
    ours, theirs = evaluate_terms(panels, shape, parameters()), evaluate_terms(panels, shape, wild)
    assert theirs.cumulative_hazard[0] == np.inf
    np.testing.assert_array_equal(theirs.cumulative_hazard[1:], ours.cumulative_hazard[1:])
    np.testing.assert_array_equal(theirs.by_cumulative[1:], ours.by_cumulative[1:])
