"""A model's constant arrays packed into a few: nutpie compiles code for every shared variable by itself, 2 s each."""

from __future__ import annotations

import numpy as np
from numba import njit

from bayes_isa.kernels.design import Design
from bayes_isa.kernels.quadrature import ORDERS
from bayes_isa.kernels.response import Window
from bayes_isa.kernels.whitening import Whitening
from bayes_isa.model.windows import INTERVALS, SAMPLES

_GROUPS = 2 * len(ORDERS)
N_MEASUREMENTS = 2  # place of the number of measurements in a packed design's integers


def pack_design(design: Design) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of a design, and all its integers after a header: patients, nodes, measurements,
    panels."""
    header = [design.event_day.size, design.node_day.size, design.measurement_day.size, design.place.size]
    integers = [np.array(header), *(a.ravel() for a in design if a.dtype.kind == "i")]
    floats = [a for a in design if a.dtype.kind == "f"]
    return np.concatenate(floats), np.concatenate(integers).astype(np.int64)


@njit(inline="always")
def unpack_design(floats: np.ndarray, integers: np.ndarray) -> Design:
    """The design's arrays as views of the packed ones."""
    patients, nodes, measurements, panels = integers[0], integers[1], integers[2], integers[3]
    hazard = 4 + patients + 1
    strips = hazard + 3 * patients
    offset = strips + _GROUPS * patients
    place = offset + patients + 1
    measured = place + panels
    last = measured + patients + 1
    events = 5 * nodes
    days = events + 3 * patients
    return Design(
        integers[4:hazard],
        integers[hazard : hazard + patients],
        integers[hazard + patients : hazard + 2 * patients],
        integers[hazard + 2 * patients : strips],
        integers[strips:offset].reshape((patients, _GROUPS)),
        integers[offset:place],
        integers[place:measured],
        floats[:nodes],
        floats[nodes : 2 * nodes],
        floats[2 * nodes : 3 * nodes],
        floats[3 * nodes : 4 * nodes],
        floats[4 * nodes : events],
        floats[events : events + patients],
        floats[events + patients : events + 2 * patients],
        floats[events + 2 * patients : days],
        integers[measured:last],
        floats[days : days + measurements],
        integers[last : last + measurements],
    )


def pack_coordinates(window: Window, whitening: Whitening) -> np.ndarray:
    """All arrays of the response coordinates one after another, shaped as if each patient had a row."""
    fields = [*window[:-1], *whitening]
    whole = np.concatenate([np.ravel(field).astype(float) for field in fields])
    return whole.reshape(len(window[0]), -1)


@njit(inline="always")
def unpack_coordinates(packed: np.ndarray, d: int, saturation: float) -> tuple[Window, Whitening]:
    """Views of what `pack_coordinates` packed, d individual parameters; `open` alone, once numbers, is a copy."""
    n = packed.shape[0]
    flat = packed.reshape(packed.size)
    at_effect = n * (3 + INTERVALS)
    at_dexamethasone = at_effect + n * INTERVALS * SAMPLES
    at_open = at_dexamethasone + n * INTERVALS
    at_curvature = at_open + n
    at_pull = at_curvature + n * d * d
    at_linear = at_pull + n * d
    at_offset = at_linear + n * d * d
    at_scale, at_below, at_above = at_offset + n * d, at_offset + 2 * n * d, at_offset + 3 * n * d
    window = Window(
        flat[:n],
        flat[n : 2 * n],
        flat[2 * n : at_effect].reshape((n, INTERVALS + 1)),
        flat[at_effect:at_dexamethasone].reshape((n, INTERVALS, SAMPLES)),
        flat[at_dexamethasone:at_open].reshape((n, INTERVALS)),
        flat[at_open:at_curvature] > 0.5,
        saturation,
    )
    whitening = Whitening(
        flat[at_curvature:at_pull].reshape((n, d, d)),
        flat[at_pull:at_linear].reshape((n, d)),
        flat[at_linear:at_offset].reshape((n, d, d)),
        flat[at_offset:at_scale].reshape((n, d)),
        flat[at_scale:at_below].reshape((n, d)),
        flat[at_below:at_above].reshape((n, d)),
        flat[at_above : at_above + n * d].reshape((n, d)),
    )
    return window, whitening
