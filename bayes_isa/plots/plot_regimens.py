"""`plot_regimens`: compared regimens side by side, a panel per quantity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayes_isa.errors import ModelError
from bayes_isa.plots.panels_grid import panel_grid
from bayes_isa.plots.style import QUIET, Style, in_lines, regimen_styles

_SHOWN = ("median_pfs", "hazard_ratio", "week8_change", "overall_response_rate")
_TITLES = {
    "median_pfs": "Median PFS (weeks)",
    "median_pfs_difference": "Gain in median PFS (weeks)",
    "hazard_ratio": "Hazard ratio of PFS",
    "marginal_hazard_ratio": "Hazard ratio of PFS, by the model",
    "pfs_6_months": "PFS beyond 6 months (%)",
    "pfs_12_months": "PFS beyond 12 months (%)",
    "rmst": "Restricted mean PFS (weeks)",
    "rmst_difference": "Gain in restricted mean PFS (weeks)",
    "week8_change": "M-protein at week 8 (%)",
    "week8_change_at_risk": "M-protein at week 8, at risk (%)",
    "overall_response_rate": "PR or better (%)",
    "vgpr_rate": "VGPR (%)",
    "clinical_benefit_rate": "MR or better (%)",
    "disease_control_rate": "SD or better (%)",
}
_NO_DIFFERENCE = {"hazard_ratio": 1.0, "marginal_hazard_ratio": 1.0, "week8_change": 0.0}


def plot_regimens(table: pd.DataFrame, quantities: Sequence[str] = _SHOWN) -> Figure:
    """Median and 90 % interval over simulated trials of some quantities, a line per regimen, in the regimens' colours.

    table: what `compare_regimens` returns. quantities: of those it has. What is not reached before the horizon is an
    arrow at the edge. Raises ModelError for a quantity that the table lacks.
    """
    there = set(table["quantity"])
    lacking = [name for name in quantities if name not in there]
    if lacking:
        known = ", ".join(dict.fromkeys(table["quantity"]))
        raise ModelError(f"the comparison has no {', '.join(lacking)}; it has {known}")
    regimens = list(dict.fromkeys(map(str, table["regimen"])))
    styles = regimen_styles(regimens)
    figure, axes = panel_grid(
        len(quantities), columns=2, width=3.2, height=0.32 * len(regimens) + 0.75, share=False, header=0.9
    )
    for ax, quantity in zip(axes, quantities, strict=True):
        rows = table[table["quantity"] == quantity].set_index("regimen")
        _panel(ax, rows, regimens, styles)
        ax.set_title(_TITLES.get(quantity, quantity.replace("_", " ")), fontsize=9)
        if quantity in _NO_DIFFERENCE:
            ax.axvline(_NO_DIFFERENCE[quantity], color=QUIET, linewidth=0.8, linestyle=":", zorder=0)
    reference = table.attrs.get("reference", regimens[0])
    handles = [
        Line2D(
            [], [], color=s.color, marker=s.marker, markersize=5, linestyle=s.linestyle, label=in_lines(name)
        )
        for name, s in styles.items()
    ]
    n = int(table["n_trials"].iloc[0])
    legend = figure.legend(
        handles=handles,
        title=f"Median and 90 % interval of {n} trials; ratios against {reference}",
        loc="outside upper center",
        ncols=min(2, len(handles)),
        frameon=False,
        fontsize=8,
        title_fontsize=8,
        handlelength=3.0,
    )
    legend.set_in_layout(True)
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, regimens: list[str], styles: dict[str, Style]) -> None:
    finite = rows[["median", "p5", "p95"]].to_numpy(dtype=float)
    edge = float(finite[np.isfinite(finite)].max()) if np.isfinite(finite).any() else 1.0
    for place, name in enumerate(reversed(regimens)):
        if name not in rows.index:
            ax.annotate(
                "reference",
                (0.02, place),
                xycoords=("axes fraction", "data"),
                fontsize=7.5,
                color=QUIET,
                va="center",
            )
            continue
        style, row = styles[name], rows.loc[name].to_dict()
        low, middle, high = (min(float(row[column]), edge) for column in ("p5", "median", "p95"))
        ax.plot([low, high], [place, place], color=style.color, linestyle=style.linestyle, linewidth=1.8)
        if np.isfinite(row["median"]):
            ax.plot(middle, place, style.marker, color=style.color, markersize=6)
        if not np.isfinite(row["p95"]):
            ax.plot(edge, place, ">", color=style.color, markersize=6)
            ax.annotate(
                "not reached",
                (edge, place),
                xytext=(-4, 6),
                textcoords="offset points",
                fontsize=7,
                ha="right",
            )
    ax.set_ylim(-0.6, len(regimens) - 0.4)
    ax.margins(x=0.08)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
