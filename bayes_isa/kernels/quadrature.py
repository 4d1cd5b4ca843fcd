"""Gauss-Legendre quadrature on a panel, with the integrals up to each node.

On a panel the integral of f is sum_b w_b f_b, w_b the rule's weight times dt/dx at node b, and the integral from the
panel's start to node a is sum_b share[a, b] w_b f_b (exact for polynomials of degree < order).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre

# Nodes that a panel may have. The most first: panels are bisected until it suffices, and then get as few as do. For 201
# patients, with strips filled up: 47 thousand nodes; with two orders 53, with four 45; all of 8 nodes 75, of 6 67.
ORDERS = (8, 5, 3)


class Rule(NamedTuple):
    """Nodes x in (-1, 1), weights, and the share of each weight that lies before each node."""

    node: np.ndarray  # (order,)
    weight: np.ndarray  # (order,)
    share: np.ndarray  # (order, order)

    @property
    def order(self) -> int:
        return self.node.size


@cache
def gauss_legendre(order: int) -> Rule:
    """Rule with `order` nodes; integrals of the Lagrange basis by its Legendre expansion, well conditioned."""
    node, weight = legendre.leggauss(order)
    degree = np.arange(order)
    # Discrete orthogonality: Lagrange basis b = sum_n (2n+1)/2 weight[b] P_n(node[b]) P_n.
    coefficients = (degree + 0.5)[:, None] * legendre.legvander(node, order - 1).T * weight
    integrals = legendre.legint(coefficients, lbnd=-1, axis=0)
    partial = legendre.legval(node, integrals).T
    return Rule(node, weight, np.ascontiguousarray(partial / weight))
