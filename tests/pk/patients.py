"""Random patients and dosing histories for the tests of `bayes_isa.pk`."""

from __future__ import annotations

import numpy as np

from bayes_isa.pk import Doses, draw_parameters, typical_parameters

UNTIL_DAY = 608.75  # 20 months
EVERY_2_WEEKS = np.arange(0.0, 600.0, 14.0)


def random_patients(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Individual parameters (n, 9) and weights (n,)."""
    rng = np.random.default_rng(seed)
    weight = 70.0 * np.exp(0.2 * rng.standard_normal(n))
    b2m = 4.0 * np.exp(0.69 * rng.standard_normal(n))
    binary = [rng.random(n) < p for p in (0.68, 0.45, 0.15)]
    return draw_parameters(typical_parameters(weight, b2m, *binary), rng), weight


def repeated_doses(weight: np.ndarray, mg_per_kg: float, days: np.ndarray = EVERY_2_WEEKS) -> Doses:
    """The same infusions for each patient: 3.7 h, 1.85 h, then 1.25 h."""
    n, d = len(weight), len(days)
    hours = np.full(d, 1.25)
    hours[:2] = (3.7, 1.85)[:d]
    return Doses(
        np.repeat(np.arange(n), d), np.tile(days, n), np.repeat(weight * mg_per_kg, d), np.tile(hours, n)
    )
