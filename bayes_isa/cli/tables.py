"""Results as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    import xarray as xr

    from bayes_isa.inference.diagnose import Diagnosis

_FAILURES_SHOWN = 10


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


def plain_table(frame: pd.DataFrame) -> str:
    """A frame as text, every column as wide as it needs."""
    with pd.option_context("display.max_colwidth", None):
        return frame.to_string()


def _number(value: Any) -> str:
    return f"{float(value):.3g}"
