"""From panels to the arrays that the kernel runs over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from bayes_isa.kernels.design import Design, nodes_of, offsets_of
from bayes_isa.kernels.quadrature import ORDERS, gauss_legendre
from bayes_isa.kernels.strips import LANES
from bayes_isa.kernels.timeline import Cuts, Timeline, panel_day

# exposure(patient, day) -> (effect, dexamethasone), each like `day`; left limits at jumps.
ExposureAt = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

# Where the nodes of a strip's empty places lie: weightless, on a day on which the hazard is a number.
_EMPTY_DAY = 1e-3


def assemble(cuts: Cuts, timeline: Timeline, exposure: ExposureAt) -> Design:
    """The kernel's arrays for the panels of all patients."""
    n_patients = timeline.n_patients
    panel_offset = offsets_of(np.bincount(cuts.patient, minlength=n_patients))
    hazard_panels, entry_panels, free_panels = (
        np.bincount(cuts.patient, cuts.end <= day[cuts.patient], n_patients).astype(np.int64)
        for day in (timeline.event_day, *timeline.stretches)
    )
    strips, slot, order = _in_strips(cuts, cuts.end > timeline.event_day[cuts.patient], n_patients)
    node_offset = offsets_of(LANES * strips @ np.tile(ORDERS, 2))
    first_node = _first_nodes(cuts.patient, strips, node_offset, slot)

    weight = np.zeros(node_offset[-1])
    day = np.full(node_offset[-1], _EMPTY_DAY)
    effect, dexamethasone = np.zeros(day.size), np.zeros(day.size)
    for each in ORDERS:
        rule, of = gauss_legendre(each), order == each
        nodes = first_node[of][:, None] + LANES * np.arange(each)
        day[nodes], stretch = panel_day(cuts.start[of][:, None], cuts.end[of][:, None], rule.node)
        weight[nodes] = stretch * rule.weight
        patient, nodes = np.repeat(cuts.patient[of], each), nodes.ravel()
        effect[nodes], dexamethasone[nodes] = exposure(patient, day[nodes])
    event_effect, event_dexamethasone = exposure(np.arange(n_patients), timeline.event_day)

    measurement_patient = np.repeat(np.arange(n_patients), np.diff(timeline.measurement_offset))
    measurement_panel = _panels_before(cuts, panel_offset, measurement_patient, timeline.measurement_day)
    return Design(
        panel_offset=panel_offset,
        hazard_panels=hazard_panels,
        entry_panels=entry_panels,
        free_panels=free_panels,
        strips=strips,
        node_offset=node_offset,
        place=slot,
        node_weight=weight,
        node_day=day,
        node_log_day=np.log(day),
        node_effect=effect,
        node_dexamethasone=dexamethasone,
        event_day=timeline.event_day.astype(float),
        event_effect=np.ascontiguousarray(event_effect, dtype=float),
        event_dexamethasone=np.ascontiguousarray(event_dexamethasone, dtype=float),
        measurement_offset=timeline.measurement_offset.astype(np.int64),
        measurement_day=timeline.measurement_day.astype(float),
        measurement_panel=measurement_panel,
    )


def _in_strips(cuts: Cuts, late: np.ndarray, n_patients: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Strips of each patient (n_patients, 2 * len(ORDERS)), slot of each panel in its patient's, and its order.

    What a strip has left over is filled up with panels of lower orders, at no cost. `late`: panels after the event.
    """
    block = 2 * cuts.patient + late
    rank = np.argmax(cuts.order[:, None] == np.array(ORDERS), axis=1)
    left = np.zeros((2 * n_patients, len(ORDERS)), dtype=np.int64)
    np.add.at(left, (block, rank), 1)
    taken = np.empty_like(left)
    for high in range(len(ORDERS)):
        room = -(-left[:, high] // LANES) * LANES
        taken[:, high] = 0
        for low in range(high, len(ORDERS)):
            moved = np.minimum(room - taken[:, high], left[:, low])
            taken[:, high] += moved
            left[:, low] -= moved
    strips = -(-taken // LANES)

    # Within a block by order, panels of one order as time goes on: the first `taken` of them have the highest one.
    place = np.lexsort((np.arange(block.size), rank, block))
    number = np.empty(block.size, dtype=np.int64)
    number[place] = np.arange(block.size) - np.searchsorted(block[place], block[place])
    until = np.cumsum(taken, axis=1)[block]
    rank = np.sum(number[:, None] >= until, axis=1)
    of_rank = number - np.where(
        rank > 0, np.take_along_axis(until, np.maximum(rank - 1, 0)[:, None], 1)[:, 0], 0
    )
    strips = strips.reshape(n_patients, 2 * len(ORDERS))
    before = np.cumsum(strips, axis=1) - strips
    slot = LANES * before[cuts.patient, late * len(ORDERS) + rank] + of_rank
    return strips, slot, np.array(ORDERS)[rank]


@njit(cache=True)
def _first_nodes(patient, strips, node_offset, slot):
    """First node of the panel in each slot."""
    first = np.empty_like(slot)
    for p in range(slot.size):
        i = patient[p]
        first[p] = node_offset[i] + nodes_of(strips[i], slot[p])[0]
    return first


def _panels_before(cuts: Cuts, panel_offset: np.ndarray, patient: np.ndarray, day: np.ndarray) -> np.ndarray:
    """How many panels of `patient` end at or before `day`."""
    # One search in all patients' ends: shift each patient's days into a range of its own.
    span = 1.0 + max(cuts.end.max(initial=0.0), day.max(initial=0.0))
    ends = cuts.end + span * cuts.patient
    found = np.searchsorted(ends, np.maximum(day, 0.0) + span * patient, side="right")
    return (found - panel_offset[patient]).astype(np.int64)
