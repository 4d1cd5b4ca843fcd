"""One patient's curve at the quadrature nodes: kill rate, its integral J, M-protein and hazard."""

from __future__ import annotations

import math
from typing import NamedTuple

from numba import njit

from bayes_isa.kernels.design import nodes_of
from bayes_isa.kernels.elementary import INNER, exp
from bayes_isa.kernels.growth import drug_effect, kill_rate, log_mprotein, relative_slope, resistance
from bayes_isa.kernels.hazard import baseline_fraction, link_value
from bayes_isa.kernels.quadrature import ORDERS
from bayes_isa.kernels.strips import LANES, integrals_to_nodes


class Individual(NamedTuple):
    """One patient's parameters, on the natural scale but for log M0."""

    log_m0: float
    kl: float
    kd: float
    r: float
    ec50: float


class Hazard(NamedTuple):
    """One patient's parameters of the hazard."""

    scale: float  # exp(w'beta_w)
    beta_link: float
    log_te: float
    s: float


@njit(inline="always")
def individual_of(phi):
    """From logs in the order of `INDIVIDUAL`."""
    return Individual(phi[0], math.exp(phi[1]), math.exp(phi[2]), math.exp(phi[3]), math.exp(phi[4]))


@njit(**INNER)
def kill_at_nodes(at, individual, k, saturation):
    """Fills exp(-R t), E and the kill rate at all nodes."""
    r, ec50 = individual.r, individual.ec50
    for n in range(at.day.size):
        at.left[n] = resistance(at.day[n], r)
        at.drug[n] = drug_effect(at.effect[n], ec50, saturation)
    for n in range(at.day.size):
        at.kill[n] = kill_rate(at.left[n], at.drug[n], k, at.dexamethasone[n])
    for n in range(at.day.size):
        at.weighted[n] = at.weight[n] * at.kill[n]


@njit(**INNER)
def running_integral(place, sums, running):
    """Integral from day 0 to every panel's end, 0 first, from those over each panel."""
    total = 0.0
    running[0] = 0.0
    for p in range(place.size):
        total += sums[place[p]]
        running[p + 1] = total


@njit(**INNER)
def integral_at_nodes(at, running, start, integral):
    """J at the nodes up to the event."""
    for slot in range(at.slots):  # empty ones must hold numbers, too
        start[slot] = 0.0
    for p in range(at.used):
        start[at.place[p]] = running[p]
    integrals_to_nodes(at.strips[: len(ORDERS)], (integral, start, at.weighted))


@njit(**INNER)
def hazard_at_nodes(at, shape, individual, of_hazard, curve):
    """Fills log M (in place of J), M, its relative slope, t h0 / s and the hazard (1/day) at nodes up to the event."""
    log_m, m, rate, fraction, hazard = curve
    scale, beta_link, log_te, s = of_hazard
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


@njit(**INNER)
def only_panels(at, first, last, hazard):
    """Sets the hazard to 0 at nodes of panels before the first or from the last on."""
    for p in range(at.used):
        if p < first or p >= last:
            node, order = nodes_of(at.strips, at.place[p])
            for a in range(order):
                hazard[node + LANES * a] = 0.0
