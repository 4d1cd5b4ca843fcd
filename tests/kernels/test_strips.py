import numpy as np
import pytest
from numba import njit

from bayes_isa.kernels.quadrature import ORDERS, gauss_legendre
from bayes_isa.kernels.strips import LANES, integral_to_nodes, owed_by_nodes, plain_sum, weighted_sum

STRIPS = 3


def on_strips(function, n_arrays):
    """Calls `function` on each of some strips, with slots and nodes that do not begin at 0."""
    if n_arrays == 2:

        @njit
        def call(order, into, values):
            for strip in range(1, STRIPS):
                function(order, (into, values), LANES * strip, LANES * order * strip)

        return call

    @njit
    def call_three(order, into, first, values):
        for strip in range(1, STRIPS):
            function(order, (into, first, values), LANES * strip, LANES * order * strip)

    return call_three


def by_strip(values, order):
    """(strip, node, lane)"""
    return values.reshape(STRIPS, order, LANES)


@pytest.fixture(params=ORDERS)
def order(request):
    return request.param


@pytest.fixture
def nodes(order):
    rng = np.random.default_rng(order)
    return rng.normal(size=(2, STRIPS * order * LANES))


def test_sums_over_the_nodes_of_a_panel(order, nodes):
    weighted, plain = np.full((2, STRIPS * LANES), 7.0)
    on_strips(weighted_sum, 3)(order, weighted, *nodes)
    on_strips(plain_sum, 2)(order, plain, nodes[0])
    expected = by_strip(nodes[0] * nodes[1], order).sum(axis=1), by_strip(nodes[0], order).sum(axis=1)
    for found, sums in zip((weighted, plain), expected, strict=True):
        assert np.all(found[:LANES] == 7.0)
        np.testing.assert_allclose(found[LANES:].reshape(-1, LANES), sums[1:], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(("function", "transposed"), [(integral_to_nodes, False), (owed_by_nodes, True)])
def test_products_with_the_quadrature_matrix(order, nodes, function, transposed):
    share = gauss_legendre(order).share
    matrix = share.T if transposed else share
    start = np.random.default_rng(0).normal(size=STRIPS * LANES)
    into = np.full(nodes[0].size, 7.0)
    on_strips(function, 3)(order, into, start, nodes[0])
    expected = start.reshape(STRIPS, 1, LANES) + np.einsum("ab,sbl->sal", matrix, by_strip(nodes[0], order))
    assert np.all(into[: LANES * order] == 7.0)
    np.testing.assert_allclose(by_strip(into, order)[1:], expected[1:], rtol=1e-13, atol=1e-14)
