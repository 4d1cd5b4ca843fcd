"""What the published trial simulations found: CPT:PSP 2023, 1000 trials of the study's 201 patients, 20 months."""

from __future__ import annotations

from typing import NamedTuple

from bayes_isa.regimens import SIMULATED_ARMS

LOW, STANDARD, DEX, DEX_3, DEX_6 = SIMULATED_ARMS
WEEK_8, MEDIAN, GAIN, RATIO = (
    "week8_fall_percent",
    "median_pfs_weeks",
    "gain_median_pfs_weeks",
    "hazard_ratio",
)


class Published(NamedTuple):
    """One printed number with its 5th and 95th percentile over trials, None where not printed."""

    population: str
    regimen: str
    quantity: str
    value: float
    p5: float | None = None
    p95: float | None = None


PUBLISHED_RESULTS = (
    Published("all", LOW, WEEK_8, 22.0),
    Published("all", LOW, GAIN, -2.4),
    Published("all", LOW, RATIO, 0.88, 0.87, 0.90),  # of 20 against 10 mg/kg, as printed
    Published("all", STANDARD, WEEK_8, 30.0),
    Published("all", STANDARD, MEDIAN, 19.3, 17.5, 21.3),
    Published("all", DEX, WEEK_8, 54.0),
    Published("all", DEX, MEDIAN, 25.6, 22.9, 28.6),
    Published("all", DEX, GAIN, 6.3, 5.0, 7.9),
    Published("all", DEX, RATIO, 0.71, 0.68, 0.74),
    Published("all", DEX_3, MEDIAN, 20.9, 18.8, 23.1),
    Published("all", DEX_3, GAIN, 1.54, 0.52, 2.63),
    Published("all", DEX_3, RATIO, 0.91, 0.90, 0.93),
    Published("all", DEX_6, MEDIAN, 21.3, 19.1, 23.7),
    Published("all", DEX_6, GAIN, 2.0, 0.9, 3.1),
    Published("all", DEX_6, RATIO, 0.89, 0.88, 0.91),
    Published("japanese", STANDARD, WEEK_8, 43.0),
    Published("japanese", STANDARD, MEDIAN, 22.2, 17.4, 27.4),
    Published("japanese", DEX, WEEK_8, 67.0),
    Published("japanese", DEX, MEDIAN, 29.3, 22.1, 38.2),
    Published("japanese", DEX, GAIN, 7.2, 3.9, 11.7),
    Published("japanese", DEX, RATIO, 0.70, 0.62, 0.77),
    Published("japanese", DEX_3, MEDIAN, 23.6, 18.0, 30.5),
    Published("japanese", DEX_3, GAIN, 1.5, -1.5, 4.5),
    Published("japanese", DEX_3, RATIO, 0.93),
    Published("japanese", DEX_6, MEDIAN, 24.2, 18.0, 31.1),
    Published("japanese", DEX_6, GAIN, 1.9, -1.2, 5.5),
    Published("japanese", DEX_6, RATIO, 0.91),
)
"""The printed table. Gains are over 20 mg/kg QW-Q2W, and so are hazard ratios but that of 10 mg/kg."""
