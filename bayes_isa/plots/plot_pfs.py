"""`plot_pfs`: progression-free survival of simulated trials, by regimen."""

from __future__ import annotations

import matplotlib.pyplot as plt
import xarray as xr
from matplotlib.axes import Axes

from bayes_isa.plots.style import WEEK_DAYS, in_lines, regimen_styles
from bayes_isa.simulation.curves import pfs_curves


def plot_pfs(sims: xr.Dataset | xr.DataTree, *, level: float = 0.9, ax: Axes | None = None) -> Axes:
    """Probability of PFS over time by regimen: median over simulated trials, with the central `level` as a band.

    sims: what `simulate_trials` returns. ax: where to draw; a new figure by default. Returns the axes, weeks against
    probability. Raises ModelError for anything but simulated trials.
    """
    curves = pfs_curves(sims, level=level)
    if ax is None:
        _, ax = plt.subplots(figsize=(7.0, 4.4), layout="constrained")
    week = curves["day"].to_numpy() / WEEK_DAYS
    for label, style in regimen_styles(str(name) for name in curves["regimen"].to_numpy()).items():
        curve = curves.sel(regimen=label)
        ax.fill_between(week, curve["low"], curve["high"], color=style.color, alpha=0.15, linewidth=0.0)
        ax.plot(
            week,
            curve["median"],
            color=style.color,
            linestyle=style.linestyle,
            linewidth=1.8,
            label=in_lines(label),
        )
    ax.axhline(0.5, color="0.6", linewidth=0.6, zorder=0)
    ax.set(xlabel="Time since first dose (weeks)", ylabel="Probability of PFS", ylim=(0.0, 1.0))
    ax.set_xlim(0.0, float(week[-1]))
    ax.spines[["top", "right"]].set_visible(False)
    title = (
        f"Median and {100 * level:g} % interval of {curves.attrs['n_trials']} trials\n"
        f"of {curves.attrs['n_patients']} patients"
    )
    legend = ax.legend(
        title=title, frameon=False, handlelength=3.2, fontsize=9, title_fontsize=8, loc="upper right"
    )
    legend._legend_box.align = "left"  # type: ignore[attr-defined]
    return ax
