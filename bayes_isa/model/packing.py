"""A model's constant arrays packed into a few: nutpie compiles code for every shared variable by itself, 2 s each."""

from __future__ import annotations

import numpy as np
from numba import njit

from bayes_isa.kernels.response import Window
from bayes_isa.kernels.trajectory import Design
from bayes_isa.kernels.whitening import Whitening
from bayes_isa.model.windows import INTERVALS, SAMPLES

N_MEASUREMENTS = 2  # place of the number of measurements in a packed design's integers


def pack_design(design: Design) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of a design, and all its integers after a header: patients, nodes, measurements."""
    header = [design.event_day.size, design.node_day.size, design.measurement_day.size]
    integers = [np.array(header), *(a for a in design if a.dtype.kind == "i")]
    floats = [a for a in design if a.dtype.kind == "f"]
    return np.concatenate(floats), np.concatenate(integers).astype(np.int64)


@njit(inline="always")
def unpack_design(floats: np.ndarray, integers: np.ndarray) -> Design:
    """The design's arrays as views of the packed ones."""
    patients, nodes, measurements = integers[0], integers[1], integers[2]
    # After the header: panel_offset, hazard_panels, entry_panels, free_panels, measurement_offset, measurement_panel.
    events, i = 5 * nodes, 3 + 4 * patients + 1
    days = events + 3 * patients
    return Design(
        integers[3 : 4 + patients],
        integers[4 + patients : 4 + 2 * patients],
        integers[4 + 2 * patients : 4 + 3 * patients],
        integers[4 + 3 * patients : i],
        floats[:nodes],
        floats[nodes : 2 * nodes],
        floats[2 * nodes : 3 * nodes],
        floats[3 * nodes : 4 * nodes],
        floats[4 * nodes : events],
        floats[events : events + patients],
        floats[events + patients : events + 2 * patients],
        floats[events + 2 * patients : days],
        integers[i : i + patients + 1],
        floats[days : days + measurements],
        integers[i + patients + 1 : i + patients + 1 + measurements],
    )


def pack_coordinates(window: Window, whitening: Whitening) -> np.ndarray:
    """All arrays of the response coordinates, one row a patient."""
    fields = [*window[:-1], *whitening]
    return np.concatenate([field.reshape(len(field), -1).astype(float) for field in fields], axis=1)


@njit(inline="always")
def _columns(packed, start, width):
    return np.ascontiguousarray(packed[:, start : start + width])


@njit
def unpack_coordinates(packed: np.ndarray, d: int, saturation: float) -> tuple[Window, Whitening]:
    """Copies of what `pack_coordinates` packed, d individual parameters."""
    n = packed.shape[0]
    at_effect = 3 + INTERVALS
    at_dexamethasone = at_effect + INTERVALS * SAMPLES
    at_open = at_dexamethasone + INTERVALS
    at_curvature = at_open + 1
    at_pull = at_curvature + d * d
    at_linear = at_pull + d
    at_offset = at_linear + d * d
    window = Window(
        np.ascontiguousarray(packed[:, 0]),
        np.ascontiguousarray(packed[:, 1]),
        _columns(packed, 2, INTERVALS + 1),
        _columns(packed, at_effect, INTERVALS * SAMPLES).reshape((n, INTERVALS, SAMPLES)),
        _columns(packed, at_dexamethasone, INTERVALS),
        packed[:, at_open] > 0.5,
        saturation,
    )
    whitening = Whitening(
        _columns(packed, at_curvature, d * d).reshape((n, d, d)),
        _columns(packed, at_pull, d),
        _columns(packed, at_linear, d * d).reshape((n, d, d)),
        _columns(packed, at_offset, d),
        _columns(packed, at_offset + d, d),
        _columns(packed, at_offset + 2 * d, d),
        _columns(packed, at_offset + 3 * d, d),
    )
    return window, whitening
