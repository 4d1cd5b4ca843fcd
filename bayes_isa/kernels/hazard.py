"""Hazard of progression or death at one instant.

    h(t) = h0(t) exp(w'beta_w + beta_link L(t)),   h0(t) = (s/t) x / (1 + x),   x = (t/Te)^s

h0 is the log-logistic hazard; without the 1 in the denominator (saturation = 0) it is Weibull, and with s = 1 in
addition exponential (CPT:PSP 2023, the joint model).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from numba import njit

from bayes_isa.kernels.elementary import FASTMATH, exp


class Shape(NamedTuple):
    """Which model: weights that pick the link, and saturations that pick the hazard and the drug effect."""

    link_slope: float
    link_value: float
    link_log_value: float
    link_relative_slope: float
    hazard_saturation: float
    effect_saturation: float


LINKS: Mapping[str, tuple[float, float, float, float]] = MappingProxyType(
    {
        "none": (0.0, 0.0, 0.0, 0.0),
        "slope": (1.0, 0.0, 0.0, 0.0),
        "value": (0.0, 1.0, 0.0, 0.0),
        "log_value": (0.0, 0.0, 1.0, 0.0),
        "relative_slope": (0.0, 0.0, 0.0, 1.0),
    }
)
LINK_UNITS: Mapping[str, str] = MappingProxyType(
    {"none": "1", "slope": "g/L/day", "value": "g/L", "log_value": "1", "relative_slope": "1/day"}
)
HAZARDS: Mapping[str, float] = MappingProxyType({"loglogistic": 1.0, "weibull": 0.0, "exponential": 0.0})
EFFECTS: Mapping[str, float] = MappingProxyType({"emax": 1.0, "linear": 0.0})


def make_shape(link: str, hazard: str, effect: str) -> Shape:
    """The `Shape` of named choices; raises KeyError for an unknown name."""
    return Shape(*LINKS[link], HAZARDS[hazard], EFFECTS[effect])


@njit(inline="always", fastmath=FASTMATH)
def link_value(shape: Shape, log_m: float, m: float, relative_slope: float) -> float:
    """L: what of the M-protein curve drives the hazard."""
    return (
        (shape.link_slope * relative_slope + shape.link_value) * m
        + shape.link_log_value * log_m
        + shape.link_relative_slope * relative_slope
    )


@njit(inline="always", fastmath=FASTMATH)
def link_by_log_m(shape: Shape, m: float, relative_slope: float) -> float:
    """dL / d log M at fixed relative slope."""
    return (shape.link_slope * relative_slope + shape.link_value) * m + shape.link_log_value


@njit(inline="always", fastmath=FASTMATH)
def link_by_relative_slope(shape: Shape, m: float) -> float:
    """dL / d relative slope at fixed M."""
    return shape.link_slope * m + shape.link_relative_slope


@njit(inline="always", fastmath=FASTMATH)
def baseline_fraction(log_ratio: float, s: float, saturation: float) -> float:
    """t h0(t) / s, from log(t/Te)."""
    return 1.0 / (exp(-s * log_ratio) + saturation)
