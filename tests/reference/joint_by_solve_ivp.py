"""Log-likelihood terms of one patient by SciPy's ODE solvers: slow, independent, written from the model's equations.

    dJ/dt = exp(-R t) [C/(EC50 + C) + k Cd],   log M = log M0 + KL t - KD J,   dH/dt = h0(t) exp(lp + beta_link dM/dt)

Integrated together and restarted wherever the exposure jumps, at every measurement and at the event.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp
from scipy.stats import norm

# Where log M leaves this range the hazard overflows or underflows whatever the method.
_LOG_M_BOUND = 600.0
# A hazard above this makes H pass its bound within 0.01 s.
_LOG_H_BOUND = 25.0
# H counted up to: survival is exp(-H), and solvers stall where it explodes.
H_BOUND = 1e4
# The hazard grows like t^(s-1) from day 0: up to this day time is integrated on the log scale.
_FIRST_DAY = 1e-2


@dataclass(frozen=True)
class Sets:
    """Parameter sets for one patient, (n_sets,) each, natural scale: g/L, 1/day, mg/L, L/umol, day."""

    m0: np.ndarray
    kl: np.ndarray
    kd: np.ndarray
    r: np.ndarray
    ec50: np.ndarray
    k: np.ndarray
    lp: np.ndarray
    beta_link: np.ndarray
    te: np.ndarray
    s: np.ndarray
    sigma_add: np.ndarray
    sigma_prop: np.ndarray


Concentrations = Callable[[float], tuple[float, float]]  # day -> isatuximab mg/L, dexamethasone umol/L


def log_m_and_hazard(
    sets: Sets,
    exposure: Concentrations,
    breaks: np.ndarray,
    visits: np.ndarray,
    event_day: float,
    rtol: float,
    more_days: np.ndarray | None = None,
) -> tuple[np.ndarray, ...]:
    """log M (n_sets, n_visits) at sorted days >= 0, H (n_sets,) at the event day, log hazard (n_sets,) at it.

    With `more_days` (m,), up to the event day, also H at those, (n_sets, m).

    `exposure` gives the value just before a jump when asked at a jump, so every stretch begins a little after its
    start.
    """
    last = max(event_day, visits.max(initial=0.0))
    more = np.empty(0) if more_days is None else more_days
    edges = np.unique(np.concatenate([[0.0, _FIRST_DAY], breaks, visits, more, [event_day, last]]))
    edges = edges[(edges >= 0.0) & (edges <= last)]
    n = sets.m0.size
    state = np.zeros(2 * n)
    log_m = np.full((n, visits.size), np.log(sets.m0)[:, None])
    hazard, earlier = np.zeros(n), np.zeros((n, more.size))
    for start, end in itertools.pairwise(edges):
        state = _stretch(sets, exposure, start, end, state, end <= event_day, rtol)
        now = np.log(sets.m0) + sets.kl * end - sets.kd * state[:n]
        log_m[:, visits == end] = now[:, None]
        earlier[:, more == end] = state[n:, None]
        if end == event_day:
            hazard = state[n:].copy()
            log_hazard = _log_hazard(sets, end, state[:n], *exposure(end))
    return (log_m, hazard, log_hazard) if more_days is None else (log_m, hazard, log_hazard, earlier)


def measurement_sum(
    sets: Sets, log_m: np.ndarray, value: np.ndarray, below: np.ndarray, lloq: np.ndarray
) -> np.ndarray:
    """Sum over measurements (n_sets,) of the residual error's log density, or log probability below the LLOQ."""
    m = np.exp(log_m)
    sd = np.sqrt(sets.sigma_add[:, None] ** 2 + (sets.sigma_prop[:, None] * m) ** 2)
    return np.where(below, norm.logcdf(lloq, m, sd), norm.logpdf(value, m, sd)).sum(axis=1)


def _stretch(
    sets: Sets,
    exposure: Concentrations,
    start: float,
    end: float,
    state: np.ndarray,
    at_risk: bool,
    rtol: float,
) -> np.ndarray:
    n = sets.m0.size
    inside = np.nextafter(start, np.inf)  # just after a jump at `start`

    def rates(day: float, y: np.ndarray) -> np.ndarray:
        concentration, dexamethasone = exposure(min(max(day, inside), end))
        kill = np.exp(-sets.r * day) * (concentration / (sets.ec50 + concentration) + sets.k * dexamethasone)
        if not at_risk:
            return np.concatenate([kill, np.zeros(n)])
        log_h = _log_hazard(sets, day, y[:n], concentration, dexamethasone)
        # A set whose H has exploded no longer counts: its hazard is held so that the others can go on.
        return np.concatenate([kill, np.where(y[n:] > H_BOUND, 0.0, np.exp(np.minimum(log_h, _LOG_H_BOUND)))])

    if start > 0.0:
        return _solve(rates, start, end, state, rtol)
    # d/d(log t) = t d/dt, from a day at which nothing has happened yet.
    first = 1e-14
    log_h = _log_hazard(sets, first, state[:n], *exposure(first))
    state = np.concatenate([state[:n], np.exp(np.minimum(log_h, _LOG_H_BOUND)) * first / sets.s])
    return _solve(
        lambda log_t, y: np.exp(log_t) * rates(np.exp(log_t), y), np.log(first), np.log(end), state, rtol
    )


def _solve(rates: Callable, start: float, end: float, state: np.ndarray, rtol: float) -> np.ndarray:
    # SciPy's norm averages over components: n times tighter holds for each.
    solution = solve_ivp(rates, (start, end), state, method="DOP853", rtol=rtol, atol=1e-3 * rtol)
    assert solution.success, solution.message
    return solution.y[:, -1]


def _log_hazard(
    sets: Sets, day: float, j: np.ndarray, concentration: float, dexamethasone: float
) -> np.ndarray:
    kill = np.exp(-sets.r * day) * (concentration / (sets.ec50 + concentration) + sets.k * dexamethasone)
    log_m = np.clip(np.log(sets.m0) + sets.kl * day - sets.kd * j, -_LOG_M_BOUND, _LOG_M_BOUND)
    slope = np.exp(log_m) * (sets.kl - sets.kd * kill)
    ratio = day / sets.te
    log_h0 = np.log(sets.s / sets.te) + (sets.s - 1.0) * np.log(ratio) - np.log1p(ratio**sets.s)
    return log_h0 + sets.lp + sets.beta_link * slope


def own_exposure(
    pk: np.ndarray, isatuximab: np.ndarray, dexamethasone: np.ndarray, last_day: float, rtol: float = 1e-11
) -> Concentrations:
    """Both concentrations from doses, without the package: `pk` (9,), rows of (day, mg, hours) and of (day, mg)."""
    CLinf, CLm, KCL, g, Vc, Q, Vp, Vm, Km = pk
    start, stop = isatuximab[:, 0], isatuximab[:, 0] + isatuximab[:, 2] / 24.0
    edges = np.unique(np.concatenate([start, stop, [last_day]]))
    pieces = []
    amounts = np.zeros(2)
    for a, b in itertools.pairwise(edges):
        running = (start <= a) & (stop > a)
        inflow = np.sum(isatuximab[running, 1] / isatuximab[running, 2])

        def rates(day: float, y: np.ndarray, inflow: float = inflow) -> np.ndarray:
            c, p, hour = y[0] / Vc, y[1] / Vp, 24.0 * day
            clearance = CLinf * np.exp(CLm * (1.0 - hour**g / (KCL**g + hour**g)))
            out = clearance * c + Vc * Vm * c / (Km + c)
            return 24.0 * np.array([inflow - out - Q * (c - p), Q * (c - p)])

        pieces.append(
            solve_ivp(rates, (a, b), amounts, method="LSODA", rtol=rtol, atol=1e-11, dense_output=True)
        )
        amounts = pieces[-1].y[:, -1]
    rate = 24.0 * 9.29 / 51.3

    def concentrations(day: float) -> tuple[float, float]:
        piece = pieces[min(max(int(np.searchsorted(edges, day)) - 1, 0), len(pieces) - 1)]
        given = dexamethasone[dexamethasone[:, 0] < day]
        left = given[:, 1] * 1000.0 / 392.46 / 51.3 * np.exp(-rate * (day - given[:, 0]))
        return float(piece.sol(day)[0]) / Vc, float(left.sum())

    return concentrations
