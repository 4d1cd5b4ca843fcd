"""Numbers and verdicts in plain words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from bayes_isa.inference.diagnose import Diagnosis

_CLEARLY = 0.05
_PERHAPS = 0.1


def number(value: float) -> str:
    """Three significant digits; a dash for what is missing."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.3g}"


def span(low: float, high: float) -> str:
    """An interval."""
    return "–" if not (math.isfinite(low) and math.isfinite(high)) else f"{number(low)} to {number(high)}"


def with_span(value: float, low: float, high: float) -> str:
    """A value and its interval; a dash for what is missing."""
    return "–" if not math.isfinite(value) else f"{number(value)} ({span(low, high)})"


def interval_of(table: pd.DataFrame, regimen: str, quantity: str) -> str:
    """One quantity of one regimen as "median (5 %-95 %)"; a dash for the reference against itself."""
    rows = table[(table["regimen"] == regimen) & (table["quantity"] == quantity)]
    if rows.empty:
        return "-"
    row = rows.iloc[0]
    digits = 2 if row["unit"] == "1" else 1
    if quantity.startswith("probability"):  # its interval is Monte Carlo error, in the CSV and JSON
        return _reached(row["median"], digits)
    middle, low, high = (_reached(row[column], digits) for column in ("median", "p5", "p95"))
    return f"{middle} ({low} to {high})"


def conclusions(table: pd.DataFrame) -> list[str]:
    """A sentence for each regimen: its median PFS, and how sure it is that it differs from the reference."""
    reference = table.attrs["reference"]
    lines = []
    for regimen in dict.fromkeys(table["regimen"]):
        line = f"{regimen}: median PFS {interval_of(table, regimen, 'median_pfs')} weeks"
        if regimen != reference:
            gain = interval_of(table, regimen, "median_pfs_difference")
            ratio = interval_of(table, regimen, "hazard_ratio")
            chance = interval_of(table, regimen, "probability_longer_median_pfs")
            line += f", a difference of {gain} weeks from {reference}; hazard ratio {ratio}"
            line += f"; longer with probability {chance}"
        lines.append(f"{line}.")
    return lines


def convergence(diagnosis: Diagnosis) -> str:
    """Whether the draws can be trusted."""
    draws = int(diagnosis.sampler["draws"])
    divergent = int(diagnosis.sampler["divergences"])
    if diagnosis.ok:
        return (
            f"The sampler converged: its chains agree, {draws} draws hold enough independent information for every "
            f"population parameter, and {divergent} of them diverged, no more than is allowed."
        )
    failed = len(diagnosis.failures)
    return (
        f"The fit FAILED {failed} of its convergence checks. Do not use the results below for decisions: fit again "
        "as the remedies say."
    )


def agreement(p: float, what: str) -> str:
    """What a p-value of a predictive check says; small ones mean the model would rarely produce such data."""
    if not math.isfinite(p):
        return f"{what}: too few data to check."
    found = "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < _PERHAPS else f"p = {p:.2f}"
    if p < _CLEARLY:
        return f"{what}: the data differ from what the model simulates ({found})."
    if p < _PERHAPS:
        return f"{what}: the data lie at the edge of what the model simulates ({found})."
    return f"{what}: the data look like what the model simulates ({found})."


def _reached(value: float, digits: int) -> str:
    if math.isnan(value):
        return "undefined"
    return f"{value:.{digits}f}" if math.isfinite(value) else "not reached"
