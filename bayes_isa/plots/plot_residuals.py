"""`plot_residuals`: randomised quantile residuals of M-protein and PFS."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from bayes_isa.plots.panels_grid import p_value_text
from bayes_isa.plots.style import OBSERVED, SIMULATED, WEEK_DAYS

_MOST_LINES = 100
_LEAST_SHOWN = 0.01  # g/L; deep responses reach values of no meaning


def plot_residuals(residuals: xr.Dataset) -> Figure:
    """Residuals of one posterior draw against predicted M-protein and time, and normal quantiles at every draw.

    residuals: what `quantile_residuals` returns. Under the model all are standard normal; the line is where they would
    lie.
    """
    figure, axes = plt.subplots(2, 2, figsize=(8.4, 6.2), layout="constrained")
    first = residuals.isel(sample=-1)
    below = first["below_lloq"].to_numpy()
    marker = first["m_protein"].to_numpy()
    week = first["measurement_day"].to_numpy() / WEEK_DAYS
    predicted = first["predicted"].to_numpy()
    label = "Predicted M-protein (g/L)"
    if (predicted < _LEAST_SHOWN).any():
        label += f"; below {_LEAST_SHOWN:g} at the edge"
    _scatter(axes[0, 0], np.maximum(predicted, _LEAST_SHOWN), marker, below, label)
    axes[0, 0].set_xscale("log")
    axes[0, 0].xaxis.set_major_formatter("{x:g}")
    _scatter(axes[0, 1], week, marker, below, "Time since first dose (weeks)")
    axes[0, 0].set_ylabel("Residual of M-protein (SD)", fontsize=9)
    axes[0, 1].legend(frameon=False, fontsize=8, loc="upper right", ncols=2)
    for ax, outcome, title in ((axes[1, 0], "m_protein", "M-protein"), (axes[1, 1], "pfs", "PFS")):
        p = p_value_text(float(residuals["p_value"].sel(outcome=outcome)))
        _quantiles(ax, residuals[outcome].to_numpy(), f"{title} ({p})" if p else title)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    return figure


def _scatter(ax: Axes, x: np.ndarray, residual: np.ndarray, below: np.ndarray, label: str) -> None:
    ax.plot(x[~below], residual[~below], "o", color=SIMULATED, markersize=2.5, alpha=0.6, label="measured")
    ax.plot(
        x[below],
        residual[below],
        "v",
        markerfacecolor="white",
        markeredgecolor="#D55E00",
        markersize=4,
        label="below LLOQ",
    )
    for level, style in ((0.0, "-"), (-1.96, ":"), (1.96, ":")):
        ax.axhline(level, color="0.4", linewidth=0.7, linestyle=style)
    ax.set_xlabel(label, fontsize=9)


def _quantiles(ax: Axes, residual: np.ndarray, title: str) -> None:
    """Sorted residuals of every draw against normal quantiles."""
    n = residual.shape[1]
    expected = norm.ppf((np.arange(n) + 0.5) / n)
    for row in residual[-_MOST_LINES:]:
        ax.plot(expected, np.sort(row), color=SIMULATED, linewidth=0.6, alpha=0.25)
    ax.axline((0.0, 0.0), slope=1.0, color=OBSERVED, linewidth=0.9)
    ax.set_xlabel("Normal quantile (SD)", fontsize=9)
    ax.set_ylabel("Residual (SD), a line per draw", fontsize=9)
    ax.set_title(title, fontsize=9)
