"""The figure of a covariate selection: every effect where it belongs, kept ones told from the others."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex

from bayes_isa.plots.plot_covariate_selection import plot_covariate_selection
from bayes_isa.plots.style import SIMULATED


@pytest.fixture
def selection() -> xr.Dataset:
    ratio = np.array([1.4, 1.0, 0.9])
    return xr.Dataset(
        {
            "ratio": ("effect", ratio),
            "ratio_low": ("effect", 0.9 * ratio),
            "ratio_high": ("effect", 1.2 * ratio),
            "shrinkage": ("effect", [0.1, 0.9, 0.8]),
            "kept": ("effect", [True, False, False]),
            "effective": ("target", [1.0, 0.2]),
            "expected": ("target", [1.0, 0.5]),
            "candidates": ("target", [2, 1]),
        },
        coords={
            "effect": ["beta_KL[log_age_years]", "beta_KL[female]", "beta_hazard[female]"],
            "of": ("effect", ["KL", "KL", "hazard"]),
            "covariate": ("effect", ["log_age_years", "female", "female"]),
            "target": ["KL", "hazard"],
        },
        attrs={"keep": "shrinkage", "relevant_ratio": 1.25, "level": 0.9},
    )


def test_each_target_has_its_ratios_and_shares(selection: xr.Dataset) -> None:
    figure = plot_covariate_selection(selection)
    ratios, shares, hazard, _ = figure.axes
    assert [label.get_text() for label in ratios.get_yticklabels()] == ["log_age_years", "female"]
    assert ratios.get_title(loc="left") == "KL\n1.0 of 2 effects (prior 1.0)"
    assert [bar.get_width() for bar in shares.patches] == pytest.approx([0.9, 0.1])
    drawn = {
        (float(x), float(y)): line.get_markerfacecolor()
        for line in ratios.get_lines()
        if line.get_linestyle() == "None"
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }
    assert drawn == {(1.4, 1.0): SIMULATED, (1.0, 0.0): "white"}
    assert to_hex(shares.patches[0].get_facecolor()).upper() == SIMULATED
    points = [line for line in hazard.get_lines() if line.get_linestyle() == "None" and len(line.get_xdata())]
    assert [(float(p.get_xdata()[0]), float(p.get_ydata()[0])) for p in points] == [(0.9, 0.0)]
    assert ratios.get_xlim() == hazard.get_xlim()
    low, high = ratios.get_xlim()
    assert low < 0.9 * 0.9 < 1.2 * 1.4 < high


def test_the_legend_says_the_rule(selection: xr.Dataset) -> None:
    selection.attrs["keep"] = "interval"
    (legend,) = plot_covariate_selection(selection).legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["kept: 90 % interval without 1", "not kept", "not relevant, 0.8 to 1.25"]
    assert "one SD" in legend.get_title().get_text()
