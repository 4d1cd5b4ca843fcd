"""Kaplan-Meier curves of many samples at once, on a common grid of days."""

from __future__ import annotations

import numpy as np


def kaplan_meier(day: np.ndarray, event: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Product-limit estimate of survival at days `at` (m,) from samples `day`, `event` (n_samples, n): (n_samples, m).

    Right-continuous; after the last day of a sample its last value. lifelines gives the same (a test holds them
    together), one sample at a time.
    """
    # Events before censorings of the same day: the product over tied events then telescopes to 1 - d / n.
    order = np.lexsort((~event, day), axis=1)
    day, event = np.take_along_axis(day, order, 1), np.take_along_axis(event, order, 1)
    at_risk = day.shape[1] - np.arange(day.shape[1])
    surviving = np.cumprod(1.0 - event / at_risk, axis=1)
    surviving = np.concatenate([np.ones((day.shape[0], 1)), surviving], axis=1)
    passed = np.array([np.searchsorted(row, at, side="right") for row in day])
    return np.take_along_axis(surviving, passed, 1)
