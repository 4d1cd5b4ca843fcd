"""The joint model with isatuximab by K-PD: its own prior and unit, no pharmacokinetics needed, regimens differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytensor
import pytest
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.errors import ModelError, PriorError
from bayes_isa.inference.estimates import parameter_estimates
from bayes_isa.inference.fit import units_of
from bayes_isa.model.build import build_model
from bayes_isa.model.likelihood import log_likelihood
from bayes_isa.model.prior import Prior
from bayes_isa.model.priors import PriorSet, load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.simulation.simulate import simulate_trials
from bayes_isa.simulation.virtual_trial import draw_virtual_trial
from tests.prediction.estimates import fit_at_estimate

SPEC = ModelSpec(covariates={}, exposure="kpd")


@pytest.fixture(scope="module")
def trial() -> Trial:
    """Without anything that pharmacokinetics need but the weights that doses do."""
    drawn = draw_virtual_trial(20, seed=5, effects={}).trial
    return replace(drawn, patients=drawn.patients[["arm", "weight_kg", "age_years"]])


@pytest.fixture(scope="module")
def fit(trial: Trial) -> xr.DataTree:
    return fit_at_estimate(trial, load_priors("weakly_informative"), SPEC)


def test_the_model_has_its_own_prior_and_unit(trial: Trial) -> None:
    model = build_model(trial, "weakly_informative", SPEC)
    with pytensor.config.change_flags(mode="FAST_COMPILE"):  # once only
        assert all(np.isfinite(value) for value in model.point_logps().values())
    assert units_of(model)["EC50_pop"] == "mg/day"
    priors = load_priors("weakly_informative")
    assert priors.typical("EC50", "kpd").unit == "mg/day"
    assert priors.typical("EC50", "pk") == priors.parameters["EC50_pop"]
    assert priors.typical("KL", "kpd") == priors.parameters["KL_pop"]


def test_the_estimate_is_where_dose_rates_are(fit: xr.DataTree) -> None:
    """170 mg/L times 0.23 L/day is 39 mg/day: within a factor 4, as 20 patients say little."""
    edk50 = float(fit["posterior"]["EC50_pop"][0, 0])
    assert 10.0 < edk50 < 160.0


def test_regimens_differ_by_their_doses(trial: Trial, fit: xr.DataTree) -> None:
    regimens = ["3 mg/kg Q2W", "20 mg/kg QW-Q2W"]
    given = {"n_trials": 8, "seed": 1, "horizon_day": 200.0, "trial": trial, "spec": SPEC}
    sims = simulate_trials(fit, regimens, **given)
    week_8 = sims["m_protein"].sel(visit=2)
    change = np.log(week_8.sel(regimen=regimens[1]) / week_8.sel(regimen=regimens[0]))
    assert (change <= 0.0).all()
    assert float(change.mean()) < -0.05
    new = simulate_trials(fit, regimens, population="virtual", n_patients=10, **given)
    assert np.isfinite(new["pfs_day"]).all()


def test_half_lives_matter_and_are_kept(trial: Trial, fit: xr.DataTree) -> None:
    one = fit["posterior"].to_dataset().isel(chain=[0], draw=[0])
    shorter = replace(SPEC, kpd_half_life_day=14.0)
    totals = [float(log_likelihood(trial, one, spec)["patient_total"].sum()) for spec in (SPEC, shorter)]
    assert np.isfinite(totals).all()
    assert abs(totals[0] - totals[1]) > 0.1
    assert ModelSpec(**shorter.to_dict()) == shorter


def test_nothing_published_compares(fit: xr.DataTree) -> None:
    table = parameter_estimates(fit, spec=SPEC, priors=load_priors("weakly_informative"))
    one = table.sel(parameter="EC50_pop")
    assert one["unit"].item() == "mg/day"
    assert "EDK50" in one["meaning"].item()
    assert np.isnan(one["published"])


def test_a_prior_set_may_lack_it_until_it_is_needed(trial: Trial) -> None:
    document = load_priors("weakly_informative").to_dict()
    del document["kpd"]
    without = PriorSet.from_dict(document)
    with pytest.raises(PriorError, match=r"no prior for EC50_pop with K-PD exposure.*\[kpd.EC50_pop\]"):
        build_model(trial, without, SPEC)
    fixed = without.with_kpd("EC50_pop", Prior("LogNormal", {"median": 40.0, "sigma": 1.0}))
    assert fixed.typical("EC50", "kpd").unit == "mg/day"
    with pytest.raises(PriorError, match="must be positive"):
        without.with_kpd("EC50_pop", Prior("Normal", {"mu": 40.0, "sigma": 1.0}))


def test_impossible_choices_are_refused(trial: Trial) -> None:
    with pytest.raises(ModelError, match='only exposure="kpd" has one'):
        ModelSpec(kpd_half_life_day=10.0)
    with pytest.raises(ModelError, match="expected a positive number"):
        ModelSpec(exposure="kpd", kpd_half_life_day=-1.0)
    no_isatuximab = replace(trial, doses=trial.doses[trial.doses["drug"] == "dexamethasone"])
    with pytest.raises(ModelError, match="exposure='kpd' needs isatuximab doses"):
        build_model(no_isatuximab, "weakly_informative", SPEC)
