"""`plot_parameters`: prior and posterior of every population parameter, with the published estimate."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from bayes_isa.plots.panels_grid import panel_grid
from bayes_isa.plots.style import PUBLISHED, QUIET, SIMULATED

_UNIT_OF_LINK = "log hazard per "
_LEAST_TICKS = 3
_HEADROOM = 1.35  # above the densities, where the published estimate stands


def plot_parameters(estimates: xr.Dataset) -> Figure:
    """A panel per parameter: densities of posterior and prior, posterior interval, published estimate and interval.

    estimates: what `parameter_estimates` returns. Positive parameters on a log axis, whose densities are of the log.
    """
    names = [str(name) for name in estimates["parameter"].to_numpy()]
    figure, axes = panel_grid(len(names), columns=4, width=2.45, height=1.75, share=False)
    for name, ax in zip(names, axes, strict=True):
        _panel(ax, estimates.sel(parameter=name), name)
    level = 100 * estimates.attrs["level"]
    handles = [
        Patch(color=SIMULATED, alpha=0.4, label=f"posterior; bar: median, {level:g} % interval"),
        Line2D([], [], color=QUIET, linestyle="--", label="prior"),
        Line2D([], [], color=PUBLISHED, marker="D", markersize=4, label=f"published, {level:g} % interval"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def _panel(ax: Axes, one: xr.Dataset, name: str) -> None:
    value = one["value"].to_numpy()
    posterior, prior = one["posterior_density"].to_numpy(), one["prior_density"].to_numpy()
    top = float(np.nanmax(posterior)) if np.isfinite(posterior).any() else float(np.nanmax(prior))
    ax.fill_between(value, 0.0, posterior, color=SIMULATED, alpha=0.4, linewidth=0.0)
    ax.plot(value, prior, color=QUIET, linestyle="--", linewidth=1.1)
    ax.plot([one["low"], one["high"]], [0.04 * top] * 2, color=SIMULATED, linewidth=2.2)
    ax.plot(one["median"], 0.04 * top, "o", color=SIMULATED, markersize=4)
    if np.isfinite(one["published"]):
        ax.plot(
            [one["published_low"], one["published_high"]], [1.18 * top] * 2, color=PUBLISHED, linewidth=1.5
        )
        ax.plot(one["published"], 1.18 * top, "D", color=PUBLISHED, markersize=4)
    if bool(one["positive"]):
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(_ticks(value[0], value[-1])))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.set_xlim(value[0], value[-1])
    ax.set_ylim(0.0, _HEADROOM * top)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_title(name, fontsize=8)
    ax.set_xlabel(_unit(str(one["unit"].item())), fontsize=7)
    ax.tick_params(labelsize=7)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within a log axis, three of them or a few more."""
    found: list[float] = []
    for digits in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        found = [
            d * 10.0**power
            for power in range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
            for d in digits
            if low <= d * 10.0**power <= high
        ]
        if len(found) >= _LEAST_TICKS:
            break
    return found


def _unit(text: str) -> str:
    """Of an effect, the axis says the scale; the contrast is in tables."""
    if text.startswith("log") and not text.startswith(_UNIT_OF_LINK):
        return "effect (log)"
    return {"dimensionless": "no unit"}.get(text, text)
