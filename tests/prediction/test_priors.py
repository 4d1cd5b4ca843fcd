"""Prior predictive trials on the scale people know, and how much a posterior owes to its priors."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.model.build import build_model
from bayes_isa.model.prior import Prior
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.prior_check import prior_check
from bayes_isa.prediction.prior_sensitivity import CONFLICT, FINE, prior_sensitivity
from bayes_isa.simulation.virtual_trial import draw_virtual_trial
from tests.prediction.estimates import scattered

FEW = {"KD": ("log_baseline_m",)}


@pytest.mark.filterwarnings("ignore:Numba will use object mode")
def test_priors_around_the_published_values_give_published_outcomes() -> None:
    """Certain priors at the published estimates: 20 to 30 weeks of median PFS, M-protein falling by week 8."""
    known = load_priors("published_2023")
    trial = draw_virtual_trial(12, seed=5).trial
    check = prior_check(build_model(trial, known, ModelSpec(covariates=FEW)), n_draws=80, seed=1)
    assert dict(check.sizes) == {"quantile": 3, "visit": 22, "day": 101, "sample": 80}
    assert check["m_protein_median"].attrs["units"] == "g/L"
    assert np.median(check["median_pfs"]) / 7 == pytest.approx(24.0, abs=12.0)
    assert -80.0 < float(check["week_8_change"].median()) < 0.0
    baseline = check["m_protein_median"].sel(quantile=0.5).isel(visit=0)
    assert float(baseline) == pytest.approx(27.0, rel=0.25)
    curve = check["surviving_median"].to_numpy()
    assert curve[0] > 0.95
    assert (np.diff(curve) <= 1e-12).all()


def test_a_model_of_somebody_else_is_refused() -> None:
    with pm.Model() as model:
        pm.Normal("x")
    with pytest.raises(ModelError, match="build_model"):
        prior_check(model, seed=1)


def test_agreement_and_conflict_are_told_apart(virtual, at_truth) -> None:
    """Posteriors made by hand: the prior of R says 10 times the truth and pulls, that of M0 says nothing."""
    fit = scattered(at_truth, 500, relative=0.05, seed=3)
    pulled = Prior("LogNormal", {"median": 0.192, "sigma": 0.35})
    vague = Prior("LogNormal", {"median": 27.0, "sigma": 5.0})
    priors = load_priors("weakly_informative").with_(R_pop=pulled, M0_pop=vague)
    report = prior_sensitivity(fit, trial=virtual.trial, spec=ModelSpec(), priors=priors)
    assert "beta_KD[log_baseline_m]" in report["parameter"]
    assert report.attrs["not_scaled"] == []
    of_r, of_m0 = report.sel(parameter="R_pop"), report.sel(parameter="M0_pop")
    assert float(of_r["prior"]) > 0.05
    assert float(of_r["prior_probability"]) < 1e-6, float(of_r["prior_probability"])
    assert of_r["diagnosis"].item() in (CONFLICT, "strong prior or weak likelihood")
    assert of_m0["diagnosis"].item() == FINE
    assert float(of_m0["contraction"]) == pytest.approx(1.0 - (0.05 / 5.0) ** 2, abs=1e-4)


def test_a_fit_without_posterior_is_refused() -> None:
    with pytest.raises(ModelError, match="posterior"):
        prior_sensitivity(xr.DataTree())
