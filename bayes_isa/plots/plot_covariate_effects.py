"""`plot_covariate_effects`: ratios of parameters and hazard between patients who differ in one covariate."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from bayes_isa.plots.style import PUBLISHED, QUIET, SIMULATED

_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


def plot_covariate_effects(effects: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """A line per contrast: posterior ratio with its interval, and the published one, on a log axis.

    effects: what `covariate_effects` returns. ax: where to draw; a new figure by default.
    """
    labels = [str(label) for label in effects["contrast"].to_numpy()]
    if ax is None:
        _, ax = plt.subplots(figsize=(7.4, 0.36 * len(labels) + 1.3), layout="constrained")
    place = np.arange(len(labels))[::-1]
    level = 100 * effects.attrs["level"]
    for shift, colour, marker, names, text in (
        (0.12, SIMULATED, "o", ("low", "median", "high"), f"posterior median, {level:g} % interval"),
        (
            -0.2,
            PUBLISHED,
            "D",
            ("published_low", "published", "published_high"),
            f"published, {level:g} % interval",
        ),
    ):
        low, middle, high = (effects[name].to_numpy() for name in names)
        ax.hlines(place + shift, low, high, color=colour, linewidth=2.0 if marker == "o" else 1.2)
        ax.plot(middle, place + shift, marker, color=colour, markersize=4.5, label=text)
    ax.axvline(1.0, color=QUIET, linewidth=0.8, linestyle=":")
    targets = effects["target"].to_numpy()
    for row in np.flatnonzero(targets[1:] != targets[:-1]):
        ax.axhline(place[row] - 0.5, color="0.85", linewidth=0.7, zorder=0)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(_TICKS))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_yticks(place, labels, fontsize=8)
    ax.set_ylim(-0.6, len(labels) - 0.4)
    ax.set_xlabel("Ratio of the parameter, or of the hazard", fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)
    ax.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=2)
    return ax
