import numpy as np
import pytest

from bayes_isa.kernels.quadrature import gauss_legendre
from bayes_isa.kernels.timeline import panel_day

ORDERS = (2, 3, 4, 5, 6, 8, 12)


@pytest.mark.parametrize("order", ORDERS)
def test_integrates_polynomials_of_twice_its_order(order):
    rule = gauss_legendre(order)
    assert rule.order == order
    for power in range(2 * order):
        exact = (1.0 - (-1.0) ** (power + 1)) / (power + 1)
        assert rule.weight @ rule.node**power == pytest.approx(exact, abs=1e-14)


@pytest.mark.parametrize("order", ORDERS)
def test_shares_integrate_up_to_each_node(order):
    rule = gauss_legendre(order)
    for power in range(order):
        exact = (rule.node ** (power + 1) - (-1.0) ** (power + 1)) / (power + 1)
        np.testing.assert_allclose(rule.share @ (rule.weight * rule.node**power), exact, atol=1e-13)


@pytest.mark.parametrize("order", ORDERS)
def test_shares_before_and_after_a_node_make_the_whole(order):
    share = gauss_legendre(order).share
    np.testing.assert_allclose(share + share[::-1, ::-1], 1.0, atol=1e-12)


@pytest.mark.parametrize(("start", "end"), [(0.0, 3.0), (2.0, 3.5)])
def test_panels_map_their_ends_and_their_stretch(start, end):
    x = np.linspace(-1.0, 1.0, 2001)
    day, stretch = panel_day(np.array(start), np.array(end), x)
    assert day[0] == start
    assert day[-1] == pytest.approx(end, rel=1e-15)
    np.testing.assert_allclose(np.gradient(day, x, edge_order=2), stretch, atol=1e-5)


def test_the_first_panel_takes_a_hazard_with_no_derivative_at_zero():
    """int_0^10 t^(s-1) dt for s from 0.7 to 2.7 in one panel."""
    rule = gauss_legendre(6)
    day, stretch = panel_day(np.array(0.0), np.array(10.0), rule.node)
    for s in (0.7, 1.0, 1.4, 2.0, 2.7):
        assert np.sum(rule.weight * stretch * day ** (s - 1.0)) == pytest.approx(10.0**s / s, rel=2e-3)
