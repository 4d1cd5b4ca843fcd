"""Kaplan-Meier curves of many samples at once, on a common grid of days."""

from __future__ import annotations

import numpy as np


def kaplan_meier(
    day: np.ndarray, event: np.ndarray, at: np.ndarray, entry: np.ndarray | None = None
) -> np.ndarray:
    """Product-limit estimate of survival at days `at` (m,) from samples `day`, `event` (n_samples, n): (n_samples, m).

    Right-continuous; after the last day of a sample its last value. lifelines gives the same (a test holds them
    together), one sample at a time. With days of `entry` (n,) a patient counts as at risk after that day only (left
    truncation); survival is then that of patients free of progression on the first of those days.
    """
    if entry is not None and (entry > 0.0).any():
        return np.array([_with_entry(d, e, at, entry) for d, e in zip(day, event, strict=True)])
    # Events before censorings of the same day: the product over tied events then telescopes to 1 - d / n.
    order = np.lexsort((~event, day), axis=1)
    day, event = np.take_along_axis(day, order, 1), np.take_along_axis(event, order, 1)
    at_risk = day.shape[1] - np.arange(day.shape[1])
    surviving = np.cumprod(1.0 - event / at_risk, axis=1)
    surviving = np.concatenate([np.ones((day.shape[0], 1)), surviving], axis=1)
    passed = np.array([np.searchsorted(row, at, side="right") for row in day])
    return np.take_along_axis(surviving, passed, 1)


def _with_entry(day: np.ndarray, event: np.ndarray, at: np.ndarray, entry: np.ndarray) -> np.ndarray:
    times, died = np.unique(day[event], return_counts=True)
    entered = np.searchsorted(np.sort(entry), times, side="left")
    at_risk = entered - np.searchsorted(np.sort(day), times, side="left")
    surviving = np.concatenate([[1.0], np.cumprod(1.0 - died / at_risk)])
    return surviving[np.searchsorted(times, at, side="right")]
