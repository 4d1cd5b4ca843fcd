"""`plot_mprotein`: the M-protein series of a trial, by arm."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayes_isa.data import Trial
from bayes_isa.data.summary import by_amount
from bayes_isa.plots.style import WEEK_DAYS, regimen_styles

_COLUMNS = 3


def plot_mprotein(trial: Trial) -> Figure:
    """Observed M-protein (g/L, log scale) over time (weeks), a panel per arm and a line per patient.

    Values below the limit of quantification are open triangles at that limit; a cross at the last value before it marks
    progression or death.
    """
    arms = _arms(trial)
    names = sorted(dict.fromkeys(arms), key=by_amount)
    columns = min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    size = (3.1 * columns + 0.8, 2.3 * rows + 0.9)
    figure, axes = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    styles = regimen_styles(names)
    for ax, name in zip(axes.flat, names, strict=False):
        members = arms.index[arms == name]
        _panel(ax, trial, members, styles[name].color)
        ax.set_title(f"{name} (n = {len(members)})", fontsize=9)
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    figure.supxlabel("Time since first dose (weeks)", fontsize=10)
    figure.supylabel("Serum M-protein (g/L)", fontsize=10)
    figure.legend(handles=_legend(), loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def _arms(trial: Trial) -> pd.Series:
    """Arm of each patient; the trial's name where the data have no arms."""
    index = trial.patients.index
    if "arm" not in trial.patients:
        return pd.Series(trial.name, index=index)
    return trial.patients["arm"].astype(object).where(trial.patients["arm"].notna(), "no arm given")


def _panel(ax: Axes, trial: Trial, members: pd.Index, color: str) -> None:
    rows = trial.mprotein[trial.mprotein["id"].isin(members)]
    below = rows[rows["below_lloq"]]
    for _, series in rows.groupby("id", sort=False):
        ax.plot(series["day"] / WEEK_DAYS, series["value_g_per_l"], color=color, linewidth=0.7, alpha=0.5)
    ax.plot(
        below["day"] / WEEK_DAYS,
        below["value_g_per_l"],
        linestyle="none",
        marker="v",
        markersize=3.5,
        markerfacecolor="white",
        markeredgecolor=color,
        markeredgewidth=0.8,
    )
    day, value = _events(trial, members, rows)
    ax.plot(
        day / WEEK_DAYS,
        value,
        linestyle="none",
        marker="x",
        markersize=4,
        markeredgewidth=0.9,
        color="black",
    )
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)


def _events(trial: Trial, members: pd.Index, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Days of the events and the last M-protein measured by then."""
    pfs = trial.pfs.loc[members]
    event_day = pfs.loc[pfs["event"], "day"]
    before = rows[rows["day"] <= rows["id"].map(event_day)]
    last = before.groupby("id")["value_g_per_l"].last().reindex(event_day.index)
    return event_day.to_numpy(dtype=float), last.to_numpy(dtype=float)


def _legend() -> list[Line2D]:
    grey = "0.35"
    return [
        Line2D([], [], color=grey, linewidth=0.9, label="one patient"),
        Line2D([], [], color=grey, marker="v", markerfacecolor="white", linestyle="none", label="below LLOQ"),
        Line2D([], [], color="black", marker="x", linestyle="none", label="progression or death"),
    ]
