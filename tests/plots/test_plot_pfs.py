"""PFS curves: right numbers, in weeks, told apart without colour."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.plots.plot_pfs import plot_pfs
from bayes_isa.plots.style import regimen_styles
from bayes_isa.regimens import PUBLISHED_NAMES
from bayes_isa.simulation.curves import pfs_curves

HORIZON = 280.0
REGIMENS = ["10 mg/kg QW-Q2W", "20 mg/kg QW-Q2W"]


@pytest.fixture
def sims() -> xr.Dataset:
    """40 trials of 50 patients with exponential PFS, medians 100 and 150 days."""
    rng = np.random.default_rng(1)
    scale = np.array([100.0, 150.0])[:, None] / np.log(2.0)
    day = rng.exponential(size=(40, 1, 50)) * scale
    dims = ("trial", "regimen", "patient")
    return xr.Dataset(
        {"pfs_day": (dims, np.minimum(day, HORIZON)), "event": (dims, day <= HORIZON)},
        coords={"regimen": REGIMENS},
    )


def test_curves_are_kaplan_meier_curves(sims: xr.Dataset) -> None:
    from lifelines import KaplanMeierFitter

    days = np.array([0.0, 30.0, 99.5, 200.0, HORIZON])
    one = sims.isel(trial=[3])
    curves = pfs_curves(one, days=days)
    for regimen in REGIMENS:
        patients = one.sel(regimen=regimen).isel(trial=0)
        fitted = KaplanMeierFitter().fit(patients["pfs_day"].to_numpy(), patients["event"].to_numpy())
        np.testing.assert_allclose(curves["median"].sel(regimen=regimen), fitted.predict(days), atol=1e-12)


def test_curves_fall_within_their_band(sims: xr.Dataset) -> None:
    curves = pfs_curves(sims)
    assert curves.sizes == {"regimen": 2, "day": 41}
    assert curves["day"].attrs["units"] == "day"
    np.testing.assert_array_equal(curves["median"].isel(day=0), 1.0)
    assert (curves["median"].diff("day") <= 0.0).all()
    assert (curves["low"] <= curves["median"]).all()
    assert (curves["median"] <= curves["high"]).all()
    half = pfs_curves(sims, level=0.5)
    assert (half["high"] - half["low"]).sum() < (curves["high"] - curves["low"]).sum()


def test_what_are_no_simulated_trials_is_refused(sims: xr.Dataset) -> None:
    with pytest.raises(ModelError, match="event is missing"):
        pfs_curves(sims.drop_vars("event"))
    with pytest.raises(ModelError, match="level"):
        pfs_curves(sims, level=90.0)
    with pytest.raises(ModelError, match="the end of the simulation"):
        pfs_curves(sims, days=[HORIZON + 1.0])


def test_the_figure_names_regimens_units_and_interval(sims: xr.Dataset) -> None:
    ax = plot_pfs(sims)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == REGIMENS
    assert "90 % interval of 40 trials" in legend.get_title().get_text()
    assert "weeks" in ax.get_xlabel()
    assert ax.get_ylim() == (0.0, 1.0)
    assert ax.get_xlim() == (0.0, HORIZON / 7.0)


def test_the_figure_draws_the_curves(sims: xr.Dataset) -> None:
    ax = plot_pfs(sims)
    curves = pfs_curves(sims)
    drawn = {line.get_label(): line for line in ax.get_lines()}
    for regimen in REGIMENS:
        np.testing.assert_allclose(drawn[regimen].get_xdata(), curves["day"] / 7.0)
        np.testing.assert_allclose(drawn[regimen].get_ydata(), curves["median"].sel(regimen=regimen))


def test_axes_can_be_given(sims: xr.Dataset) -> None:
    _, ax = plt.subplots()
    assert plot_pfs(sims, ax=ax) is ax


def test_regimens_keep_their_look_from_figure_to_figure() -> None:
    together = regimen_styles(PUBLISHED_NAMES)
    for name in PUBLISHED_NAMES:
        assert regimen_styles(["5 mg/kg Q2W", name])[name] == together[name]
    one = regimen_styles(["5 mg/kg Q2W"])["5 mg/kg Q2W"]
    assert regimen_styles(["10 mg/kg QW-Q2W", "5 mg/kg Q2W"])["5 mg/kg Q2W"] == one


def test_spelling_and_order_do_not_change_the_look() -> None:
    assert (
        regimen_styles(["20 MG/KG qw-q2w"])["20 MG/KG qw-q2w"]
        == regimen_styles(["20 mg/kg QW-Q2W"])["20 mg/kg QW-Q2W"]
    )
    names = [f"{dose} mg/kg Q2W" for dose in range(4, 9)]
    assert regimen_styles(names) == regimen_styles(names[::-1])


def test_regimens_differ_in_colour_line_style_marker_and_hatch() -> None:
    styles = regimen_styles([*PUBLISHED_NAMES, *(f"{dose} mg/kg Q4W" for dose in range(1, 9))]).values()
    for feature in ("color", "linestyle", "marker", "hatch"):
        assert len({getattr(style, feature) for style in styles}) == 16, feature


def test_many_regimens_still_get_a_style() -> None:
    assert len(regimen_styles([f"{dose} mg/kg Q2W" for dose in range(1, 31)])) == 30
