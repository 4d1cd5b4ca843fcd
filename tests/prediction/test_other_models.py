"""The checks work for any specification: constant exposure, no dexamethasone, no arms, other links and hazards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.eta_shrinkage import eta_shrinkage
from bayes_isa.prediction.individual_fits import individual_fits
from bayes_isa.prediction.km_vpc import km_vpc
from bayes_isa.prediction.quantile_residuals import quantile_residuals
from bayes_isa.prediction.replicates import replicate_trial
from bayes_isa.prediction.vpc import vpc


def test_constant_exposure_without_dexamethasone(virtual, at_truth: xr.DataTree) -> None:
    doses = virtual.trial.doses
    trial = replace(
        virtual.trial,
        doses=doses[doses["drug"] != "dexamethasone"].reset_index(drop=True),
        patients=virtual.trial.patients.drop(columns=["arm", "study"]),
    )
    spec = ModelSpec(covariates={}, exposure="constant", link="log_value", hazard="weibull")
    truth = at_truth["posterior"].to_dataset().sel(parameter=["M0", "KL", "KD", "R"])
    effects = [str(name) for name in truth if str(name).startswith("beta_")]
    posterior = truth.drop_vars([*effects, "k", "EC50_pop", "omega_EC50"]).assign(beta_link=truth["k"] * 0.0)
    given = {"fit": xr.DataTree.from_dict({"posterior": posterior}), "trial": trial, "spec": spec}
    sets = replicate_trial(n_replicates=20, seed=1, **given)
    assert np.isfinite(sets["m_protein"]).all()
    assert "arm" not in sets.coords
    assert vpc(sets)["p_value"].notnull().all()
    assert km_vpc(sets)["p_value"].notnull().all()
    assert np.isfinite(quantile_residuals(seed=1, **given)["pfs"]).all()
    assert list(eta_shrinkage(**given)["parameter"].to_numpy()) == ["M0", "KL", "KD", "R"]
    assert np.isfinite(individual_fits(**given)["median"]).all()
