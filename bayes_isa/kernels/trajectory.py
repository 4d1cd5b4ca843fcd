"""The fused kernel: log M at measurements, cumulative hazard and log of the event's part, with all their derivatives.

A PFS record contributes event * log_event - cumulative_hazard to the log-likelihood, whatever its kind. The cumulative
hazard runs from entry (day 0 without delayed entry) to the last day known to be free of progression. `log_event` is the
log hazard at an exact event, and log(1 - exp(-H)) with H the hazard cumulated over (lower, upper] for one that is only
known to lie in that interval.

One pass per patient over contiguous arrays. A patient's panels up to the event form one block and those after it (some
measurements come later) a second; within a block node (a, p), a the node within panel p, lies at a * n_panels + p. So
every loop runs over neighbouring numbers and vectorises; loops are kept short in arrays because the compiler gives up
on vectors when it has too many arrays to tell apart.

Derivatives. With z_n the sensitivity of the cumulative hazard to the kill rate at node n, found by one transposed
quadrature sweep (the adjoint of J), every derivative by an individual parameter is a plain sum over nodes. At
measurements the derivative of J by a parameter is the running sum of the panel integrals of the kill rate's derivative.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from bayes_isa.kernels.elementary import FASTMATH, exp
from bayes_isa.kernels.growth import (
    drug_effect,
    effect_by_log_ec50,
    kill_rate,
    log_mprotein,
    relative_slope,
    resistance,
)
from bayes_isa.kernels.hazard import (
    Shape,
    baseline_fraction,
    link_by_log_m,
    link_by_relative_slope,
    link_value,
)
from bayes_isa.kernels.quadrature import Rule

# Order of the individual parameters, all on the log scale: columns of `phi`.
INDIVIDUAL = ("M0", "KL", "KD", "R", "EC50")
# Columns of the derivatives of log M at measurements, and of the two hazard outputs.
MARKER_PARTIALS = (*INDIVIDUAL, "k")
EVENT_PARTIALS = (*INDIVIDUAL, "k", "hazard_lp", "beta_link", "Te", "s")


class Design(NamedTuple):
    """What is known before the parameters: quadrature nodes, exposures, measurement days, event days.

    Days since first dose; `effect` in mg/L (K-PD: mg/day; 0/1 for constant exposure), `dexamethasone` in umol/L.
    Patients lie one after another in every array.
    """

    panel_offset: np.ndarray  # (n_patients + 1,) first panel of each patient
    hazard_panels: (
        np.ndarray
    )  # (n_patients,) panels up to the event or censoring time, or the end of its interval
    entry_panels: np.ndarray  # (n_patients,) panels up to the day of entry; 0 without delayed entry
    free_panels: np.ndarray  # (n_patients,) panels up to the last day known free of progression
    node_weight: np.ndarray  # (order * n_panels,) quadrature weight, days
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


class Patient(NamedTuple):
    """One patient's slice of a `Design`, with scratch for the kill rate."""

    used: int
    panels: int
    weight: np.ndarray
    day: np.ndarray
    log_day: np.ndarray
    effect: np.ndarray
    dexamethasone: np.ndarray
    left: np.ndarray  # exp(-R t)
    drug: np.ndarray  # E(C(t))
    kill: np.ndarray  # kill rate
    weighted: np.ndarray  # kill rate x quadrature weight


@njit(inline="always")
def _widest(design):
    widest = 0
    for i in range(design.event_day.size):
        widest = max(widest, design.panel_offset[i + 1] - design.panel_offset[i])
    return widest


@njit(inline="always")
def _patient(design, order, i, scratch):
    first, last = design.panel_offset[i], design.panel_offset[i + 1]
    nodes = slice(order * first, order * last)
    size = order * (last - first)
    return Patient(
        design.hazard_panels[i],
        last - first,
        design.node_weight[nodes],
        design.node_day[nodes],
        design.node_log_day[nodes],
        design.node_effect[nodes],
        design.node_dexamethasone[nodes],
        scratch[0, :size],
        scratch[1, :size],
        scratch[2, :size],
        scratch[3, :size],
    )


@njit(fastmath=FASTMATH, error_model="numpy")
def _kill_at_nodes(at, r, ec50, k, saturation):
    """Fills exp(-R t), E and the kill rate at all nodes."""
    for n in range(at.day.size):
        at.left[n] = resistance(at.day[n], r)
        at.drug[n] = drug_effect(at.effect[n], ec50, saturation)
    for n in range(at.day.size):
        at.kill[n] = kill_rate(at.left[n], at.drug[n], k, at.dexamethasone[n])
    for n in range(at.day.size):
        at.weighted[n] = at.weight[n] * at.kill[n]


@njit(fastmath=FASTMATH, error_model="numpy")
def _panel_sums(weight, values, first, panels, into):
    """Adds the panel integrals of one block's node `values` to `into` at the panels' ends."""
    target = into[first + 1 : first + 1 + panels]
    order = weight.size // max(panels, 1)
    for a in range(0, order - 1, 2):
        w0, w1 = weight[a * panels : (a + 1) * panels], weight[(a + 1) * panels : (a + 2) * panels]
        v0, v1 = values[a * panels : (a + 1) * panels], values[(a + 1) * panels : (a + 2) * panels]
        for p in range(panels):
            target[p] += w0[p] * v0[p] + w1[p] * v1[p]
    if order % 2 == 1:
        w0, v0 = weight[(order - 1) * panels :], values[(order - 1) * panels :]
        for p in range(panels):
            target[p] += w0[p] * v0[p]


@njit(fastmath=FASTMATH, error_model="numpy")
def _running_integral(at, order, weight, values, into):
    """Integral of `values` from day 0 to every panel's end: `into` (panels + 1,), 0 first."""
    split = order * at.used
    for p in range(at.panels + 1):
        into[p] = 0.0
    _panel_sums(weight[:split], values[:split], 0, at.used, into)
    if at.panels > at.used:
        _panel_sums(weight[split:], values[split:], at.used, at.panels - at.used, into)
    for p in range(at.panels):
        into[p + 1] += into[p]


@njit(fastmath=FASTMATH, error_model="numpy")
def _combine(start, factor, values, row):
    """row[p] = start[p] + sum_b factor[b] values[b, p], three b at a time: fewer passes over `row`."""
    size = row.size
    for p in range(size):  # numba's row[:] = start is not a vector loop
        row[p] = start[p]
    for b in range(0, factor.size, 3):
        second, third = min(b + 1, factor.size - 1), min(b + 2, factor.size - 1)
        f0 = factor[b]
        f1 = factor[second] if b + 1 < factor.size else 0.0
        f2 = factor[third] if b + 2 < factor.size else 0.0
        v0 = values[b * size : (b + 1) * size]
        v1 = values[second * size : (second + 1) * size]
        v2 = values[third * size : (third + 1) * size]
        for p in range(size):
            row[p] += f0 * v0[p] + f1 * v1[p] + f2 * v2[p]


@njit(fastmath=FASTMATH, error_model="numpy")
def _integral_at_nodes(at, rule, running, integral):
    """J at the nodes up to the event."""
    for a in range(rule.weight.size):
        row = integral[a * at.used : (a + 1) * at.used]
        _combine(running, rule.share[a], at.weighted, row)


@njit(fastmath=FASTMATH, error_model="numpy")
def _sensitivity_to_kill(at, rule, by_integral, later, by_weighted):
    """Adjoint of `_integral_at_nodes`: what the hazard at all later nodes owes to kill x weight at each node."""
    order = rule.weight.size
    for p in range(at.used):
        later[p] = 0.0
    for a in range(order):
        row = by_integral[a * at.used : (a + 1) * at.used]
        for p in range(at.used):
            later[p] += row[p]
    carried = 0.0
    for p in range(at.used - 1, -1, -1):
        own = later[p]
        later[p] = carried
        carried += own
    for b in range(order):
        row = by_weighted[b * at.used : (b + 1) * at.used]
        _combine(later, rule.share[:, b], by_integral, row)


@njit(fastmath=FASTMATH, error_model="numpy")
def _hazard_at_nodes(at, shape, individual, log_m, scale, beta_link, log_te, s, m, rate, fraction, hazard):
    """Fills log M (in place of J), M, its relative slope, t h0 / s and the hazard (1/day) at nodes up to the event."""
    count = log_m.size
    for n in range(count):
        log_m[n] = log_mprotein(individual.log_m0, individual.kl, individual.kd, at.day[n], log_m[n])
        m[n] = exp(log_m[n])
    for n in range(count):
        rate[n] = relative_slope(individual.kl, individual.kd, at.kill[n])
    for n in range(count):
        fraction[n] = baseline_fraction(at.log_day[n] - log_te, s, shape.hazard_saturation)
    for n in range(count):
        link = link_value(shape, log_m[n], m[n], rate[n])
        # 1/t goes into the exponent, which is cheaper than a division.
        hazard[n] = s * scale * fraction[n] * exp(beta_link * link - at.log_day[n])


class Individual(NamedTuple):
    """One patient's parameters, on the natural scale but for log M0."""

    log_m0: float
    kl: float
    kd: float
    r: float
    ec50: float


@njit(inline="always")
def _individual(phi):
    return Individual(phi[0], math.exp(phi[1]), math.exp(phi[2]), math.exp(phi[3]), math.exp(phi[4]))


@njit(fastmath=FASTMATH, error_model="numpy")
def _cumulative_hazard(
    at, shape, individual, rule, log_m, beta_link, log_te, s, m, rate, fraction, hazard, later, out
):
    """Cumulative hazard at the event and its derivatives: returns the former, fills the row `out` (10,).

    `hazard`, `m` and `rate` are overwritten on the way, by hazard x weight and by its derivatives by log M and by the
    relative slope; `fraction` by the sensitivity to kill x weight. Each is spent by then.
    """
    count = log_m.size
    total = 0.0
    total_link = 0.0
    total_te = 0.0
    total_s = 0.0
    for n in range(count):
        here = hazard[n] * at.weight[n]
        rest = here * (1.0 - shape.hazard_saturation * fraction[n])
        hazard[n] = here
        total += here
        total_link += here * link_value(shape, log_m[n], m[n], rate[n])
        total_te += rest
        total_s += rest * (at.log_day[n] - log_te)
    total_m0 = 0.0
    total_kl = 0.0
    for n in range(count):
        here = beta_link * hazard[n]
        by_log_m = here * link_by_log_m(shape, m[n], rate[n])
        rate[n] = here * link_by_relative_slope(shape, m[n])
        m[n] = by_log_m
        total_m0 += by_log_m
        total_kl += by_log_m * at.day[n] + rate[n]
    _sensitivity_to_kill(at, rule, m, later, fraction)
    sum_kd = 0.0
    sum_r = 0.0
    sum_ec50 = 0.0
    sum_k = 0.0
    for n in range(count):
        by_kill = rate[n] + at.weight[n] * fraction[n]
        here = by_kill * at.kill[n]
        sum_kd += here
        sum_r += here * at.day[n]
        sum_ec50 += by_kill * effect_by_log_ec50(at.left[n], at.drug[n], shape.effect_saturation)
        sum_k += by_kill * at.left[n] * at.dexamethasone[n]
    out[0] = total_m0
    out[1] = individual.kl * total_kl
    out[2] = -individual.kd * sum_kd
    out[3] = individual.kd * individual.r * sum_r
    out[4] = -individual.kd * sum_ec50
    out[5] = -individual.kd * sum_k
    out[6] = total
    out[7] = total_link
    out[8] = -s * math.exp(-log_te) * total_te
    out[9] = total / s + total_s
    return total


@njit(fastmath=FASTMATH, error_model="numpy")
def _only_panels(hazard, used, first, last, into):
    """The hazard at nodes of the panels first to last - 1, 0 elsewhere."""
    for a in range(hazard.size // max(used, 1)):
        for p in range(used):
            inside = first <= p < last
            into[a * used + p] = hazard[a * used + p] if inside else 0.0


@njit(error_model="numpy")
def _log_probability(h, by_h):
    """log(1 - exp(-h)) from h and, in place, from h's derivatives: probability of an event where h is cumulated.

    In the form that keeps its digits (Maechler 2012, log1mexp).
    """
    by_h /= math.expm1(h)
    return math.log(-math.expm1(-h)) if h < math.log(2.0) else math.log1p(-math.exp(-h))


@njit(fastmath=FASTMATH, error_model="numpy")
def _hazard_by_stretches(
    design,
    i,
    at,
    shape,
    individual,
    rule,
    saved,
    beta_link,
    log_te,
    s,
    log_m,
    m,
    rate,
    fraction,
    hazard,
    later,
    by_cumulative,
    by_event,
):
    """`_cumulative_hazard` from entry to the last day free of progression, and the event's part of an interval.

    Returns both; the latter and `by_event` only where there is an interval. `saved` (4, nodes) is scratch.
    """
    used, entry, free = at.used, design.entry_panels[i], design.free_panels[i]
    sources = (m, rate, fraction)
    for j in range(3):
        for n in range(log_m.size):
            saved[j, n] = sources[j][n]
    for n in range(log_m.size):
        saved[3, n] = hazard[n]
    cumulative, log_event = 0.0, 0.0
    for part in range(2 if free < used else 1):
        if part == 1:  # the first one overwrote them
            for j in range(3):
                for n in range(log_m.size):
                    sources[j][n] = saved[j, n]
        _only_panels(saved[3], used, free if part else entry, used if part else free, hazard)
        out = by_event if part else by_cumulative
        total = _cumulative_hazard(
            at,
            shape,
            individual,
            rule,
            log_m,
            beta_link,
            log_te,
            s,
            m,
            rate,
            fraction,
            hazard,
            later,
            out,
        )
        if part == 0:
            cumulative = total
        else:
            log_event = _log_probability(total, by_event)
    return cumulative, log_event


@njit(fastmath=FASTMATH, error_model="numpy")
def _log_hazard_at_event(
    design, i, shape, individual, running, used, k, hazard_lp, beta_link, log_te, s, out
):
    """Log hazard at the event day and its derivatives: returns the former, fills the row `out` (10,)."""
    day = design.event_day[i]
    left = resistance(day, individual.r)
    drug = drug_effect(design.event_effect[i], individual.ec50, shape.effect_saturation)
    dexamethasone = design.event_dexamethasone[i]
    kill = kill_rate(left, drug, k, dexamethasone)
    rate = relative_slope(individual.kl, individual.kd, kill)
    log_m = log_mprotein(individual.log_m0, individual.kl, individual.kd, day, running[0, used])
    m = math.exp(log_m)
    link = link_value(shape, log_m, m, rate)
    log_ratio = math.log(day) - log_te
    fraction = baseline_fraction(log_ratio, s, shape.hazard_saturation)
    rest = 1.0 - shape.hazard_saturation * fraction
    by_log_m = beta_link * link_by_log_m(shape, m, rate)
    by_rate = beta_link * link_by_relative_slope(shape, m)
    by_ec50 = effect_by_log_ec50(left, drug, shape.effect_saturation)
    out[0] = by_log_m
    out[1] = individual.kl * (by_log_m * day + by_rate)
    out[2] = -individual.kd * (by_log_m * running[0, used] + by_rate * kill)
    out[3] = individual.kd * individual.r * (by_log_m * running[1, used] + by_rate * kill * day)
    out[4] = -individual.kd * (by_log_m * running[2, used] + by_rate * by_ec50)
    out[5] = -individual.kd * (by_log_m * running[3, used] + by_rate * left * dexamethasone)
    out[6] = 1.0
    out[7] = link
    out[8] = -s * math.exp(-log_te) * rest
    out[9] = 1.0 / s + rest * log_ratio
    # log of the Weibull or log-logistic hazard without forming it: it may underflow.
    return math.log(s) - math.log(day) + math.log(fraction) + hazard_lp + beta_link * link


@njit(fastmath=FASTMATH, error_model="numpy")
def _derivative_integrals(at, order, k, saturation, values, running):
    """Rows 1 to 3 of `running`: integrals of the kill rate's derivatives by log R (over -R), log EC50 and k."""
    _running_integral(at, order, at.weighted, at.day, running[1])
    for n in range(values.size):
        values[n] = effect_by_log_ec50(at.left[n], at.drug[n], saturation)
    _running_integral(at, order, at.weight, values, running[2])
    largest = 0.0
    for n in range(values.size):
        values[n] = at.left[n] * at.dexamethasone[n]
        largest = max(largest, values[n])
    if largest > 0.0:
        _running_integral(at, order, at.weight, values, running[3])
    else:
        for p in range(at.panels + 1):
            running[3, p] = 0.0


@njit(nogil=True, cache=True, fastmath=FASTMATH, error_model="numpy")
def trajectory(
    design: Design,
    rule: Rule,
    shape: Shape,
    phi: np.ndarray,
    k: float,
    hazard_lp: np.ndarray,
    beta_link: float,
    te: float,
    s: float,
    log_m: np.ndarray,
    cumulative_hazard: np.ndarray,
    log_event: np.ndarray,
    by_marker: np.ndarray,
    by_cumulative: np.ndarray,
    by_log_event: np.ndarray,
) -> None:
    """Fill the outputs at individual parameters `phi` (n_patients, 5), logs in the order of `INDIVIDUAL`.

    `hazard_lp` (n_patients,) is w'beta_w; k in L/umol, Te in days, s and beta_link as in the hazard. Outputs:
    `log_m` (n_measurements,) of g/L; `cumulative_hazard` and `log_event` (n_patients,) as above, the latter the log of
    1/day at an exact time; `by_marker` (n_measurements, 6), `by_cumulative` and `by_log_event` (n_patients, 10) their
    derivatives in the order of `MARKER_PARTIALS` and `EVENT_PARTIALS`. At a dose given on the very event day the hazard
    is the one before it.
    """
    order = rule.weight.size
    widest = _widest(design)
    scratch = np.empty((9, order * widest))
    running = np.empty((4, widest + 1))
    later = np.empty(widest)
    log_te = math.log(te)
    for i in range(phi.shape[0]):
        individual = _individual(phi[i])
        at = _patient(design, order, i, scratch)
        count = order * at.used
        _kill_at_nodes(at, individual.r, individual.ec50, k, shape.effect_saturation)
        _running_integral(at, order, at.weight, at.kill, running[0])
        _derivative_integrals(at, order, k, shape.effect_saturation, scratch[4, : at.day.size], running)
        for j in range(design.measurement_offset[i], design.measurement_offset[i + 1]):
            day = design.measurement_day[j]
            p = design.measurement_panel[j]
            log_m[j] = log_mprotein(individual.log_m0, individual.kl, individual.kd, day, running[0, p])
            by_marker[j, 0] = 1.0
            by_marker[j, 1] = individual.kl * day
            by_marker[j, 2] = -individual.kd * running[0, p]
            by_marker[j, 3] = individual.kd * individual.r * running[1, p]
            by_marker[j, 4] = -individual.kd * running[2, p]
            by_marker[j, 5] = -individual.kd * running[3, p]
        log_m_at, m, rate = scratch[4, :count], scratch[5, :count], scratch[6, :count]
        fraction, hazard = scratch[7, :count], scratch[8, :count]
        scale = math.exp(hazard_lp[i])
        _integral_at_nodes(at, rule, running[0], log_m_at)
        _hazard_at_nodes(
            at, shape, individual, log_m_at, scale, beta_link, log_te, s, m, rate, fraction, hazard
        )
        if design.entry_panels[i] > 0 or design.free_panels[i] < at.used:
            cumulative_hazard[i], log_event[i] = _hazard_by_stretches(
                design,
                i,
                at,
                shape,
                individual,
                rule,
                np.empty((4, count)),
                beta_link,
                log_te,
                s,
                log_m_at,
                m,
                rate,
                fraction,
                hazard,
                later,
                by_cumulative[i],
                by_log_event[i],
            )
            if design.free_panels[i] < at.used:
                continue
        else:
            cumulative_hazard[i] = _cumulative_hazard(
                at,
                shape,
                individual,
                rule,
                log_m_at,
                beta_link,
                log_te,
                s,
                m,
                rate,
                fraction,
                hazard,
                later,
                by_cumulative[i],
            )
        log_event[i] = _log_hazard_at_event(
            design,
            i,
            shape,
            individual,
            running,
            at.used,
            k,
            hazard_lp[i],
            beta_link,
            log_te,
            s,
            by_log_event[i],
        )


@njit(nogil=True, cache=True)
def pull_back(
    design: Design,
    to_log_m: np.ndarray,
    to_cumulative: np.ndarray,
    to_log_event: np.ndarray,
    by_marker: np.ndarray,
    by_cumulative: np.ndarray,
    by_log_event: np.ndarray,
    to_individual: np.ndarray,
    to_shared: np.ndarray,
) -> None:
    """Chain rule: from derivatives by the outputs of `trajectory` to those by its inputs.

    `to_individual` (n_patients, 6): the five log parameters and hazard_lp; `to_shared` (4,): k, beta_link, Te, s.
    """
    to_shared[:] = 0.0
    for i in range(to_cumulative.size):
        at_cumulative = to_cumulative[i]
        at_log_event = to_log_event[i]
        for c in range(5):
            to_individual[i, c] = at_cumulative * by_cumulative[i, c] + at_log_event * by_log_event[i, c]
        to_individual[i, 5] = at_cumulative * by_cumulative[i, 6] + at_log_event * by_log_event[i, 6]
        to_shared[0] += at_cumulative * by_cumulative[i, 5] + at_log_event * by_log_event[i, 5]
        for c in range(3):
            to_shared[c + 1] += (
                at_cumulative * by_cumulative[i, 7 + c] + at_log_event * by_log_event[i, 7 + c]
            )
        for j in range(design.measurement_offset[i], design.measurement_offset[i + 1]):
            for c in range(5):
                to_individual[i, c] += to_log_m[j] * by_marker[j, c]
            to_shared[0] += to_log_m[j] * by_marker[j, 5]


@njit(nogil=True, cache=True, fastmath=FASTMATH, error_model="numpy")
def path(
    design: Design,
    rule: Rule,
    shape: Shape,
    phi: np.ndarray,
    k: float,
    hazard_lp: np.ndarray,
    beta_link: float,
    te: float,
    s: float,
    integral_end: np.ndarray,
    hazard_end: np.ndarray,
    node_hazard: np.ndarray,
) -> None:
    """The whole curve without derivatives: J and cumulative hazard at every panel's end, the hazard at every node.

    `integral_end`, `hazard_end` (n_panels,), `node_hazard` (order * n_panels,) in 1/day; panels after a patient's event
    have hazard 0 and repeat the last cumulative hazard. Before a late entry both hazards are 0.
    """
    order = rule.weight.size
    widest = _widest(design)
    scratch = np.empty((8, order * widest))
    running = np.empty((2, widest + 1))
    log_te = math.log(te)
    for i in range(phi.shape[0]):
        individual = _individual(phi[i])
        at = _patient(design, order, i, scratch)
        count = order * at.used
        _kill_at_nodes(at, individual.r, individual.ec50, k, shape.effect_saturation)
        _running_integral(at, order, at.weight, at.kill, running[0])
        integral, m, rate, fraction = (
            scratch[4, :count],
            scratch[5, :count],
            scratch[6, :count],
            scratch[7, :count],
        )
        first = design.panel_offset[i]
        hazard = node_hazard[order * first : order * (first + at.panels)]
        _integral_at_nodes(at, rule, running[0], integral)
        _hazard_at_nodes(
            at,
            shape,
            individual,
            integral,
            math.exp(hazard_lp[i]),
            beta_link,
            log_te,
            s,
            m,
            rate,
            fraction,
            hazard[:count],
        )
        hazard[count:] = 0.0
        if design.entry_panels[i] > 0:
            _only_panels(hazard[:count], at.used, design.entry_panels[i], at.used, hazard[:count])
        _running_integral(at, order, at.weight, hazard, running[1])
        integral_end[first : first + at.panels] = running[0, 1 : at.panels + 1]
        hazard_end[first : first + at.panels] = running[1, 1 : at.panels + 1]
