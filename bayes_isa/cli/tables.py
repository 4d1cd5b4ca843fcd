"""Results as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from bayes_isa.report.words import interval_of

if TYPE_CHECKING:
    import xarray as xr

    from bayes_isa.inference.diagnose import Diagnosis

_FAILURES_SHOWN = 10
_HEADINGS = {
    "median_pfs": "median PFS, weeks",
    "median_pfs_difference": "gain, weeks",
    "hazard_ratio": "hazard ratio",
    "week8_change": "M-protein at week 8, %",
    "overall_response_rate": "ORR, %",
    "probability_longer_median_pfs": "P(longer PFS)",
    "probability_hazard_ratio_below": "P(lower hazard)",
}


def parameter_table(diagnosis: Diagnosis, fit: xr.DataTree) -> str:
    """Population parameters with unit, mean, SD, 90 % interval, R-hat and bulk ESS."""
    posterior = fit["posterior"]
    table = diagnosis.table
    low, high = (next(c for c in table.columns if c.endswith(end)) for end in ("lb", "ub"))
    units = [str(posterior[name.partition("[")[0]].attrs.get("units", "")) for name in table.index]
    shown = pd.DataFrame(
        {
            "unit": units,
            "mean": table["mean"].map(_number),
            "sd": table["sd"].map(_number),
            "5 %": table[low].map(_number),
            "95 %": table[high].map(_number),
            "R-hat": table["r_hat"].map("{:.3f}".format),
            "ESS": table["ess_bulk"].map("{:.0f}".format),
        },
        index=pd.Index(table.index, name=None),
    )
    return plain_table(shown)


def verdict(diagnosis: Diagnosis, *, listed: int | None = _FAILURES_SHOWN) -> str:
    """Whether a fit passed its diagnostics, the sampler's numbers, and what failed."""
    numbers = diagnosis.sampler
    sampler = f"{numbers['draws']:.0f} draws, {numbers['divergences']:.0f} divergent"
    if diagnosis.ok:
        return f"Diagnostics passed: {sampler}."
    failures = diagnosis.failures
    shown = failures if listed is None else failures[:listed]
    lines = [f"DIAGNOSTICS FAILED ({len(failures)} checks): {sampler}. Do not use these results."]
    lines += [f"  {failure}" for failure in shown]
    if len(failures) > len(shown):
        lines.append(f"  ... and {len(failures) - len(shown)} more; `bayes-isa diagnose` lists all")
    return "\n".join(lines)


def comparison_table(table: pd.DataFrame) -> str:
    """What `compare_regimens` returned: a line per regimen, a column per quantity, median and 90 % interval."""
    wide = pd.DataFrame(
        {
            heading: {
                regimen: interval_of(table, regimen, quantity) for regimen in dict.fromkeys(table["regimen"])
            }
            for quantity, heading in _HEADINGS.items()
        }
    )
    note = f"Median (5 %-95 %) over {table['n_trials'].iloc[0]} trials; reference: {table.attrs['reference']}"
    margin, bound = table.attrs["margin_weeks"], table.attrs["hazard_ratio_below"]
    note += f". Longer: by more than {margin:g} weeks; lower: hazard ratio below {bound:g}"
    return f"{plain_table(wide)}\n{note}"


def plain_table(frame: pd.DataFrame) -> str:
    """A frame as text, every column as wide as it needs."""
    with pd.option_context("display.max_colwidth", None):
        return frame.to_string()


def _number(value: Any) -> str:
    return f"{float(value):.3g}"
