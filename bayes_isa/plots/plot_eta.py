"""`plot_eta`: distribution and shrinkage of random effects."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import norm

from bayes_isa.plots.panels_grid import p_value_text, panel_grid
from bayes_isa.plots.style import OBSERVED, SIMULATED

_RANGE = 4.0
_BINS = [0.25 * n for n in range(-16, 17)]
_MEANS = "#D55E00"


def plot_eta(etas: xr.Dataset) -> Figure:
    """Random effects of every individual parameter: all draws, posterior means, and the standard normal they should be.

    etas: what `eta_shrinkage` returns. The nearer the posterior means are to the draws, the lower the shrinkage.
    """
    names = [str(name) for name in etas["parameter"].to_numpy()]
    figure, axes = panel_grid(len(names), columns=3, width=2.9, height=2.2)
    x = np.linspace(-_RANGE, _RANGE, 201)
    for name, ax in zip(names, axes, strict=True):
        one = etas.sel(parameter=name)
        draws, means = one["eta"].to_numpy().ravel(), one["eta_mean"].to_numpy()
        ax.hist(draws, bins=_BINS, density=True, color=SIMULATED, alpha=0.4)
        ax.hist(means, bins=_BINS, density=True, histtype="step", color=_MEANS, linewidth=1.2)
        ax.plot(x, norm.pdf(x), color=OBSERVED, linewidth=1.0)
        p = p_value_text(float(one["p_value"]))
        ax.set_title(
            f"{name}: shrinkage {100 * float(one['shrinkage']):.0f} %{f' ({p})' if p else ''}", fontsize=9
        )
        ax.set_xlim(-_RANGE, _RANGE)
        ax.tick_params(labelleft=False)
    figure.supxlabel("eta (SD between patients)", fontsize=10)
    handles = [
        Line2D([], [], color=SIMULATED, linewidth=5, alpha=0.4, label="posterior draws"),
        Line2D([], [], color=_MEANS, label="posterior means"),
        Line2D([], [], color=OBSERVED, label="standard normal"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure
