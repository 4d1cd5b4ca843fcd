"""Figures of results: parameters, covariates, regimens, response and exposure."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.inference.covariate_effects import covariate_effects
from bayes_isa.inference.estimates import parameter_estimates
from bayes_isa.plots.plot_covariate_effects import plot_covariate_effects
from bayes_isa.plots.plot_exposure import plot_exposure
from bayes_isa.plots.plot_parameters import plot_parameters
from bayes_isa.plots.plot_regimens import plot_regimens
from bayes_isa.plots.plot_response import plot_response
from bayes_isa.plots.style import regimen_styles
from bayes_isa.simulation.compare import compare_regimens
from bayes_isa.simulation.exposure_profiles import exposure_profiles
from bayes_isa.simulation.response_summary import response_summary
from bayes_isa.simulation.simulate import simulate_trials
from bayes_isa.simulation.virtual_trial import draw_virtual_trial

REGIMENS = ["10 mg/kg QW-Q2W", "20 mg/kg QW-Q2W", "20 mg/kg QW-Q2W + dex"]


@pytest.fixture(scope="module")
def fit(sampled_near_the_truth) -> xr.DataTree:
    virtual = draw_virtual_trial(24, seed=4)
    return sampled_near_the_truth(virtual.trial, virtual.truth, n_draws=50)


@pytest.fixture(scope="module")
def sims(fit: xr.DataTree) -> xr.DataTree:
    return simulate_trials(fit, REGIMENS, n_trials=4, seed=1, allow_unconverged=True)


def legend_texts(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_parameters_draw_prior_posterior_and_published(fit: xr.DataTree) -> None:
    estimates = parameter_estimates(fit)
    figure = plot_parameters(estimates)
    visible = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title() for ax in visible] == list(estimates["parameter"].to_numpy())
    one = estimates.sel(parameter="KL_pop")
    ax = next(ax for ax in visible if ax.get_title() == "KL_pop")
    assert ax.get_xlabel() == "1/day"
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), one["prior_density"])
    assert float(one["published"]) in [line.get_xdata()[0] for line in ax.get_lines()]
    assert all("90 %" in text for text in legend_texts(figure) if text != "prior")
    assert all(len(ax.get_xticks()) >= 3 for ax in visible if ax.get_xscale() == "log")


def test_covariate_effects_have_a_line_each(fit: xr.DataTree) -> None:
    effects = covariate_effects(fit)
    ax = plot_covariate_effects(effects)
    assert [t.get_text() for t in ax.get_yticklabels()] == list(effects["contrast"].to_numpy())
    assert ax.get_xscale() == "log"
    np.testing.assert_allclose(ax.get_lines()[0].get_xdata(), effects["median"])


def test_regimens_are_in_their_colours_everywhere(sims: xr.DataTree) -> None:
    styles = regimen_styles(REGIMENS)
    table = compare_regimens(sims, reference=REGIMENS[0])
    figure = plot_regimens(table)
    assert legend_texts(figure) == REGIMENS
    assert [handle.get_color() for handle in figure.legends[0].get_lines()] == [
        styles[name].color for name in REGIMENS
    ]
    _, waterfall = plot_response(response_summary(sims)).axes
    drawn = {str(line.get_label()): line.get_color() for line in waterfall.get_lines()}
    assert {name: drawn[name] for name in REGIMENS} == {name: styles[name].color for name in REGIMENS}
    with pytest.raises(ModelError, match="has no rank_of_dose"):
        plot_regimens(table, ["rank_of_dose"])


def test_what_is_not_reached_is_an_arrow(sims: xr.DataTree) -> None:
    table = compare_regimens(sims, reference=REGIMENS[0])
    rows = (table["regimen"] == REGIMENS[2]) & (table["quantity"] == "median_pfs")
    table.loc[rows, "p95"] = np.inf
    ax = plot_regimens(table).axes[0]
    assert [text.get_text() for text in ax.texts] == ["not reached"]


def test_bars_name_shares_and_the_rest_of_the_axis(sims: xr.DataTree) -> None:
    summary = response_summary(sims)
    bars, waterfall = plot_response(summary).axes
    assert bars.get_xlim() == (0.0, 100.0)
    assert len(bars.patches) == 6 * len(REGIMENS)
    assert len({(p.get_facecolor(), p.get_hatch()) for p in bars.patches}) == 6
    assert "(%)" in waterfall.get_ylabel()


def test_exposures_have_units_and_say_what_is_alike(fit: xr.DataTree) -> None:
    trial = draw_virtual_trial(5, seed=4).trial
    profiles = exposure_profiles(trial, REGIMENS, until_day=28.0)
    figure = plot_exposure(profiles, estimates=parameter_estimates(fit))
    isatuximab, dexamethasone = figure.axes
    assert "mg/L" in isatuximab.get_ylabel()
    assert "umol/L" in dexamethasone.get_ylabel()
    texts = legend_texts(figure)
    assert "20 mg/kg QW-Q2W + dex (isatuximab as 20 mg/kg QW-Q2W)" in [" ".join(t.split()) for t in texts]
    assert "typical EC50, 90 % interval" in texts
    assert len(plot_exposure(exposure_profiles(trial, REGIMENS[:2], until_day=28.0)).axes) == 1
