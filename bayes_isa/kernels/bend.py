"""An odd, smooth, invertible function of one number on either side of 0, which moves tails and leaves the middle.

S(z) = asinh(b z) / b for b > 0: spreads a wall out, on which a density falls much faster than a normal's; beyond 6,
where no draw of a normal lies, it goes on along its tangent, as what lies past the wall would be exponentially far.
S(z) = sinh(-b z) / (-b) for b < 0: draws a long tail in. S(z) = z for b = 0. The bend b may differ between the two
sides: value, slope and second derivative are 0, 1 and 0 at z = 0 for every b (after Jones and Pewsey 2009,
doi:10.1093/biomet/asp053).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

_STRAIGHT_FROM = 6.0


class Bent(NamedTuple):
    """S at z, its slope, and the derivative of the log of that."""

    value: float
    slope: float
    log_slope_slope: float


@njit(inline="always", error_model="numpy")
def _end(bend: float) -> tuple[float, float]:
    """Where S of a bend above 0 becomes straight: its value and slope there."""
    a = bend * _STRAIGHT_FROM
    return math.asinh(a) / bend, 1.0 / math.sqrt(1.0 + a * a)


@njit(inline="always", error_model="numpy")
def bent(z: float, below: float, above: float) -> Bent:
    """S(z) with bend `below` for z < 0 and `above` for z > 0."""
    bend = below if z < 0.0 else above
    if bend == 0.0:
        return Bent(z, 1.0, 0.0)
    a = bend * z
    if bend > 0.0:
        if abs(z) > _STRAIGHT_FROM:
            end, slope = _end(bend)
            return Bent(math.copysign(end + slope * (abs(z) - _STRAIGHT_FROM), z), slope, 0.0)
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
    if abs(sinh) > bend * _STRAIGHT_FROM:
        end, slope = _end(bend)
        return math.copysign(_STRAIGHT_FROM + (abs(value) - end) / slope, value), slope, 0.0
    return sinh / bend, 1.0 / cosh, -bend * sinh / (cosh * cosh)


@njit(inline="always", error_model="numpy")
def unbent(value: float, below: float, above: float) -> float:
    """z with S(z) = value."""
    return from_bent(value, below if value < 0.0 else above)[0]


@njit(cache=True, error_model="numpy")
def values_at(z: float, bends: np.ndarray) -> np.ndarray:
    """S(z) of each of the bends."""
    values = np.empty_like(bends)
    for j in range(bends.size):
        values[j] = bent(z, bends[j], bends[j]).value
    return values
