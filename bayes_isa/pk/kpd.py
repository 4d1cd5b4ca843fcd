"""Isatuximab by a K-PD model: without concentrations, doses pass through a virtual compartment.

Each dose enters at its infusion rate and leaves at first order with the rate KDE, whatever the patient. What drives
the effect is the rate at which drug leaves, KDE A in mg/day (Jacqmin et al. 2007, doi:10.1007/s10928-006-9035-z), so
that the dose rate of half effect, EDK50 in mg/day, stands in place of EC50: under steady dosing the driver averages the
dose rate.

Linear, hence closed forms: between two changes of the infusion rate, V(t) = r + (V_j - r) exp(-KDE (t - t_j)) with r
the dose rate of the running infusions and V_j the driver just after t_j; a dose without duration raises V by KDE dose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from bayes_isa.errors import DataError
from bayes_isa.pk._doses import HOURS_PER_DAY, Doses, checked_doses, checked_queries

KPD_HALF_LIFE_DAY = 28.0
"""Half-life in the virtual compartment, days: that of isatuximab at steady state in IgG myeloma (Fau et al. 2020),
which two of three patients have. Non-IgG patients have 57 days; before steady state, when clearance is up to 1.9 times
as high, it is shorter. One constant cannot follow either: that is what K-PD gives up against pharmacokinetics."""


@dataclass(frozen=True, slots=True)
class KPDSolution:
    """Driver of the effect in n patients; made by `solve_kpd`.

    Changes of patient i are rows `offsets[i]:offsets[i + 1]`, in order of time.

    Attributes
    ----------
    offsets
        (n + 1,) first change of each patient.
    day
        (m,) days of doses and ends of infusions.
    level
        (m,) driver just after each, mg/day.
    infused
        (m,) dose rate of the infusions that run after each, mg/day.
    rate_per_day
        KDE, 1/day.
    """

    offsets: NDArray[np.int64]
    day: NDArray[np.float64]
    level: NDArray[np.float64]
    infused: NDArray[np.float64]
    rate_per_day: float

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(self.offsets) - 1

    def driver(self, patient: ArrayLike, day: ArrayLike) -> NDArray[np.float64]:
        """KDE A in mg/day at pairs (patient, day), arrays (m,); at the very time of a dose, just before it.

        Raises
        ------
        DataError
            If a patient is unknown or a day not finite.
        """
        who, when = checked_queries(patient, day, self.n_patients)
        return _driver(self.offsets, self.day, self.level, self.infused, self.rate_per_day, who, when)

    def mean_driver(self, until_day: ArrayLike) -> NDArray[np.float64]:
        """Mean over days 0 to `until_day` (n,) or a scalar, positive; (n,) in mg/day, an exact integral."""
        who, until = checked_queries(np.arange(self.n_patients), until_day, self.n_patients)
        total = _integral(self.offsets, self.day, self.level, self.infused, self.rate_per_day, who, until)
        return total / until


def solve_kpd(n_patients: int, doses: Doses, *, half_life_day: float = KPD_HALF_LIFE_DAY) -> KPDSolution:
    """The driver that follows from doses.

    Parameters
    ----------
    n_patients
        Number of patients, those without a dose included.
    doses
        In any order; infusions may overlap.
    half_life_day
        In the virtual compartment, days.

    Raises
    ------
    DataError
        If a dose is impossible or the half-life not positive.
    """
    if not (math.isfinite(half_life_day) and half_life_day > 0):
        raise DataError(f"the half-life of a K-PD model must be positive and finite; found {half_life_day}")
    rate = math.log(2.0) / half_life_day
    patient, start, amount, duration = checked_doses(n_patients, *doses)
    days = duration / HOURS_PER_DAY
    infusion = days > 0
    speed = np.divide(amount, days, out=np.zeros_like(amount), where=infusion)
    jump = np.where(infusion, 0.0, rate * amount)
    # As the isatuximab solver has them: start and length added up in hours.
    end = (start * HOURS_PER_DAY + duration) / HOURS_PER_DAY
    who = np.concatenate([patient, patient[infusion]])
    day = np.concatenate([start, end[infusion]])
    change = np.concatenate([speed, -speed[infusion]])
    running = np.concatenate([infusion.astype(np.int64), np.full(int(infusion.sum()), -1)])
    jump = np.concatenate([jump, np.zeros(int(infusion.sum()))])
    order = np.lexsort((day, who))
    offsets = np.searchsorted(who[order], np.arange(n_patients + 1)).astype(np.int64)
    level, infused = _levels(offsets, day[order], change[order], running[order], jump[order], rate)
    return KPDSolution(offsets, day[order], level, infused, rate)


@njit(cache=True, nogil=True, error_model="numpy")
def _levels(offsets, day, change, running, jump, rate):
    level, infused = np.empty(day.size), np.empty(day.size)
    for i in range(offsets.size - 1):
        before, speed, count = 0.0, 0.0, 0
        for j in range(offsets[i], offsets[i + 1]):
            if j > offsets[i]:
                before = speed + (before - speed) * math.exp(-rate * (day[j] - day[j - 1]))
            before += jump[j]
            count += running[j]
            # Exactly 0 when nothing runs: sums and differences of rates would leave a rest.
            speed = speed + change[j] if count > 0 else 0.0
            level[j], infused[j] = before, speed
    return level, infused


@njit(cache=True, nogil=True, error_model="numpy")
def _driver(offsets, day, level, infused, rate, patient, when):
    out = np.zeros(patient.size)
    for q in range(patient.size):
        first = offsets[patient[q]]
        before = np.searchsorted(day[first : offsets[patient[q] + 1]], when[q])  # changes strictly before
        if before > 0:
            j = first + before - 1
            out[q] = infused[j] + (level[j] - infused[j]) * math.exp(-rate * (when[q] - day[j]))
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _integral(offsets, day, level, infused, rate, patient, until):
    out = np.zeros(patient.size)
    for q in range(patient.size):
        last = offsets[patient[q] + 1]
        for j in range(offsets[patient[q]], last):
            start = max(day[j], 0.0)
            stop = min(day[j + 1], until[q]) if j + 1 < last else until[q]
            if stop > start:
                above = (level[j] - infused[j]) * math.exp(-rate * (start - day[j]))
                out[q] += infused[j] * (stop - start) - above * math.expm1(-rate * (stop - start)) / rate
    return out
