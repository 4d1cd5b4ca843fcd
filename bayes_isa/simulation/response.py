"""Response and progression by serum M-protein, visit by visit.

Rules (International Myeloma Working Group, serum part; Kumar et al. 2016, doi:10.1016/S1470-2045(16)30206-6).
Baseline is the first visit; a visit counts from the second on. Everything is confirmed at the next visit:

    VGPR, PR, MR   M at most 10 %, 50 %, 75 % of baseline at two consecutive visits
    PD             M at least 25 % and at least 5 g/L above the nadir (10 g/L where the nadir is 50 g/L or more) at
    two
                   consecutive visits; the nadir is the lowest value before the first of the two, baseline included

Both visits of a response lie before the first visit of PD. Complete response needs immunofixation and marrow and
cannot be told from M-protein; it counts as VGPR.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

CATEGORIES = ("NE", "PD", "SD", "MR", "PR", "VGPR")
"""Best responses from the worst on, by their code; NE: not evaluable."""
NE, PD, SD, MR, PR, VGPR = range(len(CATEGORIES))

# What of the baseline is left at most.
_LEFT_VGPR, _LEFT_PR, _LEFT_MR = 0.10, 0.50, 0.75
_RISE = 1.25
_RISE_G_PER_L, _RISE_FROM_HIGH_G_PER_L, _HIGH_NADIR_G_PER_L = 5.0, 10.0, 50.0
_NEVER = -1


class Response(NamedTuple):
    """Outcome of every trajectory; visits by position, -1 where never."""

    best: np.ndarray  # code of `CATEGORIES`
    response_visit: np.ndarray  # first of the two visits that confirm PR or better
    vgpr_visit: np.ndarray  # first of the two visits that confirm VGPR
    progression_visit: np.ndarray  # first of the visits that confirm PD


def assess(m: np.ndarray, n_seen: np.ndarray, *, confirmed: bool = True) -> Response:
    """Response of each M-protein trajectory `m` (..., visit) in g/L, of which the first `n_seen` (...) visits count.

    Best response: the highest confirmed one before PD; without any, PD if there is one, SD after two visits or more
    beyond baseline, NE with fewer (nothing could have been confirmed). `confirmed` False: one visit is enough for
    response and PD, and one beyond baseline for SD. Arrays of shape (...).
    """
    shape = m.shape[:-1]
    flat = m.reshape(-1, m.shape[-1])
    seen = np.ascontiguousarray(np.broadcast_to(n_seen, shape)).ravel().astype(np.int64)
    best = np.empty(seen.size, dtype=np.int8)
    visits = np.empty((3, seen.size), dtype=np.int16)
    _assess(flat, seen, 1 if confirmed else 0, best, visits)
    return Response(best.reshape(shape), *(visit.reshape(shape) for visit in visits))


@njit(nogil=True, cache=True)
def _assess(m, n_seen, more, best, visits):
    """`more`: visits needed after the first to confirm."""
    for i in range(n_seen.size):
        values = m[i, : n_seen[i]]
        progressed = _progression(values, more)
        end = values.size if progressed == _NEVER else progressed
        vgpr = _first_at_most(values[:end], _LEFT_VGPR, more)
        pr = _first_at_most(values[:end], _LEFT_PR, more)
        if vgpr != _NEVER:
            best[i] = VGPR
        elif pr != _NEVER:
            best[i] = PR
        elif _first_at_most(values[:end], _LEFT_MR, more) != _NEVER:
            best[i] = MR
        elif progressed != _NEVER:
            best[i] = PD
        else:
            best[i] = SD if values.size >= 2 + more else NE
        visits[0, i], visits[1, i], visits[2, i] = pr, vgpr, progressed


@njit(nogil=True)
def _first_at_most(values, left, more):
    for v in range(1, values.size - more):
        if values[v] <= left * values[0] and values[v + more] <= left * values[0]:
            return v
    return _NEVER


@njit(nogil=True)
def _progression(values, more):
    nadir = values[0]
    for v in range(1, values.size - more):
        rise = _RISE_FROM_HIGH_G_PER_L if nadir >= _HIGH_NADIR_G_PER_L else _RISE_G_PER_L
        bound = max(_RISE * nadir, nadir + rise)
        if values[v] >= bound and values[v + more] >= bound:
            return v
        nadir = min(nadir, values[v])
    return _NEVER
