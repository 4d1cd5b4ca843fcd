"""Simulated trials: common random numbers, the right distribution, no drug without a drug effect."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from bayes_isa.data.population import draw_population
from bayes_isa.errors import DataError, ModelError, RegimenError
from bayes_isa.kernels.evaluate import evaluate_curves, event_times, log_m_at_measurements
from bayes_isa.kernels.hazard import make_shape
from bayes_isa.model.spec import ModelSpec
from bayes_isa.simulation import plans
from bayes_isa.simulation.engine import panel_ends, simulate_patients
from bayes_isa.simulation.parameters import fit_at_truth, posterior_draws
from bayes_isa.simulation.plans import make_plans, parse_regimens
from bayes_isa.simulation.pool import make_pool
from bayes_isa.simulation.simulate import _reference

ISA, LOW, DEX = "20 mg/kg QW-Q2W", "10 mg/kg QW-Q2W", "20 mg/kg QW-Q2W + dex"


def test_shape_units_and_coordinates(sims, small):
    assert dict(sims.sizes) == {"trial": 6, "regimen": 3, "patient": 24, "visit": 18}
    assert dict(sims["marginal"]["survival"].sizes) == {"trial": 6, "regimen": 3, "day": 73}
    assert list(sims["regimen"].to_numpy()) == [LOW, ISA, DEX]
    assert list(sims["patient"].to_numpy()) == list(small.trial.patients.index)
    assert sims["visit_day"].to_numpy().tolist() == [28.0 * i for i in range(18)]
    assert sims["pfs_day"].attrs["units"] == "day"
    assert sims["m_protein"].attrs["units"] == "g/L"
    day, event = sims["pfs_day"].to_numpy(), sims["event"].to_numpy()
    assert (day[~event] == 500.0).all()
    assert ((day[event] > 0) & (day[event] < 500.0)).all()
    assert event.any()


def test_no_draw_comes_twice_before_all_have_come(sims, run):
    pairs = set(zip(sims["chain"].to_numpy(), sims["draw"].to_numpy(), strict=True))
    assert len(pairs) == 6
    more = run([ISA], n_trials=7)
    assert len(set(zip(more["chain"].to_numpy(), more["draw"].to_numpy(), strict=True))) == 6


def test_same_seed_same_trials_other_seed_others(sims, run):
    xr.testing.assert_identical(run([LOW, ISA, DEX]), sims)
    assert not np.allclose(run([LOW, ISA, DEX], seed=2)["pfs_day"], sims["pfs_day"])


def test_a_regimen_s_result_does_not_depend_on_the_others(sims, run):
    alone = run([DEX])
    xr.testing.assert_equal(alone.isel(regimen=0), sims.sel(regimen=DEX))


@pytest.mark.parametrize("population", ["fitted", "new"])
def test_identical_regimens_are_identical(run, population):
    twice = run({"a": ISA, "b": ISA}, population=population, observed=True, n_trials=3)
    for name in ("pfs_day", "event", "m_protein", "m_protein_observed"):
        np.testing.assert_array_equal(twice[name].sel(regimen="a"), twice[name].sel(regimen="b"))


@pytest.mark.parametrize("population", ["fitted", "new"])
def test_without_a_drug_effect_regimens_are_alike(run, fit, population):
    """KD = 0 and no covariate of dexamethasone in the hazard: growth at KL, whatever is given."""
    idle = fit["posterior"].to_dataset().copy(deep=True)
    idle["phi"].loc[{"parameter": "KD"}] = -50.0
    idle["KD_pop"] = idle["KD_pop"] * 0.0 + np.exp(-50.0)
    result = run(
        [LOW, DEX],
        fit=xr.DataTree.from_dict({"posterior": idle}),
        population=population,
        dexamethasone_hazard="off",
    )
    # The quadrature's panels differ between regimens: equal to its tolerance, not to the last digit.
    np.testing.assert_allclose(
        result["pfs_day"].sel(regimen=LOW), result["pfs_day"].sel(regimen=DEX), rtol=1e-3
    )
    np.testing.assert_allclose(
        result["m_protein"].sel(regimen=LOW), result["m_protein"].sel(regimen=DEX), rtol=1e-5
    )
    if population == "fitted":
        log_m = np.log(result["m_protein"].sel(regimen=LOW).transpose("trial", "patient", "visit"))
        phi = idle["phi"].to_numpy()[result["chain"], result["draw"]]
        growth = phi[:, :, :1] + np.exp(phi[:, :, 1:2]) * result["visit_day"].to_numpy()
        np.testing.assert_allclose(log_m, growth, atol=1e-5)


def test_dexamethasone_in_the_hazard_follows_the_regimen(run):
    on = run([ISA, DEX], n_trials=2)
    off = run([ISA, DEX], n_trials=2, dexamethasone_hazard="off")
    by_name = run([ISA, DEX], n_trials=2, dexamethasone_hazard={DEX: False})
    xr.testing.assert_equal(off, by_name)
    xr.testing.assert_equal(on.sel(regimen=ISA), off.sel(regimen=ISA))
    gain = on["pfs_day"].sel(regimen=DEX) - off["pfs_day"].sel(regimen=DEX)
    assert (gain >= 0).all()  # beta = -0.363, same quantiles
    assert (gain > 0).any()
    xr.testing.assert_equal(on["m_protein"], off["m_protein"])


def _one_plan(small, regimen, horizon):
    fit = fit_at_truth(small.truth)
    draws, spec = posterior_draws(fit), ModelSpec()
    rng = np.random.default_rng(0)
    pool = make_pool("fitted", None, small.trial, spec, draws, rng)
    shape = make_shape("slope", "loglogistic", "emax")
    reference = _reference(pool, draws, rng)
    visits = np.array([0.0, 28.0, 56.0])
    regimens = parse_regimens([regimen])
    days = np.union1d(np.arange(0.0, horizon, 7.0), [horizon])
    (plan,), _ = make_plans(regimens, {regimen: 0.0}, pool.patients, spec, shape, reference, visits, days)
    return plan.panels, shape, draws.at(0), draws.phi[0]


@pytest.mark.parametrize("chosen", [np.arange(24), np.arange(24)[::-1], np.array([3, 3, 17, 0])])
def test_patients_simulated_one_by_one_are_those_of_the_kernel(small, chosen):
    """All, in reverse, and some several times: events, log M and survival as `evaluate_curves` has them for all."""
    panels, shape, parameters, phi = _one_plan(small, DEX, 200.0)
    target = np.random.default_rng(2).exponential(size=24)
    lp = np.linspace(-1.0, 1.0, 24)
    of_all = parameters.of_patients(phi, lp)
    curves = evaluate_curves(panels, shape, of_all)
    log_m = log_m_at_measurements(panels, curves, of_all).reshape(24, -1)[:, :-1]
    at_end = np.exp(-curves.hazard_end[panels.design.panel_offset[1:] - 1])

    visits = np.array([0.0, 28.0, 56.0])
    ends = panel_ends(panels, visits), panel_ends(panels, np.array([0.0, 200.0]))
    of_chosen = parameters.of_patients(phi[chosen], lp[chosen])
    result = simulate_patients(panels, shape, of_chosen, chosen, target[chosen], visits, *ends)
    np.testing.assert_allclose(result.pfs_day, event_times(panels, curves, target)[chosen], rtol=1e-10)
    np.testing.assert_allclose(result.log_m, log_m[chosen], rtol=1e-12)
    np.testing.assert_allclose(result.survival[:, 1], at_end[chosen], rtol=1e-10)
    assert (result.survival[:, 0] == 1.0).all()


def test_pfs_times_have_survival_exp_minus_cumulative_hazard(small, run):
    """The share of 400 trials still free of an event on day 100, by patient, against exp(-H(100)).

    Exact binomial bounds at 1e-3 / 24 for each patient: the test fails for one seed in a thousand.
    """
    fit = fit_at_truth(small.truth)
    result = run([ISA], fit=fit, n_trials=400, horizon_day=100.0)
    survived = (~result["event"]).sum("trial").isel(regimen=0).to_numpy()
    panels, shape, parameters, phi = _one_plan(small, ISA, 100.0)
    lp = 0.799 * small.trial.patients["plasmacytoma"].to_numpy()
    curves = evaluate_curves(panels, shape, parameters.of_patients(phi, lp))
    hazard = curves.hazard_end[panels.design.panel_offset[1:] - 1]
    low, high = stats.binom.interval(1 - 1e-3 / 24, 400, np.exp(-hazard))
    assert ((low <= survived) & (survived <= high)).all()


def test_new_patients_follow_the_population(small, run):
    """log M0 of 6 x 200 new patients: normal around its mean given covariates, KS at level 1e-3."""
    fit = fit_at_truth(small.truth)
    result = run([ISA], fit=fit, population="new", n_patients=200, horizon_day=20.0)
    log_m0 = np.log(result["m_protein"].isel(visit=0, regimen=0).to_numpy())
    patients, truth = small.trial.patients, small.truth
    beta = truth.parameters["beta_M0"]
    mean = (
        np.log(27.0)
        + beta["non_igg"] * (1 - patients["igg"])
        + beta["log_albumin"] * np.log(patients["albumin_g_per_l"] / truth.centers["log_albumin"])
        + beta["log_alp"] * np.log(patients["alp_uln_ratio"] / truth.centers["log_alp"])
        + beta["log_prior_lines"] * np.log(patients["prior_lines"] / truth.centers["log_prior_lines"])
        + beta["japanese_study"] * patients["japanese_study"]
    )
    source = result["source_patient"].to_numpy()
    z = (log_m0 - mean[source.ravel()].to_numpy().reshape(source.shape)) / 0.398
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    assert len(set(source.ravel())) == 24


def test_new_patients_from_a_table(run):
    table = draw_population(30, seed=1)
    result = run([ISA, DEX], population=table, n_patients=10, n_trials=2)
    assert result.sizes["patient"] == 10
    assert set(result["source_patient"].to_numpy().ravel()) <= set(table.index)
    assert run([ISA], population=table, n_trials=1).sizes["patient"] == 30
    with_id = run([ISA, DEX], population=table.reset_index(), n_patients=10, n_trials=2)
    xr.testing.assert_equal(with_id, result)


def test_observed_values_have_the_residual_error(run, small):
    """Standardised residuals of 6 x 24 x 18 values at the truth: KS at level 1e-3."""
    result = run([ISA], fit=fit_at_truth(small.truth), observed=True)
    m = result["m_protein"].astype(float)
    z = (result["m_protein_observed"].astype(float) - m) / np.hypot(0.477, 0.0721 * m)
    assert stats.kstest(z.to_numpy().ravel(), "norm").pvalue > 1e-3


def test_exposure_is_solved_once_for_each_regimen(run, monkeypatch):
    """Whatever the number of trials, and whether a regimen comes alone or as a part of a switch."""
    solved = []
    real = plans.spec_exposure

    def counting(spec, patients, doses, until):
        solved.append(len(patients))
        return real(spec, patients, doses, until)

    monkeypatch.setattr(plans, "spec_exposure", counting)
    late = "20 mg/kg QW-Q2W-Q4W@6mo"
    run([ISA, late, f"{ISA}; in PR at 6mo: {late}"], n_trials=5)
    assert solved == [24, 24]


def test_progress_is_told(run):
    seen = []
    run([ISA], n_trials=3, progress=lambda done, total: seen.append((done, total)))
    assert sorted(seen) == [(1, 3), (2, 3), (3, 3)]


def test_a_fit_carries_its_trial_and_specification(small, fit, sims):
    storage = pytest.importorskip("bayes_isa.inference.storage")
    carried = fit.copy()
    carried["trial"] = xr.DataTree(storage.trial_dataset(small.trial))
    carried.attrs["spec"] = '{"link": "slope"}'
    from bayes_isa.simulation.simulate import simulate_trials

    result = simulate_trials(carried, [LOW, ISA, DEX], n_trials=6, seed=1, horizon_day=500.0)
    xr.testing.assert_equal(result, sims)


def test_constant_exposure_and_a_model_without_links(small, fit, run):
    """Four individual parameters, exponential hazard, no link: PFS is exponential with mean Te at most."""
    plain = fit["posterior"].to_dataset()
    keep = [name for name in plain if name not in ("EC50_pop", "omega_EC50", "s", "beta_link")]
    plain = plain[keep].isel(parameter=slice(0, 4))
    spec = ModelSpec(exposure="constant", link="none", hazard="exponential")
    result = run([LOW, ISA], fit=xr.DataTree.from_dict({"posterior": plain}), spec=spec)
    np.testing.assert_allclose(result["pfs_day"].sel(regimen=LOW), result["pfs_day"].sel(regimen=ISA))


def _without(fit, *names):
    return xr.DataTree.from_dict({"posterior": fit["posterior"].to_dataset().drop_vars(names)})


def test_regimens_that_cannot_be_simulated(run, fit):
    with pytest.raises(RegimenError, match="more than once"):
        run([ISA, ISA])
    with pytest.raises(RegimenError, match="at least one"):
        run([])
    with pytest.raises(RegimenError, match="not a regimen"):
        run(["twenty"])
    with pytest.raises(RegimenError, match="dexamethasone_hazard names nobody"):
        run([ISA], dexamethasone_hazard={"nobody": True})
    with pytest.raises(RegimenError, match="expected 'regimen', 'off'"):
        run([ISA], dexamethasone_hazard="on")
    with pytest.raises(ModelError, match=r"no dexamethasone, so its effect is unknown: leave out .* \+ dex"):
        run([ISA, DEX], fit=_without(fit, "k"))


def test_fits_and_populations_that_cannot_be_simulated(run, fit, small):
    with pytest.raises(ModelError, match="no group 'posterior'"):
        run([ISA], fit=xr.DataTree())
    with pytest.raises(ModelError, match="lacks Te"):
        run([ISA], fit=_without(fit, "Te"))
    with pytest.raises(ModelError, match="did you mean 'fitted'"):
        run([ISA], population="fited")
    with pytest.raises(ModelError, match="for another number use population='new'"):
        run([ISA], n_patients=10)
    with pytest.raises(ModelError, match="n_trials is 0"):
        run([ISA], n_trials=0)
    with pytest.raises(ModelError, match="horizon_day is -1"):
        run([ISA], horizon_day=-1.0)
    reverse = small.trial.subset(small.trial.patients.index[::-1])
    with pytest.raises(DataError, match="in another order"):
        run([ISA], trial=reverse)
    with pytest.raises(DataError, match="no patients"):
        run([ISA], population=pd.DataFrame())


def test_parameters_that_are_no_numbers(run, fit):
    wrong = fit["posterior"].to_dataset().copy(deep=True)
    wrong["phi"][0, 1, 3] = np.nan
    with pytest.raises(ModelError, match=r"of 1 simulated patients is not a number, first of patient 004"):
        run([ISA], fit=xr.DataTree.from_dict({"posterior": wrong}), n_trials=6)


def test_patients_without_weight_or_age_are_listed(run):
    table = draw_population(5, seed=1)
    table.loc["002", "weight_kg"] = np.nan
    with pytest.raises(DataError, match="patient 002: weight_kg is missing"):
        run([ISA], population=table)
    with pytest.raises(DataError, match="no column 'weight_kg'"):
        run([ISA], population=table.drop(columns="weight_kg"))
    ageless = draw_population(5, seed=1).drop(columns="age_years")
    assert run([ISA], population=ageless, n_trials=1).sizes["patient"] == 5
    with pytest.raises(DataError, match="no column 'age_years'"):
        run([DEX], population=ageless)
