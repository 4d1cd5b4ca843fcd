"""An odd, smooth, invertible function of one number on either side of 0, which moves tails and leaves the middle.

S(z) = asinh(b z) / b for b > 0: spreads a wall out, on which a density falls much faster than a normal's.
S(z) = sinh(-b z) / (-b) for b < 0: draws a long tail in. S(z) = z for b = 0. The bend b may differ between the two
sides: value, slope and second derivative are 0, 1 and 0 at z = 0 for every b (after Jones and Pewsey 2009,
doi:10.1093/biomet/asp053).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from numba import njit


class Bent(NamedTuple):
    """S at z, its slope, and the derivative of the log of that."""

    value: float
    slope: float
    log_slope_slope: float


@njit(inline="always", error_model="numpy")
def bent(z: float, below: float, above: float) -> Bent:
    """S(z) with bend `below` for z < 0 and `above` for z > 0."""
    bend = below if z < 0.0 else above
    if bend == 0.0:
        return Bent(z, 1.0, 0.0)
    a = bend * z
    if bend > 0.0:
        square = 1.0 + a * a
        return Bent(math.asinh(a) / bend, 1.0 / math.sqrt(square), -bend * a / square)
    # One exponential for three hyperbolic functions.
    up = math.exp(a)
    down = 1.0 / up
    slope, sinh = 0.5 * (up + down), 0.5 * (up - down)
    return Bent(sinh / bend, slope, bend * sinh / slope)


@njit(inline="always", error_model="numpy")
def from_bent(value: float, bend: float) -> tuple[float, float, float]:
    """z with S(z) = value, and the slope of S and the derivative of its log there, at a cost of one transcendental."""
    if bend == 0.0:
        return value, 1.0, 0.0
    a = bend * value
    if bend < 0.0:
        slope = math.sqrt(1.0 + a * a)
        return math.copysign(math.log(abs(a) + slope), a) / bend, slope, bend * a / slope
    up = math.exp(a)
    down = 1.0 / up
    sinh, cosh = 0.5 * (up - down), 0.5 * (up + down)
    return sinh / bend, 1.0 / cosh, -bend * sinh / (cosh * cosh)


@njit(inline="always", error_model="numpy")
def unbent(value: float, below: float, above: float) -> float:
    """z with S(z) = value."""
    bend = below if value < 0.0 else above
    if bend == 0.0:
        return value
    a = bend * value
    return math.sinh(a) / bend if bend > 0.0 else math.asinh(a) / bend
