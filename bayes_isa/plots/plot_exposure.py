"""`plot_exposure`: concentrations of isatuximab and dexamethasone by regimen."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayes_isa.plots.style import QUIET, WEEK_DAYS, Style, in_lines, regimen_styles

_LEAST_SHOWN = 1.0  # mg/L; far below any EC50, where the effect is nil


def plot_exposure(profiles: xr.Dataset, *, estimates: xr.Dataset | None = None) -> Figure:
    """Median concentration over patients and its interval: isatuximab over all weeks, dexamethasone over the first two.

    profiles: what `exposure_profiles` returns. estimates: of `parameter_estimates`, to draw the typical EC50 as well.
    """
    regimens = [str(name) for name in profiles["regimen"].to_numpy()]
    styles = regimen_styles(regimens)
    with_dex = [n for n in regimens if float(profiles["dexamethasone_high"].sel(regimen=n).max()) > 0.0]
    figure, axes = plt.subplots(
        1,
        2 if with_dex else 1,
        figsize=(9.4 if with_dex else 6.2, 3.8),
        width_ratios=[1.7, 1.0] if with_dex else None,
        squeeze=False,
        layout="constrained",
    )
    _isatuximab(axes[0, 0], profiles, styles)
    if estimates is not None and "EC50_pop" in estimates["parameter"].to_numpy():
        _ec50(axes[0, 0], estimates.sel(parameter="EC50_pop"), 100 * estimates.attrs["level"])
    if with_dex:
        _dexamethasone(axes[0, 1], profiles, {name: styles[name] for name in with_dex})
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    level, n = 100 * profiles.attrs["level"], profiles.attrs["n_patients"]
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        title=f"Median and {level:g} % interval of {n} patients",
        loc="outside upper center",
        ncols=2,
        frameon=False,
        fontsize=8,
        title_fontsize=8,
        handlelength=3.0,
    )
    return figure


def _isatuximab(ax: Axes, profiles: xr.Dataset, styles: dict[str, Style]) -> None:
    week = profiles["day"].to_numpy()[1:] / WEEK_DAYS  # nothing has been given on day 0
    drawn: dict[bytes, str] = {}
    for name, style in styles.items():
        low, middle, high = (
            np.maximum(profiles[f"isatuximab_{bound}"].sel(regimen=name).to_numpy()[1:], _LEAST_SHOWN)
            for bound in ("low", "median", "high")
        )
        same = drawn.setdefault(middle.tobytes(), name)
        ax.plot(
            week,
            middle,
            color=style.color,
            linestyle=style.linestyle,
            linewidth=1.3,
            label=in_lines(name if same == name else f"{name} (isatuximab as {same})"),
        )
        if same == name:
            ax.fill_between(week, low, high, color=style.color, alpha=0.15, linewidth=0.0)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_ylim(bottom=_LEAST_SHOWN)
    ax.set_xlim(0.0, float(week[-1]))
    ax.set_xlabel("Time since first dose (weeks)", fontsize=9)
    ax.set_ylabel(f"Isatuximab in plasma (mg/L; below {_LEAST_SHOWN:g} at the edge)", fontsize=9)


def _ec50(ax: Axes, ec50: xr.Dataset, level: float) -> None:
    ax.axhspan(float(ec50["low"]), float(ec50["high"]), color=QUIET, alpha=0.12, linewidth=0.0)
    ax.axhline(
        float(ec50["median"]),
        color=QUIET,
        linewidth=0.9,
        linestyle=(0, (4, 3)),
        label=f"typical EC50, {level:g} % interval",
    )


def _dexamethasone(ax: Axes, profiles: xr.Dataset, styles: dict[str, Style]) -> None:
    day = profiles["dexamethasone_day"].to_numpy()
    for name, style in styles.items():
        low, middle, high = (
            profiles[f"dexamethasone_{bound}"].sel(regimen=name).to_numpy()
            for bound in ("low", "median", "high")
        )
        ax.fill_between(day, low, high, color=style.color, alpha=0.15, linewidth=0.0)
        ax.plot(day, middle, color=style.color, linestyle=style.linestyle, linewidth=1.3)
    ax.set_xlim(0.0, float(day[-1]))
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel("Time since first dose (days)", fontsize=9)
    ax.set_ylabel("Dexamethasone (umol/L)", fontsize=9)
