"""`plot_prior_check`: M-protein, PFS and response under the priors alone."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayes_isa.plots.style import SIMULATED, WEEK_DAYS

# g/L; what lies above means nothing but "absurd", and would squeeze the rest.
_M_SHOWN = (0.1, 1e4)
_COLOURS = ("#56B4E9", "#0072B2", "#009E73", "#E69F00", "#CC79A7")


def plot_prior_check(check: xr.Dataset) -> Figure:
    """Percentiles of M-protein, PFS curves, and the distributions of median PFS and week-8 change over prior draws.

    check: what `prior_check` returns.
    """
    figure, axes = plt.subplots(2, 2, figsize=(8.6, 6.4), layout="constrained")
    _m_protein(axes[0, 0], check)
    week = check["day"].to_numpy() / WEEK_DAYS
    axes[0, 1].fill_between(
        week, check["surviving_low"], check["surviving_high"], color=SIMULATED, alpha=0.25, linewidth=0
    )
    axes[0, 1].plot(week, check["surviving_median"], color=SIMULATED)
    axes[0, 1].set(
        xlabel="Time since first dose (weeks)", ylabel="Probability of PFS", ylim=(0, 1), xlim=(0, week[-1])
    )
    median = check["median_pfs"].to_numpy()
    reached = np.isfinite(median)
    axes[1, 0].hist(median[reached] / WEEK_DAYS, bins=30, color=SIMULATED, alpha=0.6)
    horizon = check.attrs["horizon_day"] / WEEK_DAYS
    axes[1, 0].set(xlabel="Median PFS of a trial (weeks)", ylabel="prior draws", xlim=(0, horizon))
    axes[1, 0].set_title(f"beyond {horizon:.0f} weeks: {100 * np.mean(~reached):.0f} % of draws", fontsize=9)
    change = check["week_8_change"].to_numpy()
    shown = change[np.isfinite(change)]
    axes[1, 1].hist(shown, bins=np.linspace(-100, 100, 41), color=SIMULATED, alpha=0.6)
    axes[1, 1].set(xlabel="Median change of M-protein at week 8 (%)", ylabel="prior draws", xlim=(-100, 100))
    above = 100 * float((check["share_above_200"]).mean())
    axes[1, 1].set_title(f"patients above 200 g/L before progression: {above:.1f} %", fontsize=9)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    return figure


def _m_protein(ax: Axes, check: xr.Dataset) -> None:
    week = check["visit_day"].to_numpy() / WEEK_DAYS
    for number, q in enumerate(check["quantile"].to_numpy()):
        one = check.isel(quantile=number)
        colour = _COLOURS[number % len(_COLOURS)]
        ax.fill_between(
            week, one["m_protein_low"], one["m_protein_high"], color=colour, alpha=0.2, linewidth=0
        )
        ax.plot(week, one["m_protein_median"], color=colour, label=f"{100 * q:g} % of patients")
    ax.set_yscale("log")
    ax.set_ylim(_M_SHOWN)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set(xlabel="Time since first dose (weeks)", ylabel="M-protein on study (g/L)")
    level = 100 * check.attrs["level"]
    ax.legend(
        frameon=False, fontsize=8, title=f"median, {level:g} % of draws", title_fontsize=8, loc="upper left"
    )
