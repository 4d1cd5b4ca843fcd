"""Sums and integrals on eight panels at once, written in vectors.

A strip is eight panels of one order, side by side: the number of its lane `l` at node a lies at `node + 8 a + l` in
arrays of nodes, at `slot + l` in arrays of panels. What is done with the nodes of a panel is a small matrix product;
here it is straight vector code, which the compiler does not find in so short loops over several arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from bayes_isa.kernels.elementary import INNER
from bayes_isa.kernels.quadrature import ORDERS, gauss_legendre

LANES = 8
_VECTOR = ir.VectorType(ir.DoubleType(), LANES)
_FUSED = ("contract",)  # product and sum may become one instruction


class _Lanes:
    """Eight neighbouring numbers at a time of some arrays."""

    def __init__(self, context: Any, builder: Any, arrays_type: Any, arrays: Any) -> None:
        self.builder = builder
        unpacked = cgutils.unpack_tuple(builder, arrays, len(arrays_type))
        self.data = [
            context.make_array(of)(context, builder, array).data
            for of, array in zip(arrays_type, unpacked, strict=True)
        ]

    def _pointer(self, array: int, first: Any, step: int) -> Any:
        index = self.builder.add(first, ir.Constant(ir.IntType(64), LANES * step))
        return self.builder.bitcast(self.builder.gep(self.data[array], [index]), _VECTOR.as_pointer())

    def load(self, array: int, first: Any, step: int = 0) -> Any:
        return self.builder.load(self._pointer(array, first, step), align=8, typ=_VECTOR)

    def store(self, value: Any, array: int, first: Any, step: int = 0) -> None:
        self.builder.store(value, self._pointer(array, first, step), align=8)

    def plus_product(self, total: Any | None, a: Any, b: Any) -> Any:
        """total + a b, a b where there is no total."""
        product = self.builder.fmul(a, b, flags=_FUSED)
        return product if total is None else self.builder.fadd(total, product, flags=_FUSED)


def _vector_code(write: Callable[[_Lanes, Any, Any], None]) -> Any:
    """A function (arrays, slot, node) for compiled code, `arrays` a tuple of them; `write` writes its instructions."""

    @intrinsic
    def strip(typing_context: Any, arrays: Any, slot: Any, node: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            given, at_slot, at_node = arguments
            write(_Lanes(context, builder, tuple(signature.args[0]), given), at_slot, at_node)
            return context.get_dummy_value()

        return types.none(arrays, types.int64, types.int64), code

    return strip


def _weighted_sum(order: int) -> Any:
    """(sums, weight, values): sums = sum_a weight_a values_a."""

    def write(lanes: _Lanes, slot: Any, node: Any) -> None:
        total = None
        for a in range(order):
            total = lanes.plus_product(total, lanes.load(1, node, a), lanes.load(2, node, a))
        lanes.store(total, 0, slot)

    return _vector_code(write)


def _plain_sum(order: int) -> Any:
    """(sums, values): sums = sum_a values_a."""

    def write(lanes: _Lanes, slot: Any, node: Any) -> None:
        total = lanes.load(1, node)
        for a in range(1, order):
            total = lanes.builder.fadd(total, lanes.load(1, node, a), flags=_FUSED)
        lanes.store(total, 0, slot)

    return _vector_code(write)


def _product(matrix: np.ndarray) -> Any:
    """(into, start, values): into_a = start + sum_b matrix[a, b] values_b."""

    def write(lanes: _Lanes, slot: Any, node: Any) -> None:
        start = lanes.load(1, slot)
        values = [lanes.load(2, node, b) for b in range(len(matrix))]
        for a, row in enumerate(matrix):
            total = start
            for factor, value in zip(row, values, strict=True):
                total = lanes.plus_product(total, ir.Constant(_VECTOR, [float(factor)] * LANES), value)
            lanes.store(total, 0, node, a)

    return _vector_code(write)


def _by_order(make: Callable[[int], Any]) -> Any:
    """(order, arrays, slot, node) -> nothing, of the code made for each of ORDERS."""
    high, middle, low = (make(order) for order in ORDERS)
    most, more, _ = ORDERS

    @njit(inline="always")
    def strip(order, arrays, slot, node):
        if order == most:
            high(arrays, slot, node)
        elif order == more:
            middle(arrays, slot, node)
        else:
            low(arrays, slot, node)

    return strip


def _on_all(strip: Any) -> Any:
    """(strips, arrays) -> nothing: on so many strips of each of ORDERS, in that order, and on from the first again."""

    @njit(**INNER)
    def on_all(strips, arrays):
        slot, node = 0, 0
        for group in range(strips.size):
            order = ORDERS[group % len(ORDERS)]
            for _ in range(strips[group]):
                strip(order, arrays, slot, node)
                slot += LANES
                node += LANES * order

    return on_all


weighted_sum = _by_order(_weighted_sum)
plain_sum = _by_order(_plain_sum)
# From values x weight to the integral up to each node, given that up to the panel's start.
integral_to_nodes = _by_order(lambda order: _product(gauss_legendre(order).share))
# Its adjoint, given what is owed to all of a panel's nodes alike.
owed_by_nodes = _by_order(lambda order: _product(gauss_legendre(order).share.T))

weighted_sums, plain_sums = _on_all(weighted_sum), _on_all(plain_sum)
integrals_to_nodes, all_owed_by_nodes = _on_all(integral_to_nodes), _on_all(owed_by_nodes)
