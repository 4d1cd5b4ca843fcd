"""Whole curves without derivatives: for simulation, prediction and the choice of panels."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from bayes_isa.kernels.curve import (
    Hazard,
    hazard_at_nodes,
    individual_of,
    integral_at_nodes,
    kill_at_nodes,
    only_panels,
    running_integral,
)
from bayes_isa.kernels.design import Design, make_scratch, patient_of
from bayes_isa.kernels.elementary import ENTRY
from bayes_isa.kernels.hazard import Shape
from bayes_isa.kernels.quadrature import ORDERS
from bayes_isa.kernels.strips import LANES, weighted_sums

NOTHING_KNOWN = np.empty(0)


@njit(nogil=True, cache=True, **ENTRY)
def path(
    design: Design,
    shape: Shape,
    phi: np.ndarray,
    k: float,
    hazard_lp: np.ndarray,
    beta_link: float,
    te: float,
    s: float,
    known: np.ndarray,
    integral_end: np.ndarray,
    hazard_end: np.ndarray,
    node_hazard: np.ndarray,
) -> None:
    """J and cumulative hazard at every panel's end, the hazard at every node.

    `integral_end`, `hazard_end` (n_panels,), `node_hazard` (n_nodes,) in 1/day; panels after a patient's event have
    hazard 0 and repeat the last cumulative hazard. Before a late entry both hazards are 0. `known`: J at the start of
    each panel where it is known better (n_panels,), or `NOTHING_KNOWN`. Parameters as in `trajectory`.
    """
    scratch = make_scratch(design)
    running = scratch.running[0]
    log_te = math.log(te)
    for i in range(phi.shape[0]):
        individual = individual_of(phi[i])
        at, curve = patient_of(design, i, scratch)
        panels, first = at.place.size, design.panel_offset[i]
        own = slice(first, first + panels)
        kill_at_nodes(at, individual, k, shape.effect_saturation)
        weighted_sums(at.strips, (scratch.sums[0], at.weight, at.kill))
        running_integral(at.place, scratch.sums[0], running)
        integral_end[own] = running[1 : panels + 1]
        if known.size > 0:
            running[:panels] = known[own]
        integral_at_nodes(at, running, scratch.start, curve.log_m)
        hazard_at_nodes(at, shape, individual, Hazard(math.exp(hazard_lp[i]), beta_link, log_te, s), curve)
        if design.entry_panels[i] > 0:
            only_panels(at, design.entry_panels[i], at.used, curve.hazard)
        nodes = node_hazard[design.node_offset[i] : design.node_offset[i + 1]]
        nodes[: curve.hazard.size] = curve.hazard
        nodes[curve.hazard.size :] = 0.0
        for slot in range(LANES * at.strips.sum()):
            scratch.sums[0, slot] = 0.0
        weighted_sums(at.strips[: len(ORDERS)], (scratch.sums[0], at.weight, curve.hazard))
        running_integral(at.place, scratch.sums[0], running)
        hazard_end[own] = running[1 : panels + 1]
