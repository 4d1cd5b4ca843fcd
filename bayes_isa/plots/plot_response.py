"""`plot_response`: best responses of simulated patients by regimen, as bars and as a waterfall."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayes_isa.plots.style import QUIET, in_lines, regimen_styles

# From the deepest response on; dark to light, so that the order shows without colour.
_CATEGORY = {
    "VGPR": ("#08519C", ""),
    "PR": ("#3182BD", "//"),
    "MR": ("#9ECAE1", ".."),
    "SD": ("#DDDDDD", ""),
    "PD": ("#FDAE6B", "xx"),
    "NE": ("#FFFFFF", ""),
}
_NAMED_FROM = 6.0  # % of patients: a narrower piece of a bar has no room for its number
_HIGHEST_CHANGE = 100.0


def plot_response(summary: xr.Dataset) -> Figure:
    """Left: share of patients by best response, median over trials. Right: the largest change of M-protein from
    baseline, patients sorted by it, with its interval over trials.

    summary: what `response_summary` returns. Changes above +100 % are drawn at the edge.
    """
    regimens = [str(name) for name in summary["regimen"].to_numpy()]
    figure, (bars, waterfall) = plt.subplots(
        1, 2, figsize=(9.4, 0.42 * len(regimens) + 2.9), layout="constrained", width_ratios=[1.15, 1.0]
    )
    _bars(bars, summary, regimens)
    _waterfall(waterfall, summary, regimens)
    for ax in (bars, waterfall):
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    return figure


def _bars(ax: Axes, summary: xr.Dataset, regimens: list[str]) -> None:
    place = np.arange(len(regimens))[::-1]
    start = np.zeros(len(regimens))
    total = summary["share_median"].sum("category").to_numpy()  # medians of shares need not add up to 100
    for name in map(str, summary["category"].to_numpy()):
        colour, hatch = _CATEGORY[name]
        share = summary["share_median"].sel(category=name).to_numpy()
        width = 100.0 * share / total
        ax.barh(
            place, width, left=start, color=colour, edgecolor="0.25", linewidth=0.6, hatch=hatch, height=0.6
        )
        for y, x, w, s in zip(place, start, width, share, strict=True):
            if w >= _NAMED_FROM:
                ax.text(
                    x + w / 2.0,
                    y,
                    f"{s:.0f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    bbox={
                        "boxstyle": "round,pad=0.15",
                        "facecolor": "#FFFFFF",
                        "edgecolor": "none",
                        "alpha": 0.85,
                    },
                )
        start += width
    handles = [
        plt.Rectangle((0, 0), 1, 1, facecolor=c, edgecolor="0.25", hatch=h, label=name)
        for name, (c, h) in _CATEGORY.items()
    ]
    ax.set_yticks(place, [in_lines(name) for name in regimens], fontsize=8)
    ax.set_xlim(0.0, 100.0)
    ax.set_xlabel("Patients (%), median over trials", fontsize=9)
    ax.legend(
        handles=handles,
        title="Best response by serum M-protein (NE: not evaluable)",
        title_fontsize=8,
        fontsize=8,
        ncols=6,
        frameon=False,
        loc="lower center",
        bbox_to_anchor=(0.35, 1.0),
        columnspacing=1.0,
        handlelength=1.4,
    )


def _waterfall(ax: Axes, summary: xr.Dataset, regimens: list[str]) -> None:
    percent = summary["patients"].to_numpy()
    for name, style in regimen_styles(regimens).items():
        one = summary.sel(regimen=name)
        low, middle, high = (
            np.minimum(one[f"best_change_{bound}"].to_numpy(), _HIGHEST_CHANGE)
            for bound in ("low", "median", "high")
        )
        ax.fill_between(percent, low, high, color=style.color, alpha=0.15, linewidth=0.0)
        ax.plot(
            percent,
            middle,
            color=style.color,
            linestyle=style.linestyle,
            marker=style.marker,
            markevery=20,
            markersize=4,
            linewidth=1.5,
            label=in_lines(name),
        )
    for change, text in ((-50.0, "PR"), (-90.0, "VGPR")):
        ax.axhline(change, color=QUIET, linewidth=0.7, linestyle=":")
        ax.annotate(
            text,
            (100.0, change),
            xytext=(0, 2),
            textcoords="offset points",
            fontsize=7,
            ha="right",
            color=QUIET,
        )
    ax.axhline(0.0, color=QUIET, linewidth=0.7)
    ax.set_xlim(0.0, 100.0)
    ax.set_ylim(-104.0, _HIGHEST_CHANGE)
    ax.set_xlabel("Evaluable patients, from the worst change on (%)", fontsize=9)
    ax.set_ylabel("Largest change of M-protein\nfrom baseline (%)", fontsize=9)
    level = 100 * summary.attrs["level"]
    ax.legend(
        title=f"Median, {level:g} % interval of {summary.attrs['n_trials']} trials",
        title_fontsize=8,
        fontsize=8,
        frameon=False,
        handlelength=3.0,
        loc="upper right",
    )
