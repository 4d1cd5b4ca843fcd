"""Loops of the isatuximab solver over patients, infusion edges and adaptive steps; arrays in, arrays out."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from bayes_isa.pk._collocation import (
    N_COEFFICIENTS,
    N_STAGES,
    Scratch,
    attempt_step,
    evaluate_series,
    scratch_arrays,
)

FAILURES = ("", "a step became too small", "too many steps")
"""What a non-zero reason of `integrate_many` means."""

_MAX_STEPS = 1_000_000  # of one patient: a thousand times the usual, hence a mistake in the parameters
_SAME_TIME_H = 1e-9  # edges closer than this are one: days do not carry more digits over two years
_WIDTH = N_COEFFICIENTS + 2

# nodes on [0, 1] and weights: exact to degree 7, the degree of the solution on a step
_NODES = 0.5 * (np.polynomial.legendre.leggauss(4)[0] + 1.0)
_WEIGHTS = 0.5 * np.polynomial.legendre.leggauss(4)[1]


@njit(cache=True, nogil=True, error_model="numpy")
def integrate_many(theta, offsets, time_h, inflow_change, count_change, jump, until_h, rtol, atol):
    """Solve every patient: step offsets, steps (s, 10), the patient that failed (or -1) and the reason."""
    n = theta.shape[0]
    step_offsets = np.zeros(n + 1, np.int64)
    steps = np.empty((64 * n + 64, _WIDTH))
    used = 0
    scratch = Scratch(*scratch_arrays())
    opening = np.empty(2)
    for i in range(n):
        row = theta[i]
        constants = (row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7])
        c = 0.0
        p = 0.0
        inflow = 0.0
        running = 0
        opening[:] = math.inf
        first = offsets[i]
        last = offsets[i + 1]
        t = time_h[first] if last > first else until_h[i]
        origin = t
        for e in range(first, last + 1):
            end = until_h[i] if e == last else min(time_h[e], until_h[i])
            if end - t > _SAME_TIME_H:
                kind = 1 if running > 0 else 0
                steps, used, c, p, reason = _advance(
                    origin, t, end, c, p, inflow, constants, rtol, atol, scratch, opening[kind:], steps, used
                )
                if reason == 0 and used - step_offsets[i] > _MAX_STEPS:
                    reason = 2
                if reason != 0:
                    return step_offsets, steps[:used], i, reason
                t = end
            if e == last or time_h[e] >= until_h[i]:
                break
            running += count_change[e]
            # exactly zero between infusions, whatever the sum of changes rounds to
            inflow = inflow + inflow_change[e] if running > 0 else 0.0
            c += jump[e]
        step_offsets[i + 1] = used
    return step_offsets, steps[:used], -1, 0


@njit(cache=True, nogil=True, error_model="numpy")
def _advance(origin, start, end, c, p, inflow, theta, rtol, atol, scratch, opening, steps, used):
    """Step from `start` to `end` (hours) at one inflow, appending to `steps`, which grows as needed.

    `opening[0]` is the step that opened the patient's last stretch of this kind: a good guess for this one.
    """
    t = start
    h = min(2.0 * opening[0], end - start)
    while t < end:
        if t + 1.01 * h >= end:
            h = end - t
        if h < 1e-13 * max(abs(t), 1.0):
            return steps, used, c, p, 1
        if used == steps.shape[0]:
            bigger = np.empty((2 * used, _WIDTH))
            bigger[:used] = steps
            steps = bigger
        c_new, p_new, error = attempt_step(
            t - origin, h, c, p, inflow, theta, rtol, atol, scratch, steps[used, 2:]
        )
        factor = 10.0 if error == 0.0 else 0.9 * error ** (-1.0 / N_STAGES)
        if not error <= 1.0:
            h *= max(0.1, factor) if math.isfinite(error) else 0.1
            continue
        if t == start:
            opening[0] = h
        steps[used, 0] = t
        steps[used, 1] = h
        used += 1
        t = end if h == end - t else t + h
        c = c_new
        p = p_new
        h *= min(10.0, factor)
    return steps, used, c, p, 0


@njit(cache=True, nogil=True, error_model="numpy")
def evaluate_many(offsets, start_h, size_h, coefficients, patient, time_h):
    """C at pairs (patient, hour); 0 before the first step, the last step's end beyond it."""
    out = np.zeros(patient.size)
    step = -1
    owner = -1
    for q in range(patient.size):
        i = patient[q]
        t = time_h[q]
        first = offsets[i]
        last = offsets[i + 1] - 1
        if last < first or t <= start_h[first]:
            continue
        # the step of the query before, or the next one, serves most queries that are sorted in time
        if owner == i and start_h[step] < t and (step == last or t <= start_h[step + 1]):
            pass
        elif (
            owner == i
            and step < last
            and start_h[step + 1] < t
            and (step + 1 == last or t <= start_h[step + 2])
        ):
            step += 1
        else:
            step = first + np.searchsorted(start_h[first : last + 1], t) - 1
        owner = i
        x = (t - start_h[step]) / size_h[step]
        out[q] = evaluate_series(coefficients[step], min(x, 1.0))
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def mean_many(offsets, start_h, size_h, coefficients, until_h):
    """Mean of C over hours 0 to `until_h`, a patient each."""
    out = np.zeros(until_h.size)
    for i in range(until_h.size):
        total = 0.0
        for step in range(offsets[i], offsets[i + 1]):
            a = max(0.0, -start_h[step]) / size_h[step]
            b = min(1.0, (until_h[i] - start_h[step]) / size_h[step])
            if b <= a:
                continue
            for q in range(_NODES.size):
                x = a + (b - a) * _NODES[q]
                total += _WEIGHTS[q] * (b - a) * size_h[step] * evaluate_series(coefficients[step], x)
        out[i] = total / until_h[i]
    return out
