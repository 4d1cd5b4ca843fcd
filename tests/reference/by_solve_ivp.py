"""The isatuximab equations solved by SciPy, one patient at a time: slow, independent of the package."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.integrate import solve_ivp


def isatuximab_by_solve_ivp(
    parameters, day, amount_mg, duration_h, query_day, *, method="DOP853", rtol=1e-10, max_step=np.inf
):
    """C in mg/L at sorted `query_day`, restarted at every edge of an infusion; first dose on day 0."""
    CLinf, CLm, KCL, g, Vc, Q, Vp, Vm, Km = parameters
    start, stop = day * 24.0, day * 24.0 + duration_h
    query = np.asarray(query_day) * 24.0
    edges = np.unique(np.concatenate([start, stop, [query[-1]]]))
    edges = edges[edges <= query[-1]]
    state = np.zeros(2)
    out = np.zeros(len(query))
    for a, b in pairwise(edges):
        running = (start <= a) & (stop > a)
        inflow = np.sum(amount_mg[running] / duration_h[running])

        def rates(t, amounts, inflow=inflow):
            c, p = amounts[0] / Vc, amounts[1] / Vp
            clearance = CLinf * np.exp(CLm * (1.0 - t**g / (KCL**g + t**g)))
            exchange = Q * (c - p)
            return [inflow - clearance * c - Vc * Vm * c / (Km + c) - exchange, exchange]

        inside = (query > a) & (query <= b)
        solution = solve_ivp(
            rates,
            (a, b),
            state,
            method=method,
            rtol=rtol,
            atol=1e-11,
            max_step=max_step,
            t_eval=np.union1d(query[inside], b),
        )
        out[inside] = solution.y[0, np.searchsorted(solution.t, query[inside])] / Vc
        state = solution.y[:, -1]
    return out
