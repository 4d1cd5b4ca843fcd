"""One simulated trial under one regimen: PFS by inversion of the cumulative hazard, M-protein at visits, survival.

The curves are the kernel's (`bayes_isa.kernels.path.path`), called patient by patient so that trials may
consist of any patients of a pool, some several times, without copying what is known of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from bayes_isa.kernels.design import Design
from bayes_isa.kernels.evaluate import Parameters, invert
from bayes_isa.kernels.growth import log_mprotein
from bayes_isa.kernels.hazard import Shape
from bayes_isa.kernels.panels import Panels
from bayes_isa.kernels.path import NOTHING_KNOWN, path
from bayes_isa.kernels.timeline import panel_day

# Panels end within this of every day asked for: cuts closer than that are one.
_SAME_TIME = 1e-5


@dataclass(frozen=True)
class Outcome:
    """Of n patients: PFS day (infinite beyond the horizon), log M (n, visit) of g/L, survival probability (n, day)."""

    pfs_day: np.ndarray
    log_m: np.ndarray
    survival: np.ndarray


def panel_ends(panels: Panels, days: np.ndarray) -> np.ndarray:
    """Of each patient the panel, counted from its first, that ends on each of `days` (pool, day); -1 for day 0.

    Only for days that are panel ends (as those of `simulation_panels` are).
    """
    offset = panels.design.panel_offset
    found = np.empty((offset.size - 1, days.size), dtype=np.int64)
    for i in range(offset.size - 1):
        ends = panels.panel_end[offset[i] : offset[i + 1]]
        found[i] = np.where(days > 0.0, np.searchsorted(ends, days - _SAME_TIME), -1)
    return found


def simulate_patients(
    panels: Panels,
    shape: Shape,
    parameters: Parameters,
    who: np.ndarray,
    target: np.ndarray,
    visits: np.ndarray,
    visit_panel: np.ndarray,
    day_panel: np.ndarray,
) -> Outcome:
    """Outcomes of the patients `who` (n,) of a pool, whose parameters are given in that order.

    `target` (n,): cumulative hazards at which they progress, -log of uniform numbers. `visit_panel` and `day_panel`:
    `panel_ends` of the visits and of the days at which survival is asked for.
    """
    n = who.size
    log_m, survival = np.empty((n, visits.size)), np.empty((n, day_panel.shape[1]))
    panel, x = np.empty(n, dtype=np.int64), np.empty(n)
    _simulate(
        panels.design,
        shape,
        who,
        *parameters.as_arguments(),
        target,
        visits,
        visit_panel,
        day_panel,
        log_m,
        survival,
        panel,
        x,
    )
    reached = panel >= 0
    day = np.full(n, np.inf)
    at = panel[reached] + panels.design.panel_offset[who[reached]]
    day[reached] = panel_day(panels.panel_start[at], panels.panel_end[at], x[reached])[0]
    return Outcome(day, log_m, survival)


@njit(nogil=True)
def _only(design, i):
    """The design of patient i alone, without measurements: path needs none."""
    first, last = design.panel_offset[i], design.panel_offset[i + 1]
    nodes = slice(design.node_offset[i], design.node_offset[i + 1])
    own = slice(i, i + 1)
    none = slice(0, 0)
    panel_offset, node_offset = np.zeros(2, np.int64), np.zeros(2, np.int64)
    panel_offset[1], node_offset[1] = last - first, nodes.stop - nodes.start
    return Design(
        panel_offset,
        design.hazard_panels[own],
        design.entry_panels[own],
        design.free_panels[own],
        design.strips[own],
        node_offset,
        design.place[first:last],
        design.node_weight[nodes],
        design.node_day[nodes],
        design.node_log_day[nodes],
        design.node_effect[nodes],
        design.node_dexamethasone[nodes],
        design.event_day[own],
        design.event_effect[own],
        design.event_dexamethasone[own],
        np.zeros(2, np.int64),
        design.measurement_day[none],
        design.measurement_panel[none],
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _simulate(
    design,
    shape,
    who,
    phi,
    k,
    hazard_lp,
    beta_link,
    te,
    s,
    target,
    visits,
    visit_panel,
    day_panel,
    log_m,
    survival,
    panel,
    x,
):
    panels, nodes = 0, 0
    for i in range(design.event_day.size):
        panels = max(panels, design.panel_offset[i + 1] - design.panel_offset[i])
        nodes = max(nodes, design.node_offset[i + 1] - design.node_offset[i])
    integral, hazard, node_hazard = np.empty(panels), np.empty(panels), np.empty(nodes)
    for n in range(who.size):
        i = who[n]
        of_patient = slice(n, n + 1)
        one = _only(design, i)
        path(
            one,
            shape,
            phi[of_patient],
            k,
            hazard_lp[of_patient],
            beta_link,
            te,
            s,
            NOTHING_KNOWN,
            integral,
            hazard,
            node_hazard,
        )
        invert(one, hazard, node_hazard, target[of_patient], panel[of_patient], x[of_patient])
        kl, kd = math.exp(phi[n, 1]), math.exp(phi[n, 2])
        for v in range(visits.size):
            p = visit_panel[i, v]
            until = integral[p] if p >= 0 else 0.0
            log_m[n, v] = log_mprotein(phi[n, 0], kl, kd, visits[v], until)
        for d in range(day_panel.shape[1]):
            p = day_panel[i, d]
            survival[n, d] = math.exp(-hazard[p]) if p >= 0 else 1.0
