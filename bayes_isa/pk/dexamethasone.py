"""Dexamethasone by a K-PD model: one virtual compartment per patient, emptied at a first-order rate.

There are no dexamethasone concentrations to fit, so each dose simply enters a compartment of volume V/F at
its time and leaves it with clearance CL/F. The constants the publication used for this are not public; the
defaults, CL/F 9.29 L/h and V/F 51.3 L, reproduce its effect on M-protein at week 8 with its k = 5.47
L/umol. A study of 20 mg by mouth gives `SENSITIVITY_CL_F` and `SENSITIVITY_V_F`: too weak an effect, kept
for sensitivity analyses.

Linear, hence closed forms: Cd(t) = S_j exp(-ke (t - t_j)), with t_j the last dose before t and S_j the
concentration just after it, S_j = S_(j-1) exp(-ke (t_j - t_(j-1))) + dose_j / V.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from bayes_isa.errors import DataError
from bayes_isa.pk._doses import HOURS_PER_DAY, checked_doses, checked_queries

DEXAMETHASONE_CL_F = 9.29
"""Apparent clearance, L/h."""

DEXAMETHASONE_V_F = 51.3
"""Apparent volume, L."""

SENSITIVITY_CL_F = 15.05
"""Apparent clearance of the sensitivity set, L/h."""

SENSITIVITY_V_F = 87.0
"""Apparent volume of the sensitivity set, L."""

MOLAR_MASS = 392.46
"""Molar mass of dexamethasone, g/mol: 40 mg are 101.9 umol."""


@dataclass(frozen=True, slots=True)
class DexamethasoneSolution:
    """Concentration of dexamethasone of n patients; made by `solve_dexamethasone`.

    Doses of patient i are rows `dose_offsets[i]:dose_offsets[i + 1]`, in order of time.

    Attributes
    ----------
    dose_offsets
        (n + 1,) first dose of each patient.
    dose_day
        (d,) days of the doses.
    increment
        (d,) rise of the concentration at each dose, umol/L.
    level
        (d,) concentration just after each dose, umol/L.
    rate_per_day
        First-order rate of loss, 1/day.
    """

    dose_offsets: NDArray[np.int64]
    dose_day: NDArray[np.float64]
    increment: NDArray[np.float64]
    level: NDArray[np.float64]
    rate_per_day: float

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(self.dose_offsets) - 1

    def concentration(self, patient: ArrayLike, day: ArrayLike) -> NDArray[np.float64]:
        """Concentration in umol/L at pairs (patient, day), arrays (m,).

        At the very time of a dose the value is the one just before it, as an assessment on a dosing day comes
        before the dose.

        Raises
        ------
        DataError
            If a patient is unknown or a day not finite.
        """
        who, when = checked_queries(patient, day, self.n_patients)
        return _concentration(self.dose_offsets, self.dose_day, self.level, self.rate_per_day, who, when)

    def discounted_integral(self, patient: ArrayLike, day: ArrayLike, R: ArrayLike) -> NDArray[np.float64]:
        """int_0^t exp(-R u) Cd(u) du in umol/L day, exact, at (patient, day t, R in 1/day), arrays (m,).

        Zero for t <= 0. With R = 0 this is the area under the curve from day 0.

        Raises
        ------
        DataError
            If a patient is unknown, a day not finite, or R negative.
        """
        who, when = checked_queries(patient, day, self.n_patients)
        discount = np.array(np.broadcast_to(np.asarray(R, dtype=float), who.shape))
        if not np.all(discount >= 0):
            raise DataError("R must not be negative")
        return _discounted_integral(
            self.dose_offsets, self.dose_day, self.increment, self.rate_per_day, who, when, discount
        )


def solve_dexamethasone(
    n_patients: int,
    dose_patient: ArrayLike,
    dose_day: ArrayLike,
    amount_mg: ArrayLike,
    *,
    clearance: float = DEXAMETHASONE_CL_F,
    volume: float = DEXAMETHASONE_V_F,
) -> DexamethasoneSolution:
    """Concentrations that follow from doses.

    Parameters
    ----------
    n_patients
        Number of patients, those without a dose included.
    dose_patient, dose_day, amount_mg
        (d,) doses in any order: position of the patient, day, amount in mg.
    clearance, volume
        Apparent clearance in L/h and volume in L.

    Raises
    ------
    DataError
        If a dose is impossible, or clearance or volume are not positive.
    """
    if not (math.isfinite(clearance) and clearance > 0 and math.isfinite(volume) and volume > 0):
        raise DataError("clearance and volume of dexamethasone must be positive")
    patient, day, amount, _ = checked_doses(n_patients, dose_patient, dose_day, amount_mg, 0.0)
    given = amount > 0
    patient, day, amount = patient[given], day[given], amount[given]
    order = np.lexsort((day, patient))
    offsets = np.searchsorted(patient[order], np.arange(n_patients + 1)).astype(np.int64)
    increment = amount[order] * 1000.0 / MOLAR_MASS / volume
    rate = clearance / volume * HOURS_PER_DAY
    return DexamethasoneSolution(
        dose_offsets=offsets,
        dose_day=day[order],
        increment=increment,
        level=_levels(offsets, day[order], increment, rate),
        rate_per_day=rate,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _levels(offsets, day, increment, rate):
    level = increment.copy()
    for i in range(offsets.size - 1):
        for d in range(offsets[i] + 1, offsets[i + 1]):
            level[d] += level[d - 1] * math.exp(-rate * (day[d] - day[d - 1]))
    return level


@njit(cache=True, nogil=True, error_model="numpy")
def _concentration(offsets, day, level, rate, patient, when):
    out = np.zeros(patient.size)
    for q in range(patient.size):
        first = offsets[patient[q]]
        before = np.searchsorted(day[first : offsets[patient[q] + 1]], when[q])  # doses strictly before
        if before > 0:
            d = first + before - 1
            out[q] = level[d] * math.exp(-rate * (when[q] - day[d]))
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _discounted_integral(offsets, day, increment, rate, patient, when, discount):
    out = np.zeros(patient.size)
    for q in range(patient.size):
        total_rate = rate + discount[q]
        for d in range(offsets[patient[q]], offsets[patient[q] + 1]):
            start = max(day[d], 0.0)
            if start >= when[q]:
                break
            left = increment[d] * math.exp(-rate * (start - day[d]) - discount[q] * start)
            out[q] -= left * math.expm1(-total_rate * (when[q] - start)) / total_rate
    return out
