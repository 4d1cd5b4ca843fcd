"""Figures of checks: each panel, its units and what was observed."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayes_isa.model.spec import ModelSpec
from bayes_isa.plots.plot_eta import plot_eta
from bayes_isa.plots.plot_individuals import plot_individuals
from bayes_isa.plots.plot_km_vpc import plot_km_vpc
from bayes_isa.plots.plot_prior_check import plot_prior_check
from bayes_isa.plots.plot_prior_sensitivity import plot_prior_sensitivity
from bayes_isa.plots.plot_residuals import plot_residuals
from bayes_isa.plots.plot_vpc import plot_vpc
from bayes_isa.prediction.eta_shrinkage import eta_shrinkage
from bayes_isa.prediction.individual_fits import individual_fits
from bayes_isa.prediction.km_vpc import km_vpc
from bayes_isa.prediction.quantile_residuals import quantile_residuals
from bayes_isa.prediction.replicates import replicate_trial
from bayes_isa.prediction.vpc import vpc
from bayes_isa.simulation.parameters import fit_at_truth
from bayes_isa.simulation.virtual_trial import draw_virtual_trial


@pytest.fixture(scope="module")
def given() -> dict[str, object]:
    virtual = draw_virtual_trial(24, seed=4)
    return {"fit": fit_at_truth(virtual.truth), "trial": virtual.trial, "spec": ModelSpec()}


@pytest.fixture(scope="module")
def replicates(given) -> xr.Dataset:
    return replicate_trial(n_replicates=20, seed=1, **given)


def test_vpc_draws_observed_percentiles_and_shares(replicates: xr.Dataset) -> None:
    check = vpc(replicates)
    figure = plot_vpc(check)
    top, bottom = figure.axes
    assert top.get_yscale() == "log"
    drawn = [line.get_ydata() for line in top.get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(drawn, check["observed"][0])
    shares = next(line for line in bottom.get_lines() if line.get_marker() == "o")
    np.testing.assert_allclose(shares.get_ydata(), 100 * check["below_observed"][0])
    assert "g/L" in top.get_ylabel()
    assert "weeks" in figure.get_supxlabel()
    by_arm = plot_vpc(vpc(replicates, by="arm"))
    visible = [ax for ax in by_arm.axes if ax.get_visible()]
    assert len(visible) == 2 * vpc(replicates, by="arm").sizes["stratum"]


def test_kaplan_meier_panels_have_patients_at_risk(replicates: xr.Dataset) -> None:
    check = km_vpc(replicates, by="arm")
    figure = plot_km_vpc(check)
    visible = [ax for ax in figure.axes if ax.get_visible()]
    assert len(visible) == check.sizes["stratum"]
    assert visible[0].texts[0].get_text() == str(int(check["n_at_risk"][0, 0]))
    assert visible[0].get_ylim() == (0.0, 1.0)


def test_individuals_show_measurements_limit_and_progression(given) -> None:
    ids = [str(i) for i in given["trial"].patients.index[:5]]
    figure = plot_individuals(individual_fits(patients=ids, **given))
    visible = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title() for ax in visible] == ids
    rows = given["trial"].mprotein
    for patient, ax in zip(ids, visible, strict=True):
        points = sum(line.get_xdata().size for line in ax.get_lines() if line.get_linestyle() == "None")
        assert points == (rows["id"] == patient).sum()


def test_residuals_and_etas_name_their_outcomes(given) -> None:
    figure = plot_residuals(quantile_residuals(seed=1, **given))
    assert figure.axes[2].get_title().startswith("M-protein")
    assert figure.axes[3].get_title().startswith("PFS")
    etas = plot_eta(eta_shrinkage(**given))
    assert [ax.get_title().split(":")[0] for ax in etas.axes[:5]] == ["M0", "KL", "KD", "R", "EC50"]
    assert not etas.axes[5].get_visible()


def test_prior_figures_say_what_they_leave_out() -> None:
    day = np.linspace(0.0, 609.0, 5)
    at = ("quantile", "visit")
    flat = np.ones((3, 4))
    check = xr.Dataset(
        {f"m_protein_{bound}": (at, flat) for bound in ("low", "median", "high")}
        | {f"surviving_{bound}": ("day", np.ones(5)) for bound in ("low", "median", "high")}
        | {
            "median_pfs": ("sample", np.array([100.0, np.inf])),
            "week_8_change": ("sample", np.array([-30.0, np.nan])),
            "share_above_200": ("sample", np.array([0.1, 0.0])),
        },
        coords={"quantile": [0.1, 0.5, 0.9], "visit_day": ("visit", 28.0 * np.arange(4)), "day": day},
        attrs={"level": 0.9, "horizon_day": 609.0},
    )
    titles = [ax.get_title() for ax in plot_prior_check(check).axes]
    assert "beyond 87 weeks: 50 % of draws" in titles
    assert "patients above 200 g/L before progression: 5.0 %" in titles


def test_sensitivity_figure_lists_every_parameter() -> None:
    report = xr.Dataset(
        {
            "prior": ("parameter", [0.2, 0.01]),
            "likelihood": ("parameter", [0.1, 0.3]),
            "diagnosis": ("parameter", np.array(["potential prior-data conflict", "none"], dtype=object)),
        },
        coords={"parameter": ["KL_pop", "k"]},
        attrs={"threshold": 0.05},
    )
    ax = plot_prior_sensitivity(report)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["KL_pop", "k"]
