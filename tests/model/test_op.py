"""The Ops under PyTensor: gradients, disconnected outputs, both ways of running them."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from kernels.examples import N, example, parameters
from pytensor.gradient import verify_grad

from bayes_isa.kernels.evaluate import evaluate_terms
from bayes_isa.model.op import JointTrajectory, MeasurementTerm, design_inputs


@pytest.fixture(scope="module")
def joint():
    """(phi, k, lp, beta_link, Te, s) -> outputs, and values of the inputs."""
    panels, shape = example()
    op = JointTrajectory(shape)
    arrays = design_inputs(panels.design)

    def call(*inputs):
        return op(*inputs, *arrays)

    return call, [np.asarray(x) for x in parameters().as_arguments()]


def weighted(call):
    """A scalar that mixes the three outputs with fixed weights; times scaled so that all inputs are of order 1."""
    rng = np.random.default_rng(5)
    weights = [rng.standard_normal(n) for n in (10, N, N)]

    def scalar(phi, k, lp, beta_link, te, s):
        outputs = call(phi, k, lp, beta_link, 272.0 * te, s)[:3]
        return pt.add(*[pt.sum(w * out) for w, out in zip(weights, outputs, strict=True)])

    return scalar


def scaled(values):
    return [values[0], values[1], values[2], values[3], values[4] / 272.0, values[5]]


def test_gradient_of_the_trajectory(joint):
    call, values = joint
    verify_grad(
        weighted(call), scaled(values), rng=np.random.default_rng(1), mode="NUMBA", abs_tol=1e-4, rel_tol=1e-4
    )


def test_gradient_agrees_with_finite_differences_without_numba_mode(joint):
    call, values = joint
    inputs = [pt.dmatrix(), pt.dscalar(), pt.dvector(), pt.dscalar(), pt.dscalar(), pt.dscalar()]
    cost = weighted(call)(*inputs)
    function = pytensor.function(inputs, [cost, *pytensor.grad(cost, inputs)], mode="FAST_COMPILE")
    at = scaled(values)
    gradient = function(*at)[1:]
    rng = np.random.default_rng(2)
    direction = [rng.standard_normal(np.shape(x)) for x in at]
    step = 1e-6
    ends = [
        float(function(*(x + sign * step * d for x, d in zip(at, direction, strict=True)))[0])
        for sign in (1.0, -1.0)
    ]
    along = sum(float(np.sum(g * d)) for g, d in zip(gradient, direction, strict=True))
    assert along == pytest.approx((ends[0] - ends[1]) / (2.0 * step), rel=1e-6)


def test_values_are_the_kernels(joint):
    call, values = joint
    panels, shape = example()
    terms = evaluate_terms(panels, shape, parameters())
    inputs = [pt.dmatrix(), pt.dscalar(), pt.dvector(), pt.dscalar(), pt.dscalar(), pt.dscalar()]
    found = pytensor.function(inputs, call(*inputs), mode="FAST_COMPILE")(*values)
    for name, value in zip(vars(terms), found, strict=True):
        np.testing.assert_allclose(value, getattr(terms, name), rtol=1e-13, err_msg=name)


def test_one_output_alone_has_a_gradient(joint):
    """The other outputs are disconnected from the cost then."""
    call, values = joint
    phi = pt.dmatrix()
    rest = [pt.constant(v) for v in values[1:]]
    panels, shape = example()
    terms = evaluate_terms(panels, shape, parameters())
    gradient = pytensor.grad(call(phi, *rest)[1].sum(), phi)
    found = pytensor.function([phi], gradient, mode="FAST_COMPILE")(values[0])
    np.testing.assert_allclose(found, terms.by_cumulative[:, :5], rtol=1e-12)


def test_what_there_is_no_gradient_of(joint):
    call, values = joint
    phi = pt.dmatrix()
    outputs = call(phi, *[pt.constant(v) for v in values[1:]])
    with pytest.raises(NotImplementedError, match="second derivatives"):
        pytensor.grad(outputs[3].sum(), phi)
    with pytest.raises(TypeError, match="phi"):
        call(pt.dvector(), *[pt.constant(v) for v in values[1:]])


def test_shapes_are_known_without_running(joint):
    call, values = joint
    phi = pt.dmatrix()
    outputs = call(phi, *[pt.constant(v) for v in values[1:]])
    shapes = pytensor.function([phi], [out.shape for out in outputs], mode="FAST_RUN")(values[0])
    assert [tuple(shape) for shape in shapes] == [(10,), (N,), (N,), (10, 6), (N, 10), (N, 10)]


@pytest.mark.parametrize("nu", [np.inf, 4.0])
def test_gradient_of_the_measurement_term(nu):
    value = np.array([0.5, 27.0, 3.0, 0.5])
    below = np.array([True, False, False, True])

    def term(log_m, log_add, log_prop, log_scale):
        residual = (pt.exp(log_add), pt.exp(log_prop), nu * pt.exp(log_scale) if np.isfinite(nu) else nu)
        return MeasurementTerm()(log_m, value, below, *residual)[0].sum() + 0.0 * log_scale

    at = [np.array([-0.3, 3.4, 0.8, 2.0]), np.log(0.45), np.log(0.08), np.array(0.0)]
    verify_grad(term, at, rng=np.random.default_rng(1), mode="NUMBA", abs_tol=1e-4, rel_tol=1e-4)


def test_measurement_term_refuses_second_derivatives_and_odd_shapes():
    log_m = pt.dvector()
    term, partial = MeasurementTerm()(log_m, np.ones(2), np.zeros(2, dtype=bool), 0.4, 0.08, np.inf)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        pytensor.grad(partial.sum() + term.sum(), log_m)
    with pytest.raises(TypeError, match="vectors"):
        MeasurementTerm()(pt.dscalar(), np.ones(2), np.zeros(2, dtype=bool), 0.4, 0.08, np.inf)
