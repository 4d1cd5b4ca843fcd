"""`plot_prior_sensitivity`: power-scaling sensitivity of every population parameter."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

_COLOURS = {
    "potential prior-data conflict": "#D55E00",
    "strong prior or weak likelihood": "#E69F00",
    "none": "#0072B2",
}


def plot_prior_sensitivity(report: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Sensitivity to the prior (filled) and to the likelihood (open) by parameter, with the threshold as a line.

    report: what `prior_sensitivity` returns. ax: where to draw; a new figure by default.
    """
    labels = [str(name) for name in report["parameter"].to_numpy()]
    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 0.24 * len(labels) + 1.4), layout="constrained")
    place = np.arange(len(labels))[::-1]
    diagnosis = report["diagnosis"].to_numpy()
    ax.hlines(
        place, 0.0, np.maximum(report["prior"], report["likelihood"]), color="0.85", linewidth=0.8, zorder=0
    )
    for name, colour in _COLOURS.items():
        chosen = diagnosis == name
        title = "no conflict" if name == "none" else name
        ax.plot(report["prior"].to_numpy()[chosen], place[chosen], "o", color=colour, label=f"prior: {title}")
    ax.plot(
        report["likelihood"], place, "o", markerfacecolor="none", markeredgecolor="0.4", label="likelihood"
    )
    ax.axvline(report.attrs["threshold"], color="0.4", linewidth=0.8, linestyle=":")
    ax.set_yticks(place, labels, fontsize=8)
    ax.set_xlim(left=0.0)
    ax.set_xlabel("Power-scaling sensitivity", fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=2)
    return ax
