"""Packed constants come back as they went in."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.examples import example
from kernels.test_response import Case

from bayes_isa.model.packing import (
    N_MEASUREMENTS,
    pack_coordinates,
    pack_design,
    unpack_coordinates,
    unpack_design,
)
from bayes_isa.model.windows import INTERVALS, SAMPLES


def test_a_design_comes_back() -> None:
    design = example()[0].design
    floats, integers = pack_design(design)
    assert integers[N_MEASUREMENTS] == design.measurement_day.size
    for before, after in zip(design, unpack_design.py_func(floats, integers), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("d", [4, 5])
def test_coordinates_come_back(d: int) -> None:
    case = Case(d)
    edge = np.sort(case.rng.uniform(0.0, 100.0, (case.n, INTERVALS + 1)), axis=1)
    window = case.window._replace(
        edge=edge,
        effect=case.rng.uniform(size=(case.n, INTERVALS, SAMPLES)),
        dexamethasone=case.rng.uniform(size=(case.n, INTERVALS)),
    )
    packed = pack_coordinates(window, case.whitening)
    window_after, whitening_after = unpack_coordinates(packed, d, window.saturation)
    for before, after in zip((*window, *case.whitening), (*window_after, *whitening_after), strict=True):
        np.testing.assert_array_equal(before, after)
