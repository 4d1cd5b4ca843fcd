"""Dose records and (patient, day) queries as arrays, and what must hold of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayes_isa.errors import DataError

HOURS_PER_DAY = 24.0


class Doses(NamedTuple):
    """Doses of one drug, one per position: patient (0 to n - 1), day, amount in mg, duration in hours."""

    patient: ArrayLike
    day: ArrayLike
    amount_mg: ArrayLike
    duration_h: ArrayLike = 0.0

    @classmethod
    def none(cls) -> Doses:
        """No dose at all."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0))


def checked_doses(
    n_patients: int, patient: ArrayLike, day: ArrayLike, amount_mg: ArrayLike, duration_h: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The four columns as arrays of one length; raises `DataError` where a dose is impossible."""
    who = np.atleast_1d(np.asarray(patient))
    if who.size and not np.issubdtype(who.dtype, np.integer):
        raise DataError(f"patients of doses must be integer positions, not {who.dtype}")
    day, amount, duration = (
        np.array(np.broadcast_to(np.asarray(column, dtype=float), who.shape))
        for column in (day, amount_mg, duration_h)
    )
    _raise_where((who < 0) | (who >= n_patients), who, f"patient positions must be 0 to {n_patients - 1}")
    _raise_where(~np.isfinite(day), day, "dose days must be finite")
    _raise_where(~(np.isfinite(amount) & (amount >= 0)), amount, "amounts must be finite and not negative")
    _raise_where(
        ~(np.isfinite(duration) & (duration >= 0)), duration, "durations must be finite and not negative"
    )
    return who.astype(np.int64), day, amount, duration


def checked_queries(
    patient: ArrayLike, day: ArrayLike, n_patients: int, until_day: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions and days as arrays (m,); raises `DataError` for an unknown patient or a day out of reach."""
    shape = np.broadcast_shapes(np.shape(patient), np.shape(day), (1,))
    who = np.array(np.broadcast_to(np.asarray(patient, dtype=np.int64), shape))
    when = np.array(np.broadcast_to(np.asarray(day, dtype=float), shape))
    _raise_where((who < 0) | (who >= n_patients), who, f"patient positions must be 0 to {n_patients - 1}")
    _raise_where(~np.isfinite(when), when, "days must be finite")
    if until_day is not None:
        _raise_where(when > until_day[who], when, "days must not go beyond until_day of the patient")
    return who, when


def _raise_where(bad: NDArray[np.bool_], values: NDArray, message: str) -> None:
    if np.any(bad):
        where = np.flatnonzero(bad)
        first = ", ".join(f"{values[i]} at position {i}" for i in where[:5])
        more = f" and {len(where) - 5} more" if len(where) > 5 else ""
        raise DataError(f"{message}; found {first}{more}")
