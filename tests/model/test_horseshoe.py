"""The regularised horseshoe: its formulas by hand, its prior by Monte Carlo, and the model built with it."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
from scipy import integrate, stats

import bayes_isa as bi
from bayes_isa.data import Trial
from bayes_isa.errors import BayesIsaWarning, ModelError, PriorError
from bayes_isa.model.build import build_model
from bayes_isa.model.horseshoe import Horseshoe, regularised, scales_of, shrinkage_factor
from bayes_isa.model.horseshoe_effects import information, spreads, with_normal_effects
from bayes_isa.model.joint_data import prepare
from bayes_isa.model.priors import PriorSet, load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.simulation.virtual_trial import draw_virtual_trial

N = 30
COVARIATES = {
    "M0": (
        "log_albumin",
        "non_igg",
        "log_age_years",
        "female",
        "log_ldh_uln_ratio",
        "log_weight_kg",
        "log_egfr_ml_per_min",
        "log_b2m_mg_per_l",
    ),
    "hazard": ("plasmacytoma", "log_b2m_mg_per_l", "log_age_years"),
}
SPEC = ModelSpec(covariates=COVARIATES, covariate_prior="horseshoe")


@pytest.fixture(scope="module")
def trial() -> Trial:
    return draw_virtual_trial(N, seed=5).trial


@pytest.fixture(scope="module")
def model(trial: Trial) -> pm.Model:
    return build_model(trial, "weakly_informative", SPEC)


def test_shrinkage_by_hand() -> None:
    """n = 100, sigma = 0.5, tau = 0.02 on the paper's scale, s = 1, c = 0.3, lambda = 10."""
    n, sigma, tau, slab, local = 100, 0.5, 0.02, 0.3, 10.0
    square = slab**2 * local**2 / (slab**2 + tau**2 * local**2)  # 69.2
    assert square == pytest.approx(0.09 * 100 / 0.13)
    expected = 1.0 / (1.0 + n * tau**2 * square / sigma**2)  # 1 / (1 + 11.08)
    assert expected == pytest.approx(0.0828, abs=1e-4)
    error = sigma / np.sqrt(n)
    assert shrinkage_factor(tau / error, local, slab / error) == pytest.approx(expected, rel=1e-12)
    assert regularised(local, tau, slab) == pytest.approx(np.sqrt(square))


def test_the_slab_bounds_and_small_scales_are_left_alone() -> None:
    assert 0.1 * regularised(1e9, 0.1, 3.0) == pytest.approx(3.0)
    assert regularised(0.01, 0.1, 3.0) == pytest.approx(0.01, rel=1e-6)


def test_global_scale_is_that_of_the_paper() -> None:
    horseshoe = Horseshoe(2.0, 1.0, 1.0)
    assert horseshoe.global_scale(20) == pytest.approx(2.0 / 18.0)
    assert horseshoe.global_scale(3) == pytest.approx(1.0)  # half of the candidates at most
    # with tau = tau0 and no slab, p0 effects are expected: the mean of 1 - kappa over half-Cauchy lambda
    tau0 = horseshoe.global_scale(20)
    each = integrate.quad(
        lambda lam: (1.0 - shrinkage_factor(tau0, lam, 1e9)) * stats.halfcauchy.pdf(lam), 0.0, np.inf
    )[0]
    assert 20 * each == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize("effect", [0.0, 0.3, -4.0, 40.0])
def test_starting_values_give_the_effect(effect: float) -> None:
    horseshoe, slab = Horseshoe(2.0, 1.0, 1.0), 10.0
    effects = np.array([effect, *np.zeros(9)])
    local, z = scales_of(effects, horseshoe, slab)
    tau = horseshoe.global_scale(10)
    np.testing.assert_allclose(tau * regularised(local, tau, slab) * z, effects, atol=1e-12)
    assert (local > 0.0).all()


def test_prior_draws_have_the_expected_number_of_effects(model: pm.Model, trial: Trial) -> None:
    """Mean of sum(1 - kappa) over prior draws against quadrature, within 3.3 Monte-Carlo errors: one seed in a thousand
    fails by chance."""
    n_draws, candidates = 4000, len(COVARIATES["M0"])
    tau, local = pm.draw([model["tau_M0"], model["lambda_M0"]], draws=n_draws, random_seed=2)
    slab = 1.0 * np.sqrt(N)
    number = (1.0 - shrinkage_factor(tau[:, None], local, slab)).sum(axis=1)
    tau0 = 2.0 / (candidates - 2.0)
    # half-Cauchy quantiles turn both integrals into ones over the unit square
    u = (np.arange(2000) + 0.5) / 2000
    quantile = np.tan(0.5 * np.pi * u)
    expected = candidates * (1.0 - shrinkage_factor(tau0 * quantile[:, None], quantile, slab)).mean()
    error = number.std(ddof=1) / np.sqrt(n_draws)
    assert error < 0.05
    assert abs(number.mean() - expected) < 3.3 * error


def test_effects_are_on_the_models_own_scale(model: pm.Model, trial: Trial) -> None:
    """beta = sigma tau lambda~ z / (sqrt(n) s): sigma is omega and n patients, or 1 and events on the hazard."""
    data = prepare(trial, SPEC, rough=True)
    for target, n in (("M0", N), ("hazard", int(trial.pfs["event"].sum()))):
        names = [f"{name}_{target}" for name in ("beta", "tau", "lambda", "z")]
        sigma = "omega_M0" if target == "M0" else "Te"  # the latter unused
        beta, tau, local, z, omega = pm.draw([model[name] for name in (*names, sigma)], random_seed=3)
        spread = data.covariates[target].to_numpy().std(axis=0)
        np.testing.assert_array_equal(spreads(data.covariates[target]), spread)
        assert information(trial, target) == n
        scale = (omega if target == "M0" else 1.0) / (np.sqrt(n) * spread)
        np.testing.assert_allclose(beta, scale * tau * regularised(local, tau, np.sqrt(n)) * z, rtol=1e-10)


def test_it_starts_at_the_warm_start_and_a_finite_density(model: pm.Model) -> None:
    assert all(np.isfinite(value) for value in model.point_logps().values())
    assert model.named_vars_to_dims["beta_M0"] == ("covariate_M0",)
    assert [d.name for d in model.deterministics] == ["beta_M0", "beta_hazard"]


def test_the_warm_start_has_normal_priors_instead(trial: Trial) -> None:
    priors = load_priors("weakly_informative")
    data = prepare(trial, SPEC, rough=True)
    rough = with_normal_effects(data, priors)
    albumin = rough.covariate_effect("M0", "log_albumin")
    spread = data.covariates["M0"].sel(covariate="log_albumin").to_numpy().std()
    # two of eight come from a slab of omega_M0, whose prior median is 0.5, for one SD
    assert albumin.spread() == pytest.approx(0.5 * np.sqrt(2.0 / 8.0) / spread, rel=0.01)
    normal = prepare(trial, ModelSpec(covariates=COVARIATES), rough=True)
    assert with_normal_effects(normal, priors) is priors


def test_a_small_fit_runs_and_everything_downstream_works(model: pm.Model) -> None:
    fit = bi.fit(model, seed=1, draws=30, tune=60, chains=1, progressbar=False)
    posterior = fit["posterior"]
    assert posterior["beta_M0"].dims == ("chain", "draw", "covariate_M0")
    assert list(posterior["covariate_M0"].to_numpy()) == list(COVARIATES["M0"])
    assert np.isfinite(posterior["beta_hazard"]).all()
    assert ModelSpec().covariate_prior == "normal"
    estimates = bi.parameter_estimates(fit)
    assert "beta_M0" in estimates.attrs["without_prior"]
    assert bi.replicate_trial(fit, n_replicates=2, seed=1)["m_protein"].notnull().any()
    selection = bi.covariate_selection(fit)
    assert selection.sizes == {"effect": 11, "target": 2}
    assert bi.reduced_spec(selection).covariates.keys() == {"M0", "hazard"}


def test_no_events_no_hazard_effects(trial: Trial) -> None:
    quiet = replace(trial, pfs=trial.pfs.assign(event=False))
    with pytest.raises(ModelError, match="needs events"):
        information(quiet, "hazard")


def test_the_prior_set_says_what_is_wrong() -> None:
    priors = load_priors("published_2023")
    assert PriorSet.from_dict(priors.to_dict()) == priors
    changed = priors.with_horseshoe(Horseshoe(4.0, 3.0, 0.5))
    assert changed.of_horseshoe() == Horseshoe(4.0, 3.0, 0.5, "set in code")
    with pytest.raises(PriorError, match="slab of the horseshoe is -1"):
        Horseshoe(2.0, 1.0, -1.0)
    document = priors.to_dict() | {"horseshoe": {"expected_effects": "two", "slabs": 1.0}}
    with pytest.raises(PriorError) as caught:
        PriorSet.from_dict(document)
    for text in (
        "unknown key 'slabs'",
        "Did you mean slab",
        "expected_effects of the horseshoe is 'two'",
        "no source",
    ):
        assert text in str(caught.value)
    without = {key: value for key, value in priors.to_dict().items() if key != "horseshoe"}
    with pytest.raises(PriorError, match="has no horseshoe"):
        PriorSet.from_dict(without).of_horseshoe()


def test_a_prior_that_is_none() -> None:
    with pytest.raises(ModelError, match="did you mean 'horseshoe'"):
        ModelSpec(covariate_prior="horseshoes")


def test_all_candidates_build(trial: Trial) -> None:
    """The whole list on the smallest trial: every target has its candidates, and the density is finite."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesIsaWarning)
        candidates = bi.all_covariates(trial)
    assert sum(map(len, candidates.values())) >= 27
    spec = ModelSpec(covariates=candidates, covariate_prior="horseshoe", coordinates="noncentered")
    built = build_model(trial, "weakly_informative", spec)
    assert all(np.isfinite(value) for value in built.point_logps().values())
