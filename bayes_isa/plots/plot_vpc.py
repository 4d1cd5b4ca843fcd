"""`plot_vpc`: visual predictive check of M-protein."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bayes_isa.plots.panels_grid import p_value_text
from bayes_isa.plots.style import OBSERVED, SIMULATED, WEEK_DAYS

_COLUMNS = 3
_COLOURS = {"middle": SIMULATED, "outer": "#56B4E9"}


def plot_vpc(check: xr.Dataset) -> Figure:
    """Percentiles of observed M-protein (lines) over the simulated ones' bands, and the share below the LLOQ.

    check: what `vpc` returns. A pair of panels per stratum, weeks against g/L (log scale) and per cent.
    """
    n = check.sizes["stratum"]
    columns = min(_COLUMNS, n)
    blocks = -(-n // columns)
    figure, axes = plt.subplots(
        2 * blocks,
        columns,
        figsize=(max(3.4 * columns, 5.5) + 0.4, 3.6 * blocks + 0.8),
        height_ratios=[2.0, 1.0] * blocks,
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    for s in range(blocks * columns):
        block, column = divmod(s, columns)
        for ax, first, draw in (
            (axes[2 * block, column], axes[0, 0], _percentiles),
            (axes[2 * block + 1, column], axes[1, 0], _share),
        ):
            if s >= n:
                ax.set_visible(False)
                continue
            if ax is not first:
                ax.sharey(first)
            draw(ax, check.isel(stratum=s))
            ax.spines[["top", "right"]].set_visible(False)
            ax.tick_params(labelsize=8, labelbottom=s + columns >= n and draw is _share)
    for row, label in enumerate(("M-protein (g/L)", "below LLOQ (%)") * blocks):
        axes[row, 0].set_ylabel(label, fontsize=9)
    figure.supxlabel("Time since first dose (weeks)", fontsize=10)
    figure.legend(
        handles=_legend(check),
        loc="outside upper center",
        ncols=_legend_columns(n),
        frameon=False,
        fontsize=8,
    )
    return figure


def _legend_columns(n_strata: int) -> int:
    return 1 if n_strata == 1 else 3


def _steps(part: xr.Dataset, values: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Bin edges in weeks and values repeated at both, for bands in steps."""
    low, high = part["day_low"].to_numpy().clip(min=0.0), part["day_high"].to_numpy()
    return np.column_stack([low, high]).ravel() / WEEK_DAYS, np.repeat(values.to_numpy(), 2)


def _percentiles(ax: Axes, part: xr.Dataset) -> None:
    middle = int(np.argmin(np.abs(part["quantile"].to_numpy() - 0.5)))
    week = part["day"].to_numpy() / WEEK_DAYS
    for q in range(part.sizes["quantile"]):
        one = part.isel(quantile=q)
        colour = _COLOURS["middle" if q == middle else "outer"]
        edges, low = _steps(part, one["low"])
        _, high = _steps(part, one["high"])
        ax.fill_between(edges, low, high, color=colour, alpha=0.28, linewidth=0.0)
        ax.plot(*_steps(part, one["median"]), color=colour, linewidth=0.8)
        style = "-" if q == middle else "--"
        ax.plot(
            week, one["observed"], color=OBSERVED, linestyle=style, linewidth=1.2, marker="o", markersize=2.5
        )
    if not np.isfinite(part["observed"]).any():
        ax.annotate(
            "too few measurements",
            (0.5, 0.5),
            xycoords="axes fraction",
            ha="center",
            fontsize=8,
            color="0.35",
        )
    ax.axhline(part.attrs["lloq"], color="0.5", linewidth=0.7, linestyle=":")
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    p = p_value_text(float(part["p_value"].sel(statistic="m_protein")))
    ax.set_title(f"{part['stratum'].item()} {f'({p})' if p else ''}", fontsize=9)


def _share(ax: Axes, part: xr.Dataset) -> None:
    edges, low = _steps(part, 100.0 * part["below_low"])
    _, high = _steps(part, 100.0 * part["below_high"])
    ax.fill_between(edges, low, high, color=SIMULATED, alpha=0.28, linewidth=0.0)
    ax.plot(*_steps(part, 100.0 * part["below_median"]), color=SIMULATED, linewidth=0.8)
    week = part["day"].to_numpy() / WEEK_DAYS
    ax.plot(week, 100.0 * part["below_observed"], color=OBSERVED, linewidth=1.2, marker="o", markersize=2.5)
    p = p_value_text(float(part["p_value"].sel(statistic="below_lloq")))
    if p:
        ax.annotate(p, (0.98, 0.92), xycoords="axes fraction", ha="right", va="top", fontsize=8)


def _legend(check: xr.Dataset) -> list[Line2D | Patch]:
    level = 100 * check.attrs["level"]
    percent = ", ".join(f"{100 * q:g}" for q in check["quantile"].to_numpy())
    return [
        Line2D(
            [],
            [],
            color=OBSERVED,
            marker="o",
            markersize=2.5,
            label=f"observed: percentiles {percent}, share",
        ),
        Patch(color=SIMULATED, alpha=0.4, label=f"simulated: median and {level:g} % band"),
        Line2D([], [], color="0.5", linestyle=":", label="LLOQ"),
    ]
