"""Isatuximab concentrations: the two-compartment model solved once per patient, then evaluated anywhere.

    dC/dt = inf(t)/Vc - CLlin(t)/Vc C - Vm C/(Km + C) - Q/Vc (C - P)
    dP/dt = Q/Vp (C - P)
    CLlin(t) = CLinf exp( CLm (1 - t^g/(KCL^g + t^g)) )

C and P are the central and peripheral concentrations (mg/L), t is hours since the patient's first dose (Fau
et al. 2020). Solved by implicit collocation with adaptive steps (`_collocation` says why), restarted at
every start and end of an infusion. What is kept is the solution itself, a polynomial of degree 7 on each
step, so that C is known to the same accuracy at any time.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayes_isa.errors import DataError, Problem
from bayes_isa.pk._doses import HOURS_PER_DAY, checked_doses, checked_queries
from bayes_isa.pk._integrate import FAILURES, evaluate_many, integrate_many, mean_many
from bayes_isa.pk.parameters import PK_PARAMETERS

_CLM = PK_PARAMETERS.index("CLm")
_CHUNK = 64  # patients a thread takes at a time
_LEAST_VISIBLE_MG_PER_L = 0.1


@dataclass(frozen=True, slots=True)
class IsatuximabSolution:
    """Concentration of isatuximab of n patients as piecewise polynomials; made by `solve_isatuximab`.

    Steps of patient i are rows `step_offsets[i]:step_offsets[i + 1]`, in order of time and without gaps
    from the first dose to `until_day[i]`.

    Attributes
    ----------
    step_offsets
        (n + 1,) first step of each patient.
    step_start_h, step_size_h
        (s,) start and length of each step, hours since day 0.
    coefficients
        (s, 8) Legendre series of C on each step, mg/L; the first is the mean over the step.
    until_day
        (n,) last day the solution covers.
    """

    step_offsets: NDArray[np.int64]
    step_start_h: NDArray[np.float64]
    step_size_h: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    until_day: NDArray[np.float64]

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(self.until_day)

    def concentration(self, patient: ArrayLike, day: ArrayLike) -> NDArray[np.float64]:
        """Concentration in mg/L at pairs (patient, day).

        Zero before the first dose. C is continuous except at a bolus (an infusion of no duration), where the
        value is the one just before it.

        Parameters
        ----------
        patient
            (m,) position of the patient, 0 to n - 1. Queries grouped by patient and sorted in time are
            fastest.
        day
            (m,) days, at most `until_day` of the patient.

        Raises
        ------
        DataError
            If a patient is unknown, or a day is not finite or beyond `until_day`.
        """
        who, when = checked_queries(patient, day, self.n_patients, self.until_day)
        return evaluate_many(
            self.step_offsets,
            self.step_start_h,
            self.step_size_h,
            self.coefficients,
            who,
            when * HOURS_PER_DAY,
        )

    def mean_concentration(self, until_day: ArrayLike) -> NDArray[np.float64]:
        """Mean concentration in mg/L over days 0 to `until_day` (n,), positive; an exact integral."""
        _, when = checked_queries(np.arange(self.n_patients), until_day, self.n_patients, self.until_day)
        if np.any(when <= 0):
            raise DataError("a mean concentration needs windows of positive length")
        return mean_many(
            self.step_offsets, self.step_start_h, self.step_size_h, self.coefficients, when * HOURS_PER_DAY
        )


def solve_isatuximab(
    parameters: ArrayLike,
    dose_patient: ArrayLike,
    dose_day: ArrayLike,
    amount_mg: ArrayLike,
    duration_h: ArrayLike,
    until_day: ArrayLike,
    *,
    rtol: float = 1e-9,
) -> IsatuximabSolution:
    """Solve the isatuximab model of every patient from the first dose to `until_day`.

    Parameters
    ----------
    parameters
        (n, 9) individual parameters, columns `PK_PARAMETERS`.
    dose_patient, dose_day, amount_mg, duration_h
        (d,) infusions in any order: position of the patient, start in days, amount in mg, length in hours.
        Overlapping infusions add up; one of no duration is a bolus; one that starts at or after `until_day`
        is left out, as is one of no amount.
    until_day
        (n,) or a scalar: where to stop.
    rtol
        Relative tolerance of C, held in practice at any time; below 0.1 mg/L it is an absolute one, `rtol`
        times 0.1 mg/L. The effect C/(EC50 + C) cannot see less: EC50 is above 1 mg/L in any plausible
        patient.

    Raises
    ------
    DataError
        If an input has the wrong shape, is not finite or not positive, or the solver fails for a patient
        (named by position).
    """
    theta = _rate_constants(parameters)
    doses = checked_doses(len(theta), dose_patient, dose_day, amount_mg, duration_h)
    until = np.array(np.broadcast_to(np.asarray(until_day, dtype=float), (len(theta),)))
    if not np.all(np.isfinite(until)):
        raise DataError("until_day must be finite")
    volume = np.asarray(parameters, dtype=float)[:, PK_PARAMETERS.index("Vc")]
    events = _events(doses, volume, theta)
    step_offsets, steps = _integrate_chunks(theta, events, until * HOURS_PER_DAY, rtol)
    return IsatuximabSolution(
        step_offsets=step_offsets,
        step_start_h=steps[:, 0].copy(),
        step_size_h=steps[:, 1].copy(),
        coefficients=steps[:, 2:].copy(),
        until_day=until,
    )


def _integrate_chunks(
    theta: NDArray[np.float64], events: _Events, until_h: NDArray[np.float64], rtol: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Solve the patients in chunks on all processors: (n + 1,) offsets of steps and the steps (s, 10)."""
    n = len(theta)
    starts = range(0, max(n, 1), _CHUNK)

    def solve(start: int) -> tuple[NDArray[np.int64], NDArray[np.float64], int, int]:
        rows = slice(start, min(start + _CHUNK, n))
        offsets = events.offsets[rows.start : rows.stop + 1]
        return integrate_many(
            theta[rows], offsets, *events[1:], until_h[rows], rtol, rtol * _LEAST_VISIBLE_MG_PER_L
        )

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        chunks = list(pool.map(solve, starts))
    for start, (_, _, failed, reason) in zip(starts, chunks, strict=True):
        if failed >= 0:
            raise DataError(
                "the isatuximab equations could not be solved",
                [Problem(FAILURES[reason], "Check the PK parameters and doses", patient=str(start + failed))],
            )
    counts = np.concatenate([np.diff(offsets) for offsets, *_ in chunks])
    return np.concatenate([[0], np.cumsum(counts)]), np.concatenate([steps for _, steps, *_ in chunks])


def _rate_constants(parameters: ArrayLike) -> NDArray[np.float64]:
    """(n, 8): CLinf/Vc, CLm, KCL, g, Q/Vc, Q/Vp, Vm, Km; raises if a parameter is out of its range."""
    values = np.asarray(parameters, dtype=float)
    if values.ndim != 2 or values.shape[1] != len(PK_PARAMETERS):
        raise DataError(f"PK parameters must have shape (n, {len(PK_PARAMETERS)}), not {values.shape}")
    good = np.isfinite(values) & (values > 0)
    good[:, _CLM] = np.isfinite(values[:, _CLM])
    if not good.all():
        raise DataError(
            "PK parameters must be finite and, but for CLm, positive",
            [
                Problem(f"{PK_PARAMETERS[j]} is {values[i, j]:g}", patient=str(i))
                for i, j in np.argwhere(~good)
            ],
        )
    cl, clm, kcl, g, vc, q, vp, vm, km = values.T
    return np.ascontiguousarray(np.column_stack([cl / vc, clm, kcl, g, q / vc, q / vp, vm, km]))


class _Events(NamedTuple):
    """Edges of infusions by patient and time, hours since day 0."""

    offsets: NDArray[np.int64]
    time_h: NDArray[np.float64]
    inflow_change: NDArray[np.float64]  # mg/L/h
    count_change: NDArray[np.int64]  # of infusions running
    jump: NDArray[np.float64]  # of C, mg/L


def _events(
    doses: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    volume: NDArray[np.float64],
    theta: NDArray[np.float64],
) -> _Events:
    given = doses[2] > 0
    patient = doses[0][given]
    day, amount, duration = (column[given] for column in doses[1:])
    start = day * HOURS_PER_DAY
    dose = amount / volume[patient]
    bolus = duration == 0
    inflow = np.where(bolus, 0.0, dose / np.where(bolus, 1.0, duration))
    running = np.where(bolus, 0, 1)
    jump = np.where(bolus, dose, 0.0)

    # a step must not jump over a steep fall of the linear clearance: an edge in its middle
    treated = np.unique(patient)
    by_time = np.lexsort((start, patient))
    first = start[by_time][np.searchsorted(patient[by_time], treated)]
    fall = first + theta[treated, 2]
    nothing = np.zeros(len(treated))

    who = np.concatenate([patient, patient, treated])
    time_h = np.concatenate([start, start + duration, fall])
    order = np.lexsort((time_h, who))
    return _Events(
        offsets=np.searchsorted(who[order], np.arange(len(volume) + 1)).astype(np.int64),
        time_h=time_h[order],
        inflow_change=np.concatenate([inflow, -inflow, nothing])[order],
        count_change=np.concatenate([running, -running, nothing])[order].astype(np.int64),
        jump=np.concatenate([jump, np.zeros_like(jump), nothing])[order],
    )
