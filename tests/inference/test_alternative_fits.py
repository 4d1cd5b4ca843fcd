"""A tiny fit with correlated random effects and K-PD exposure goes the whole way: sampled, stored, read, simulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.inference.diagnose import diagnose
from bayes_isa.inference.fit import fit as sample
from bayes_isa.inference.marginal import marginal_likelihood
from bayes_isa.inference.storage import load_fit, save_fit, spec_of
from bayes_isa.model.build import build_model
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.eta_shrinkage import eta_shrinkage
from bayes_isa.prediction.replicates import replicate_trial
from bayes_isa.simulation.simulate import simulate_trials
from bayes_isa.simulation.virtual_trial import draw_virtual_trial

SPEC = ModelSpec(covariates={}, exposure="kpd", random_effects="correlated")


@pytest.fixture(scope="module")
def trial() -> Trial:
    return draw_virtual_trial(8, seed=3, effects={}, correlation={("KL", "KD"): 0.6}).trial


@pytest.fixture(scope="module")
def fit(trial: Trial, tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    model = build_model(trial, "weakly_informative", SPEC)
    fitted = sample(model, draws=30, tune=60, chains=2, seed=1, cores=1, progressbar=False)
    return load_fit(save_fit(fitted, Path(tmp_path_factory.mktemp("fit")) / "fit.nc"))


def test_draws_are_correlation_matrices(fit: xr.DataTree) -> None:
    matrix = fit["posterior"]["correlation"]
    assert matrix.dims == ("chain", "draw", "parameter", "parameter_other")
    values = matrix.to_numpy().reshape(-1, 5, 5)
    np.testing.assert_allclose(np.diagonal(values, axis1=1, axis2=2), 1.0, atol=1e-12)
    assert (np.linalg.eigvalsh(values)[:, 0] > 0.0).all()
    assert values[:, 1, 2].std() > 0.01
    assert fit["posterior"]["EC50_pop"].attrs["units"] == "mg/day"
    assert np.isfinite(fit["posterior"]["phi"]).all()
    assert spec_of(fit) == SPEC


def test_everything_after_the_fit_knows_them(fit: xr.DataTree) -> None:
    assert "correlation[KL, KD]" in diagnose(fit).table.index
    options = {"n_trials": 4, "seed": 1, "horizon_day": 200.0, "allow_unconverged": True}
    for population in ("fitted", "redrawn"):
        sims = simulate_trials(fit, ["3 mg/kg Q2W", "20 mg/kg QW-Q2W"], population=population, **options)
        assert np.isfinite(sims["pfs_day"]).all()
    assert np.isfinite(replicate_trial(fit, n_replicates=4, seed=1)["m_protein"]).all()
    assert np.isfinite(eta_shrinkage(fit, n_draws=20)["eta"]).all()
    marginal = marginal_likelihood(fit, n_points=16, n_draws=8)
    assert np.isfinite(marginal["log_likelihood"].sel(part="joint")).all()
