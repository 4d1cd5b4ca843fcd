"""`plot_km_vpc`: observed Kaplan-Meier curves over those of replicates."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bayes_isa.plots.panels_grid import p_value_text, panel_grid
from bayes_isa.plots.style import OBSERVED, SIMULATED, WEEK_DAYS

_AT_RISK_LABELS = 5


def plot_km_vpc(check: xr.Dataset) -> Figure:
    """Observed Kaplan-Meier curve (steps) of each stratum over the band of replicates, with patients at risk below.

    check: what `km_vpc` returns. Weeks against probability.
    """
    n = check.sizes["stratum"]
    width, height = (6.0, 4.0) if n == 1 else (3.2, 2.5)
    figure, axes = panel_grid(n, width=width, height=height)
    for s, ax in enumerate(axes):
        _panel(ax, check.isel(stratum=s))
    figure.supxlabel("Time since first dose (weeks); below the axis: patients at risk", fontsize=10)
    figure.supylabel("Probability of PFS", fontsize=10)
    level = 100 * check.attrs["level"]
    handles = [
        Line2D([], [], color=OBSERVED, linewidth=1.4, label="observed (Kaplan-Meier)"),
        Patch(
            color=SIMULATED,
            alpha=0.4,
            label=f"{check.attrs['n_replicates']} replicates: median, {level:g} % band",
        ),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return figure


def _panel(ax: Axes, part: xr.Dataset) -> None:
    week = part["day"].to_numpy() / WEEK_DAYS
    ax.fill_between(week, part["low"], part["high"], color=SIMULATED, alpha=0.25, linewidth=0.0)
    ax.plot(week, part["median"], color=SIMULATED, linewidth=1.0)
    ax.step(week, part["observed"], where="post", color=OBSERVED, linewidth=1.4)
    ax.set_ylim(0.0, 1.0)
    ax.set_xlim(0.0, float(week[-1]))
    p = p_value_text(float(part["p_value"]))
    title = f"{part['stratum'].item()}, n = {int(part['n_patients'])}"
    ax.set_title(f"{title} ({p})" if p else title, fontsize=9)
    at_risk = part["n_at_risk"].to_numpy()
    places = np.linspace(0, week.size - 1, _AT_RISK_LABELS).astype(int)
    for place in places:
        ax.annotate(
            f"{at_risk[place]:d}",
            (week[place], 0.0),
            xytext=(0, -19),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=7,
            color="0.35",
            annotation_clip=False,
        )
    ax.set_xticks([round(float(week[place])) for place in places])
    ax.tick_params(labelbottom=True)
