"""A grid of panels that share axes, with unused ones hidden."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def panel_grid(
    n_panels: int,
    *,
    columns: int = 3,
    width: float = 3.2,
    height: float = 2.5,
    share: bool = True,
    header: float = 0.6,
) -> tuple[Figure, list[Axes]]:
    """A figure of `n_panels` axes, at most `columns` side by side, each `width` x `height` inches."""
    columns = min(columns, n_panels)
    rows = -(-n_panels // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(max(width * columns, 4.6) + 0.5, height * rows + header),
        sharex=share,
        sharey=share,
        squeeze=False,
        layout="constrained",
    )
    flat = list(axes.flat)
    for number, ax in enumerate(flat[n_panels:], start=n_panels):
        ax.set_visible(False)
        if share:  # the panel above then has the lowest visible axis of its column
            flat[number - columns].tick_params(labelbottom=True)
    for ax in flat[:n_panels]:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    return figure, flat[:n_panels]


def p_value_text(p: float) -> str:
    """A p-value as it is written in a title; empty when there is none."""
    if not np.isfinite(p):
        return ""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.2f}" if p >= 0.095 else f"p = {p:.3f}"
