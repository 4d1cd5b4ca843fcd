"""Panels of equally many nodes, as matrices want them: for what the kernel is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from bayes_isa.kernels.design import Design, nodes_of
from bayes_isa.kernels.panels import build_panels
from bayes_isa.kernels.quadrature import ORDERS
from bayes_isa.kernels.strips import LANES

# Of the orders that the kernel knows the one with the fewest nodes for all panels alike: see bench_quadrature.
ORDER = ORDERS[1]


@contextmanager
def equal_panels() -> Iterator[None]:
    """Models and data made within have panels of ORDER nodes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayes_isa.model.joint_data.build_panels", partial(build_panels, order=ORDER))
        yield


def node_places(design: Design) -> np.ndarray:
    """(ORDER, n_panels) position of each panel's nodes in the design's arrays, panels in order of time."""
    patient = np.repeat(np.arange(design.event_day.size), np.diff(design.panel_offset))
    first = [
        design.node_offset[i] + nodes_of.py_func(design.strips[i], slot)[0]
        for i, slot in zip(patient, design.place, strict=True)
    ]
    return np.array(first) + LANES * np.arange(ORDER)[:, None]
