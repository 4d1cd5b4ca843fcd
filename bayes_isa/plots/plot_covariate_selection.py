"""`plot_covariate_selection`: candidate effects under the horseshoe, target by target, and which are kept."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, NullLocator

from bayes_isa.plots.style import QUIET, SIMULATED

_TICKS = (0.1, 0.25, 0.5, 0.8, 1.25, 2.0, 4.0, 10.0)
_WIDTH = 2.5  # inches a target
_LEAST_WIDTH = 6.6  # that the legend needs
_ROW = 0.24
_GAP = 0.25  # between targets, in units of the narrow panel


def plot_covariate_selection(selection: xr.Dataset) -> Figure:
    """A column per target, a row per covariate: ratio with interval on a log axis, and 1 - kappa beside it.

    selection: what `covariate_selection` returns. Filled and coloured: kept. The band is what its `relevant_ratio`
    calls not relevant; 1 - kappa is 0 for an effect shrunk away and 1 for one left to the data.
    """
    targets = [str(target) for target in selection["target"].to_numpy()]
    covariates = list(dict.fromkeys(str(name) for name in selection["covariate"].to_numpy()))
    width = max(_WIDTH * len(targets) + 1.8, _LEAST_WIDTH)
    figure = plt.figure(
        figsize=(width, _ROW * len(covariates) + 1.8),
        layout=ConstrainedLayoutEngine(w_pad=0.02, wspace=0.0),
    )
    axes = _axes(figure, len(targets))
    span = _span(selection)
    for column, target in enumerate(targets):
        one = selection.sel(effect=selection["of"] == target, target=target)
        place = np.array(
            [len(covariates) - 1 - covariates.index(str(c)) for c in one["covariate"].to_numpy()]
        )
        ratios, shares = axes[column]
        _draw_ratios(ratios, one, place, selection.attrs["relevant_ratio"], span)
        _draw_shares(shares, one, place)
        number, expected = float(one["effective"]), float(one["expected"])
        ratios.set_title(
            f"{target}\n{number:.1f} of {int(one['candidates'])} effects (prior {expected:.1f})",
            fontsize=9,
            loc="left",
        )
    first = axes[0][0]
    first.set_yticks(np.arange(len(covariates))[::-1], covariates, fontsize=8)
    first.set_ylim(-0.7, len(covariates) - 0.3)
    for ax in figure.axes:
        ax.tick_params(axis="y", length=0, labelleft=ax is first)
        ax.grid(axis="y", color="0.92", linewidth=0.6)
        ax.set_axisbelow(True)
    _label(figure, first, selection)
    return figure


def _axes(figure: Figure, count: int) -> list[tuple[Axes, Axes]]:
    """For each target a wide panel and a narrow one at its side, all with the same rows."""
    grid = figure.add_gridspec(1, 3 * count, width_ratios=[3.2, 1.0, _GAP] * count)
    pairs: list[tuple[Axes, Axes]] = []
    for column in range(0, 3 * count, 3):
        wide = figure.add_subplot(grid[column], sharey=pairs[0][0] if pairs else None)
        pairs.append((wide, figure.add_subplot(grid[column + 1], sharey=wide)))
    return pairs


def _draw_ratios(
    ax: Axes, one: xr.Dataset, place: np.ndarray, relevant_ratio: float, span: tuple[float, float]
) -> None:
    kept = one["kept"].to_numpy()
    ax.axvspan(1.0 / relevant_ratio, relevant_ratio, color="0.93", zorder=0)
    ax.axvline(1.0, color=QUIET, linewidth=0.8, linestyle=":")
    for chosen, colour, face in ((~kept, QUIET, "white"), (kept, SIMULATED, SIMULATED)):
        rows = one.isel(effect=chosen)
        at = place[chosen]
        ax.hlines(
            at, rows["ratio_low"], rows["ratio_high"], color=colour, linewidth=1.8 if face == colour else 1.0
        )
        ax.plot(rows["ratio"], at, "o", color=colour, markerfacecolor=face, markersize=4.5, linestyle="none")
    ax.set_xscale("log")
    ax.set_xlim(*span)
    ax.xaxis.set_major_locator(FixedLocator([tick for tick in _TICKS if span[0] <= tick <= span[1]]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter("{x:g}")
    ax.tick_params(labelsize=8)
    ax.set_xlabel("Ratio", fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def _draw_shares(ax: Axes, one: xr.Dataset, place: np.ndarray) -> None:
    colours = np.where(one["kept"].to_numpy(), SIMULATED, "0.7")
    ax.barh(place, 1.0 - one["shrinkage"].to_numpy(), height=0.62, color=colours)
    ax.set_xlim(0.0, 1.0)
    ax.set_xticks([0.0, 1.0], ["0", "1"], fontsize=8)
    ax.set_xlabel("1 - κ", fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def _span(selection: xr.Dataset) -> tuple[float, float]:
    """One axis for all targets, symmetric about 1."""
    widest = np.abs(np.log([selection["ratio_low"], selection["ratio_high"]])).max()
    reach = float(np.exp(1.08 * max(widest, np.log(selection.attrs["relevant_ratio"]) * 1.2)))
    return 1.0 / reach, reach


def _label(figure: Figure, ax: Axes, selection: xr.Dataset) -> None:
    interval = f"{100 * selection.attrs['level']:g} % interval"
    low, high = 1.0 / selection.attrs["relevant_ratio"], selection.attrs["relevant_ratio"]
    rule = {
        "shrinkage": "1 - κ above 1/2",
        "interval": f"{interval} without 1",
        "relevant": "more likely than not outside the band",
    }[selection.attrs["keep"]]
    (filled,) = ax.plot([], [], "o-", color=SIMULATED, label=f"kept: {rule}")
    (hollow,) = ax.plot([], [], "o-", color=QUIET, markerfacecolor="white", label="not kept")
    band = ax.fill_between([], [], [], color="0.93", label=f"not relevant, {low:g} to {high:g}")
    figure.legend(
        handles=[filled, hollow, band],
        title=f"Posterior median ratio and {interval} for one SD of a continuous covariate, or 1 against 0",
        title_fontsize=8,
        fontsize=8,
        ncols=3,
        frameon=False,
        loc="outside lower center",
    )
