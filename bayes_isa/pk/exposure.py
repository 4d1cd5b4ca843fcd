"""What the likelihood needs to know of drugs: effect and dexamethasone at any time, and where they jump.

One rule for every jump: the value at the very time of a dose, a switch-on or a switch-off is the one just
before it (the limit from the left). An assessment on a dosing day comes before the dose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayes_isa.errors import DataError
from bayes_isa.pk._doses import HOURS_PER_DAY, Doses, checked_doses, checked_queries
from bayes_isa.pk.dexamethasone import (
    DEXAMETHASONE_CL_F,
    DEXAMETHASONE_V_F,
    DexamethasoneSolution,
    solve_dexamethasone,
)
from bayes_isa.pk.isatuximab import IsatuximabSolution, solve_isatuximab
from bayes_isa.pk.kpd import KPD_HALF_LIFE_DAY, KPDSolution, solve_kpd


class Breakpoints(NamedTuple):
    """Times at which the exposure of each patient is not smooth: those of patient i are `of(i)`."""

    offsets: NDArray[np.int64]
    days: NDArray[np.float64]

    def of(self, patient: int) -> NDArray[np.float64]:
        """Days of one patient, sorted, unique and not negative."""
        return self.days[self.offsets[patient] : self.offsets[patient + 1]]


@dataclass(frozen=True, slots=True)
class Exposure:
    """Exposure of n patients; made by `pk_exposure`, `kpd_exposure` or `constant_exposure`.

    Attributes
    ----------
    kind
        "pk": the effect is the isatuximab concentration in mg/L. "kpd": the rate in mg/day at which isatuximab leaves
        a virtual compartment. "constant": 1 on treatment, 0 off it.
    dexamethasone
        Its concentrations.
    breakpoints
        Times of doses, ends of infusions and switches, from day 0 on, as (offsets, days).
    isatuximab
        Its concentrations, for kind "pk".
    kpd
        The driver of its effect, for kind "kpd".
    on_day, off_day
        (n,) treatment is on over on_day < t <= off_day, for kind "constant".
    """

    kind: Literal["pk", "kpd", "constant"]
    dexamethasone: DexamethasoneSolution
    breakpoints: Breakpoints
    isatuximab: IsatuximabSolution | None = None
    on_day: NDArray[np.float64] | None = None
    off_day: NDArray[np.float64] | None = None
    kpd: KPDSolution | None = None

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return self.dexamethasone.n_patients

    def evaluate(self, patient: ArrayLike, day: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Effect (mg/L for "pk", mg/day for "kpd", else 0 or 1) and dexamethasone (umol/L) at (patient, day), (m,).

        Raises
        ------
        DataError
            If a patient is unknown, or a day is not finite or beyond the end of the isatuximab solution.
        """
        who, when = checked_queries(patient, day, self.n_patients)
        if self.isatuximab is not None:
            effect = self.isatuximab.concentration(who, when)
        elif self.kpd is not None:
            effect = self.kpd.driver(who, when)
        else:
            assert self.on_day is not None
            assert self.off_day is not None
            effect = ((self.on_day[who] < when) & (when <= self.off_day[who])).astype(float)
        return effect, self.dexamethasone.concentration(who, when)


def pk_exposure(
    parameters: ArrayLike,
    isatuximab: Doses,
    dexamethasone: Doses | None,
    until_day: ArrayLike,
    *,
    rtol: float = 1e-9,
    clearance: float = DEXAMETHASONE_CL_F,
    volume: float = DEXAMETHASONE_V_F,
) -> Exposure:
    """Exposure that follows from doses and individual PK parameters.

    Parameters
    ----------
    parameters
        (n, 9) isatuximab parameters, columns `PK_PARAMETERS`.
    isatuximab, dexamethasone
        Doses of each drug, None for none.
    until_day
        (n,) or a scalar: the last day the exposure may be asked for.
    rtol
        Relative tolerance of the isatuximab concentration, see `solve_isatuximab`.
    clearance, volume
        Of dexamethasone, L/h and L, see `solve_dexamethasone`.

    Raises
    ------
    DataError
        See `solve_isatuximab` and `solve_dexamethasone`.
    """
    n = len(np.asarray(parameters))
    solution = solve_isatuximab(parameters, *isatuximab, until_day, rtol=rtol)
    dexa = _solve_doses(n, dexamethasone, clearance, volume)
    who, day, amount, duration = checked_doses(n, *isatuximab)
    given = amount > 0
    who, day, duration = who[given], day[given], duration[given]
    # ends as the solver has them, start and length added up in hours
    ends = (day * HOURS_PER_DAY + duration) / HOURS_PER_DAY
    return Exposure(
        kind="pk",
        isatuximab=solution,
        dexamethasone=dexa,
        breakpoints=_breakpoints(n, [(who, day), (who, ends), _dose_times(dexa)], solution.until_day),
    )


def kpd_exposure(
    n_patients: int,
    isatuximab: Doses,
    dexamethasone: Doses | None,
    until_day: ArrayLike,
    *,
    half_life_day: float = KPD_HALF_LIFE_DAY,
    clearance: float = DEXAMETHASONE_CL_F,
    volume: float = DEXAMETHASONE_V_F,
) -> Exposure:
    """Exposure that follows from doses alone, by K-PD models of both drugs.

    Parameters
    ----------
    n_patients
        Number of patients.
    isatuximab, dexamethasone
        Doses of each drug, None for none.
    until_day
        (n,) or a scalar: the last day at which doses count as breakpoints.
    half_life_day
        Of isatuximab in its virtual compartment, see `solve_kpd`.
    clearance, volume
        Of dexamethasone, L/h and L, see `solve_dexamethasone`.

    Raises
    ------
    DataError
        See `solve_kpd` and `solve_dexamethasone`.
    """
    solution = solve_kpd(n_patients, isatuximab, half_life_day=half_life_day)
    dexa = _solve_doses(n_patients, dexamethasone, clearance, volume)
    until = np.array(np.broadcast_to(np.asarray(until_day, dtype=float), (n_patients,)))
    who = np.repeat(np.arange(n_patients), np.diff(solution.offsets))
    return Exposure(
        kind="kpd",
        dexamethasone=dexa,
        kpd=solution,
        breakpoints=_breakpoints(n_patients, [(who, solution.day), _dose_times(dexa)], until),
    )


def constant_exposure(
    n_patients: int,
    on_day: ArrayLike,
    off_day: ArrayLike,
    dexamethasone: Doses | None = None,
    *,
    clearance: float = DEXAMETHASONE_CL_F,
    volume: float = DEXAMETHASONE_V_F,
) -> Exposure:
    """Exposure of patients of whom only the time on treatment is known: the effect is 1 on it and 0 off it.

    Parameters
    ----------
    n_patients
        Number of patients.
    on_day, off_day
        (n,) or scalars, in days: treatment is on over on_day < t <= off_day; infinity for an `off_day`
        never reached.
    dexamethasone
        Doses, None for none.
    clearance, volume
        Of dexamethasone, L/h and L, see `solve_dexamethasone`.

    Raises
    ------
    DataError
        If a switch-on is not finite or comes after its switch-off.
    """
    on, off = (
        np.array(np.broadcast_to(np.asarray(day, dtype=float), (n_patients,))) for day in (on_day, off_day)
    )
    if not (np.all(np.isfinite(on)) and np.all(on <= off)):
        raise DataError("treatment must be switched on at a finite day, not after it is switched off")
    dexa = _solve_doses(n_patients, dexamethasone, clearance, volume)
    who = np.arange(n_patients)
    never = np.full(n_patients, np.inf)
    return Exposure(
        kind="constant",
        dexamethasone=dexa,
        on_day=on,
        off_day=off,
        breakpoints=_breakpoints(n_patients, [(who, on), (who, off), _dose_times(dexa)], never),
    )


def mean_exposure(
    exposure: Exposure, until_day: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of the effect and of dexamethasone over days 0 to `until_day` of each patient.

    Parameters
    ----------
    exposure
        Exposure of n patients.
    until_day
        (n,) or a scalar, positive, within reach of the exposure.

    Returns
    -------
    Mean effect (n,), mg/L for kind "pk", mg/day for "kpd" and the fraction of time on treatment otherwise; mean
    dexamethasone (n,), umol/L. Both are exact integrals, not samples.

    Raises
    ------
    DataError
        If a window is empty or out of reach.
    """
    who, until = checked_queries(np.arange(exposure.n_patients), until_day, exposure.n_patients)
    if np.any(until <= 0):
        raise DataError("a mean exposure needs windows of positive length")
    if exposure.isatuximab is not None:
        effect = exposure.isatuximab.mean_concentration(until)
    elif exposure.kpd is not None:
        effect = exposure.kpd.mean_driver(until)
    else:
        assert exposure.on_day is not None
        assert exposure.off_day is not None
        overlap = np.minimum(exposure.off_day, until) - np.maximum(exposure.on_day, 0.0)
        effect = np.maximum(overlap, 0.0) / until
    return effect, exposure.dexamethasone.discounted_integral(who, until, 0.0) / until


def _solve_doses(
    n_patients: int, doses: Doses | None, clearance: float, volume: float
) -> DexamethasoneSolution:
    patient, day, amount, _ = doses if doses is not None else Doses.none()
    return solve_dexamethasone(n_patients, patient, day, amount, clearance=clearance, volume=volume)


def _dose_times(solution: DexamethasoneSolution) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    return np.repeat(np.arange(solution.n_patients), np.diff(solution.dose_offsets)), solution.dose_day


def _breakpoints(
    n_patients: int,
    times: list[tuple[NDArray[np.int64], NDArray[np.float64]]],
    until_day: NDArray[np.float64],
) -> Breakpoints:
    """Sort and merge (patient, day) pairs, without negative and infinite days and those after `until_day`."""
    who = np.concatenate([patient for patient, _ in times])
    day = np.concatenate([days for _, days in times])
    kept = (day >= 0) & np.isfinite(day) & (day <= until_day[who])
    who, day = who[kept], day[kept]
    order = np.lexsort((day, who))
    who, day = who[order], day[order]
    fresh = np.ones(len(day), dtype=bool)
    fresh[1:] = (who[1:] != who[:-1]) | (day[1:] != day[:-1])
    offsets = np.searchsorted(who[fresh], np.arange(n_patients + 1)).astype(np.int64)
    return Breakpoints(offsets, day[fresh])
