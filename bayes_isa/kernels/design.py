"""What the kernel knows before the parameters, and one patient's part of it.

A patient's panels lie in strips of eight (`bayes_isa.kernels.strips`), by their order; those up to the event come first
and then those after it, where measurements are later. A strip that is not full has panels of weight 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from bayes_isa.kernels.quadrature import ORDERS
from bayes_isa.kernels.strips import LANES


class Design(NamedTuple):
    """Quadrature nodes, exposures, measurement days, event days.

    Days since first dose; `effect` in mg/L (K-PD: mg/day; 0/1 for constant exposure), `dexamethasone` in umol/L.
    Patients lie one after another in every array.
    """

    panel_offset: np.ndarray  # (n_patients + 1,) first panel of each patient
    hazard_panels: (
        np.ndarray
    )  # (n_patients,) panels up to the event or censoring time, or the end of its interval
    entry_panels: np.ndarray  # (n_patients,) panels up to the day of entry; 0 without delayed entry
    free_panels: np.ndarray  # (n_patients,) panels up to the last day known free of progression
    strips: np.ndarray  # (n_patients, 2 * len(ORDERS)) strips of each order up to the event, then after it
    node_offset: np.ndarray  # (n_patients + 1,) first node of each patient
    place: (
        np.ndarray
    )  # (n_panels,) slot of each panel, counted from its patient's first; panels in order of time
    node_weight: np.ndarray  # (n_nodes,) quadrature weight, days
    node_day: np.ndarray
    node_log_day: np.ndarray
    node_effect: np.ndarray
    node_dexamethasone: np.ndarray
    event_day: np.ndarray  # (n_patients,) upper end of the interval where the event is interval-censored
    event_effect: np.ndarray
    event_dexamethasone: np.ndarray
    measurement_offset: np.ndarray  # (n_patients + 1,)
    measurement_day: np.ndarray  # (n_measurements,)
    measurement_panel: (
        np.ndarray
    )  # (n_measurements,) panels of the patient that end at or before the measurement


_OFFSETS = ("panel_offset", "node_offset", "measurement_offset")
_BY_PANEL = ("place",)
_BY_NODE = ("node_weight", "node_day", "node_log_day", "node_effect", "node_dexamethasone")
_BY_MEASUREMENT = ("measurement_day", "measurement_panel")


class Patient(NamedTuple):
    """One patient's slice of a `Design`, with room for the kill rate."""

    used: int  # panels up to the event
    slots: int  # in strips up to the event
    strips: np.ndarray
    place: np.ndarray
    weight: np.ndarray
    day: np.ndarray
    log_day: np.ndarray
    effect: np.ndarray
    dexamethasone: np.ndarray
    left: np.ndarray  # exp(-R t)
    drug: np.ndarray  # E(C(t))
    kill: np.ndarray  # kill rate
    weighted: np.ndarray  # kill rate x quadrature weight


class Curve(NamedTuple):
    """Room for what the hazard is made of, at a patient's nodes up to the event."""

    log_m: np.ndarray  # at first J
    m: np.ndarray
    rate: np.ndarray  # relative slope of M
    fraction: np.ndarray  # t h0 / s
    hazard: np.ndarray  # 1/day


class Scratch(NamedTuple):
    """Room enough for any patient of a design."""

    nodes: np.ndarray  # (13, nodes)
    sums: np.ndarray  # (4, slots) integrals over panels
    start: np.ndarray  # (slots,) what holds from the start of each panel
    running: np.ndarray  # (4, panels + 1) integrals up to the panels' ends, 0 first


def of_patients(design: Design, chosen: np.ndarray) -> Design:
    """The design of some patients, who get new numbers."""
    panel_offset, panels = parts_of(design.panel_offset, chosen)
    node_offset, nodes = parts_of(design.node_offset, chosen)
    measurement_offset, measurements = parts_of(design.measurement_offset, chosen)
    rows = {
        **dict.fromkeys(_BY_PANEL, panels),
        **dict.fromkeys(_BY_NODE, nodes),
        **dict.fromkeys(_BY_MEASUREMENT, measurements),
    }
    own = {
        name: array[rows.get(name, chosen)]
        for name, array in design._asdict().items()
        if name not in _OFFSETS
    }
    return Design(
        **own, panel_offset=panel_offset, node_offset=node_offset, measurement_offset=measurement_offset
    )


def parts_of(offset: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets of the parts of some patients, one after another, and the rows that they consist of."""
    counts = np.diff(offset)[chosen]
    new = offsets_of(counts)
    return new, np.arange(new[-1]) + np.repeat(offset[chosen] - new[:-1], counts)


def offsets_of(counts: ArrayLike) -> np.ndarray:
    """Where parts of these sizes begin that lie one after another, and where the last ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


@njit(inline="always")
def make_scratch(design: Design) -> Scratch:
    panels, slots, nodes = 0, 0, 0
    for i in range(design.event_day.size):
        panels = max(panels, design.panel_offset[i + 1] - design.panel_offset[i])
        slots = max(slots, LANES * design.strips[i].sum())
        nodes = max(nodes, design.node_offset[i + 1] - design.node_offset[i])
    return Scratch(np.empty((13, nodes)), np.zeros((4, slots)), np.zeros(slots), np.zeros((4, panels + 1)))


@njit(inline="always")
def patient_of(design: Design, i: int, scratch: Scratch) -> tuple[Patient, Curve]:
    """Patient i of a design, and room for the curve."""
    first, last = design.node_offset[i], design.node_offset[i + 1]
    nodes, size, slots, count = slice(first, last), last - first, 0, 0
    for group in range(len(ORDERS)):
        slots += LANES * design.strips[i, group]
        count += LANES * design.strips[i, group] * ORDERS[group]
    room = scratch.nodes
    patient = Patient(
        design.hazard_panels[i],
        slots,
        design.strips[i],
        design.place[design.panel_offset[i] : design.panel_offset[i + 1]],
        design.node_weight[nodes],
        design.node_day[nodes],
        design.node_log_day[nodes],
        design.node_effect[nodes],
        design.node_dexamethasone[nodes],
        room[0, :size],
        room[1, :size],
        room[2, :size],
        room[3, :size],
    )
    curve = Curve(room[4, :count], room[5, :count], room[6, :count], room[7, :count], room[8, :count])
    return patient, curve


@njit(inline="always")
def nodes_of(strips: np.ndarray, slot: int) -> tuple[int, int]:
    """First node of the panel in a slot, and how many it has; they lie LANES apart."""
    node, strip = 0, slot // LANES
    for group in range(strips.size):
        order = ORDERS[group % len(ORDERS)]
        if strip < strips[group]:
            return node + LANES * order * strip + slot % LANES, order
        node += LANES * order * strips[group]
        strip -= strips[group]
    return node, 0
