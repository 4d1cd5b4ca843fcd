"""The fused kernel: log M at measurements, cumulative hazard and log of the event's part, with all their derivatives.

A PFS record contributes event * log_event - cumulative_hazard to the log-likelihood, whatever its kind. The cumulative
hazard runs from entry (day 0 without delayed entry) to the last day known to be free of progression. `log_event` is the
log hazard at an exact event, and log(1 - exp(-H)) with H the hazard cumulated over (lower, upper] for one that is only
known to lie in that interval.

One pass per patient over contiguous arrays: every loop runs over neighbouring numbers and vectorises. Loops are kept
short in arrays because the compiler gives up on vectors when it has too many arrays to tell apart.

Derivatives. With z_n the sensitivity of the cumulative hazard to the kill rate at node n, found by one transposed
quadrature sweep (the adjoint of J), every derivative by an individual parameter is a plain sum over nodes. At
measurements the derivative of J by a parameter is the running sum of the panel integrals of the kill rate's derivative.
"""

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
)
from bayes_isa.kernels.design import Curve, Design, make_scratch, patient_of
from bayes_isa.kernels.elementary import ENTRY, INNER
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
from bayes_isa.kernels.quadrature import ORDERS
from bayes_isa.kernels.strips import all_owed_by_nodes, plain_sums, weighted_sums

# Order of the individual parameters, all on the log scale: columns of `phi`.
INDIVIDUAL = ("M0", "KL", "KD", "R", "EC50")
# Columns of the derivatives of log M at measurements, and of the two hazard outputs.
MARKER_PARTIALS = (*INDIVIDUAL, "k")
EVENT_PARTIALS = (*INDIVIDUAL, "k", "hazard_lp", "beta_link", "Te", "s")


@njit(**INNER)
def _sensitivity_to_kill(at, by_integral, sums, owed, by_weighted):
    """Adjoint of `integral_at_nodes`: what the hazard at all later nodes owes to kill x weight at each node."""
    strips = at.strips[: len(ORDERS)]
    plain_sums(strips, (sums, by_integral))
    for slot in range(at.slots):
        owed[slot] = 0.0
    later = 0.0
    for p in range(at.used - 1, -1, -1):
        owed[at.place[p]] = later
        later += sums[at.place[p]]
    all_owed_by_nodes(strips, (by_weighted, owed, by_integral))


@njit(**INNER)
def _cumulative_hazard(at, shape, individual, of_hazard, curve, scratch, out):
    """Cumulative hazard at the event and its derivatives: returns the former, fills the row `out` (10,).

    Of the curve `hazard`, `m` and `rate` are overwritten on the way, by hazard x weight and by its derivatives by log M
    and by the relative slope; `fraction` by the sensitivity to kill x weight. Each is spent by then.
    """
    log_m, m, rate, fraction, hazard = curve
    _, beta_link, log_te, s = of_hazard
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
    _sensitivity_to_kill(at, m, scratch.sums[0], scratch.start, fraction)
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


@njit(**INNER)
def _log_probability(h, by_h):
    """log(1 - exp(-h)) from h and, in place, from h's derivatives: probability of an event where h is cumulated.

    In the form that keeps its digits (Maechler 2012, log1mexp).
    """
    by_h /= math.expm1(h)
    return math.log(-math.expm1(-h)) if h < math.log(2.0) else math.log1p(-math.exp(-h))


@njit(**INNER)
def _hazard_by_stretches(
    entry, free, at, shape, individual, of_hazard, curve, scratch, by_cumulative, by_event
):
    """`_cumulative_hazard` from entry to the last day free of progression, and the event's part of an interval.

    Returns both; the latter and `by_event` only where there is an interval. entry, free: panels up to those days.
    """
    # `_cumulative_hazard` spends the curve
    count, saved = curve.log_m.size, scratch.nodes[9:]
    again = Curve(curve.log_m, saved[0, :count], saved[1, :count], saved[2, :count], saved[3, :count])
    for n in range(count):
        again.m[n], again.rate[n] = curve.m[n], curve.rate[n]
        again.fraction[n], again.hazard[n] = curve.fraction[n], curve.hazard[n]
    only_panels(at, entry, free, curve.hazard)
    cumulative = _cumulative_hazard(at, shape, individual, of_hazard, curve, scratch, by_cumulative)
    if free == at.used:
        return cumulative, 0.0
    only_panels(at, free, at.used, again.hazard)
    within = _cumulative_hazard(at, shape, individual, of_hazard, again, scratch, by_event)
    return cumulative, _log_probability(within, by_event)


@njit(**INNER)
def _log_hazard_at_event(design, i, shape, individual, running, used, k, hazard_lp, of_hazard, out):
    """Log hazard at the event day and its derivatives: returns the former, fills the row `out` (10,)."""
    _, beta_link, log_te, s = of_hazard
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


@njit(**INNER)
def _running_integrals(place, sums, running):
    """`running_integral` of four rows side by side, as each waits for its last sum."""
    total = (0.0, 0.0, 0.0, 0.0)
    for row in range(4):
        running[row, 0] = 0.0
    for p in range(place.size):
        slot = place[p]
        total = (
            total[0] + sums[0, slot],
            total[1] + sums[1, slot],
            total[2] + sums[2, slot],
            total[3] + sums[3, slot],
        )
        for row in range(4):
            running[row, p + 1] = total[row]


@njit(**INNER)
def _integrals(at, saturation, scratch):
    """Rows of `running`: J, and the integrals of the kill rate's derivatives by log R (over -R), log EC50 and k."""
    values = scratch.nodes[4, : at.day.size]
    sums = scratch.sums
    weighted_sums(at.strips, (sums[0], at.weight, at.kill))
    weighted_sums(at.strips, (sums[1], at.weighted, at.day))
    for n in range(values.size):
        values[n] = effect_by_log_ec50(at.left[n], at.drug[n], saturation)
    weighted_sums(at.strips, (sums[2], at.weight, values))
    for n in range(values.size):
        values[n] = at.left[n] * at.dexamethasone[n]
    weighted_sums(at.strips, (sums[3], at.weight, values))
    _running_integrals(at.place, sums, scratch.running)


@njit(inline="always")
def _measurements(design, i, individual, running, log_m, by_marker):
    """log M at a patient's measurements, and its derivatives."""
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


@njit(**INNER)
def _of_patient(
    design,
    i,
    shape,
    phi,
    k,
    hazard_lp,
    beta_link,
    log_te,
    s,
    scratch,
    log_m,
    by_marker,
    by_cumulative,
    by_event,
):
    """`trajectory` of patient i: fills its rows of the first two outputs and the rows given of the others.

    Returns cumulative hazard and log of the event's part.
    """
    individual = individual_of(phi)
    of_hazard = Hazard(math.exp(hazard_lp), beta_link, log_te, s)
    at, curve = patient_of(design, i, scratch)
    kill_at_nodes(at, individual, k, shape.effect_saturation)
    _integrals(at, shape.effect_saturation, scratch)
    _measurements(design, i, individual, scratch.running, log_m, by_marker)
    integral_at_nodes(at, scratch.running[0], scratch.start, curve.log_m)
    hazard_at_nodes(at, shape, individual, of_hazard, curve)
    entry, free = design.entry_panels[i], design.free_panels[i]
    if entry > 0 or free < at.used:
        cumulative, log_event = _hazard_by_stretches(
            entry, free, at, shape, individual, of_hazard, curve, scratch, by_cumulative, by_event
        )
        if free < at.used:
            return cumulative, log_event
    else:
        cumulative = _cumulative_hazard(at, shape, individual, of_hazard, curve, scratch, by_cumulative)
    log_event = _log_hazard_at_event(
        design, i, shape, individual, scratch.running, at.used, k, hazard_lp, of_hazard, by_event
    )
    return cumulative, log_event


@njit(nogil=True, cache=True, **ENTRY)
def trajectory(
    design: Design,
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
    derivatives in the order of `MARKER_PARTIALS` and `EVENT_PARTIALS`. A patient whose `phi` begins with NaN is passed
    over: all NaN. At a dose given on the very event day the hazard
    is the one before it.
    """
    scratch = make_scratch(design)
    log_te = math.log(te)
    for i in range(phi.shape[0]):
        if math.isnan(phi[i, 0]):
            of_patient = slice(design.measurement_offset[i], design.measurement_offset[i + 1])
            log_m[of_patient], by_marker[of_patient] = math.nan, math.nan
            cumulative_hazard[i], log_event[i] = math.nan, math.nan
            by_cumulative[i], by_log_event[i] = math.nan, math.nan
            continue
        cumulative_hazard[i], log_event[i] = _of_patient(
            design,
            i,
            shape,
            phi[i],
            k,
            hazard_lp[i],
            beta_link,
            log_te,
            s,
            scratch,
            log_m,
            by_marker,
            by_cumulative[i],
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
