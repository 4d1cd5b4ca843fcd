"""`plot_individuals`: fitted M-protein curves of single patients with their measurements."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bayes_isa.plots.panels_grid import panel_grid
from bayes_isa.plots.style import EVENT, OBSERVED, SIMULATED, WEEK_DAYS

_LOWEST_SHARE = 0.4  # of the LLOQ: where the axis ends below
_HEADROOM = 1.6


def plot_individuals(fits: xr.Dataset) -> Figure:
    """A panel per patient: posterior median and bands of M-protein, measurements, LLOQ, progression or censoring.

    fits: what `individual_fits` returns; pass a dozen patients or so. Weeks against g/L, log scale.
    """
    n = fits.sizes["patient"]
    figure, axes = panel_grid(n, columns=4, width=2.5, height=2.0, share=False, header=0.9)
    rows = fits["measurement_patient"].to_numpy()
    for number, ax in enumerate(axes):
        one = fits.isel(patient=number)
        _panel(ax, one.isel(measurement=np.flatnonzero(rows == one["patient"].item())))
    figure.supxlabel("Time since first dose (weeks)", fontsize=10)
    figure.supylabel("Serum M-protein (g/L)", fontsize=10)
    figure.legend(
        handles=_legend(fits),
        loc="outside upper center",
        ncols=min(4, 2 * min(n, 2)),
        frameon=False,
        fontsize=8,
    )
    return figure


def _panel(ax: Axes, one: xr.Dataset) -> None:
    week = one["day"].to_numpy() / WEEK_DAYS
    value, below = one["m_protein"].to_numpy(), one["below_lloq"].to_numpy()
    limit = float(one["lloq"].min())
    floor = _LOWEST_SHARE * min(limit, float(value.min()))
    # A log axis has no place for what a measurement's error makes negative.
    low = np.maximum(one["predictive_low"].to_numpy(), 0.1 * floor)
    ax.fill_between(week, low, one["predictive_high"], color=SIMULATED, alpha=0.13, linewidth=0.0)
    ax.fill_between(week, one["low"], one["high"], color=SIMULATED, alpha=0.35, linewidth=0.0)
    ax.plot(week, one["median"], color=SIMULATED, linewidth=1.2)
    at = one["measurement_day"].to_numpy() / WEEK_DAYS
    ax.plot(at[~below], value[~below], "o", color=OBSERVED, markersize=3.0)
    ax.plot(at[below], value[below], "v", markerfacecolor="white", markeredgecolor=OBSERVED, markersize=4.5)
    event = bool(one["event"])
    pfs = float(one["pfs_day"]) / WEEK_DAYS
    ax.axvline(pfs, color=EVENT if event else "0.45", linewidth=1.2, linestyle="-" if event else (0, (4, 3)))
    top = _HEADROOM * max(float(value.max()), float(one["median"].max()))
    ax.set_yscale("log")
    if floor < limit < top:
        ax.axhline(limit, color="0.5", linewidth=0.7, linestyle=":")
    ax.set_ylim(floor, top)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.tick_params(which="minor", labelleft=False)
    ax.set_title(str(one["patient"].item()), fontsize=9)


def _legend(fits: xr.Dataset) -> list[Line2D | Patch]:
    level = 100 * fits.attrs["level"]
    return [
        Patch(color=SIMULATED, alpha=0.5, label=f"curve, {level:g} % band"),
        Patch(color=SIMULATED, alpha=0.15, label=f"new measurement, {level:g} %"),
        Line2D([], [], color=OBSERVED, marker="o", linestyle="none", markersize=3, label="measured"),
        Line2D(
            [], [], color=OBSERVED, marker="v", markerfacecolor="white", linestyle="none", label="below LLOQ"
        ),
        Line2D([], [], color=EVENT, label="progression or death"),
        Line2D([], [], color="0.45", linestyle=(0, (4, 3)), label="censored"),
        Line2D([], [], color="0.5", linestyle=":", label="LLOQ"),
    ]
