"""Which of the candidate covariates act, for a fit under the regularised horseshoe."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayes_isa.plots.plot_covariate_selection import plot_covariate_selection
from bayes_isa.report.document import Block, Section, Table, Text
from bayes_isa.report.images import picture
from bayes_isa.report.words import number, span

_RULES = {
    "shrinkage": "more signal than noise, posterior mean of 1 - κ above 1/2",
    "interval": "the interval excludes no effect",
    "relevant": "more likely than not beyond what counts as not relevant",
}


def selection_section(found: xr.Dataset) -> Section:
    """Effects kept and how far all are shrunk; found: what `covariate_selection` returns."""
    kept = found.sel(effect=found["kept"])
    candidates = int(found["candidates"].sum())
    blocks: list[Block] = [
        Text(
            f"All {candidates} candidate effects are in the model at once under a regularised horseshoe prior, which "
            "shrinks most of them towards nothing and leaves alone those that the data support. "
            f"Kept by the rule ({_RULES[found.attrs['keep']]}): {kept.sizes['effect']}. An effect that is not kept is "
            "not shown to be absent, and what is kept looks surer than it is, as the same data chose it."
        ),
        picture(
            plot_covariate_selection(found),
            name="selection",
            caption="Change of a parameter, or of the hazard, by one SD of a covariate or 1 against 0, with "
            f"{100 * found.attrs['level']:g} % intervals, and 1 - κ: 0 shrunk away, 1 left to the data.",
            alt="For every parameter a column of candidate covariates with the ratio of each effect, its interval, and "
            "a bar that says how far it is shrunk; kept effects are filled.",
        ),
    ]
    if kept.sizes["effect"]:
        blocks.append(_table(kept))
    return Section("selection", "Which covariates act", blocks)


def _table(kept: xr.Dataset) -> Table:
    strongest_first = np.argsort(kept["shrinkage"].to_numpy(), kind="stable")
    rows = [
        [
            f"{one['covariate'].item()} on {one['of'].item()}",
            number(float(one["ratio"])),
            span(float(one["ratio_low"]), float(one["ratio_high"])),
            f"{1.0 - float(one['shrinkage']):.2f}",
            f"{100 * float(one['probability_relevant']):.0f} %",
        ]
        for one in (kept.isel(effect=int(position)) for position in strongest_first)
    ]
    ratio = float(kept.attrs["relevant_ratio"])
    columns = (
        "Effect",
        "Ratio",
        f"{100 * float(kept.attrs['level']):g} % interval",
        "1 - κ",
        f"P(beyond {1.0 / ratio:.2f} to {ratio:.2f})",
    )
    return Table("Effects that are kept", columns, rows)
