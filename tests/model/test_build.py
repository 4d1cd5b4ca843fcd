"""The PyMC model: plain, complete for every specification, and the same posterior in all coordinates."""

from __future__ import annotations

import dataclasses

import numpy as np
import pymc as pm
import pytest

from bayes_isa.data import Trial
from bayes_isa.errors import BayesIsaWarning, ModelError
from bayes_isa.model.build import build_model, record_of
from bayes_isa.model.spec import ModelSpec
from bayes_isa.simulation.virtual_trial import draw_virtual_trial
from tests.model.natural import constant, density

COVARIATES = {"M0": ("non_igg",), "KD": ("log_baseline_m",), "hazard": ("dexamethasone",)}


@pytest.fixture(scope="module")
def trial() -> Trial:
    return draw_virtual_trial(16, seed=5).trial


def spec_with(**choices: object) -> ModelSpec:
    return ModelSpec(covariates=COVARIATES, **choices)


@pytest.fixture(scope="module")
def model(trial: Trial) -> pm.Model:
    return build_model(trial, "weakly_informative", spec_with())


def test_it_is_a_plain_model_with_two_observed_variables(model: pm.Model, trial: Trial) -> None:
    assert type(model) is pm.Model
    assert {rv.name for rv in model.observed_RVs} == {"m_protein", "pfs"}
    assert model.named_vars_to_dims["m_protein"] == ("measurement",)
    assert model.named_vars_to_dims["pfs"] == ("patient",)
    assert model.named_vars_to_dims["phi"] == ("patient", "parameter")
    assert list(model.coords["patient"]) == list(trial.patients.index)
    assert list(model.coords["parameter"]) == ["M0", "KL", "KD", "R", "EC50"]


def test_the_gradient_is_that_of_thedensity(model: pm.Model) -> None:
    point = model.initial_point()
    raveled = pm.blocking.DictToArrayBijection.map(point)
    logp, dlogp = model.compile_logp(), model.compile_dlogp()
    gradient = dlogp(point)
    rng = np.random.default_rng(3)
    for _ in range(3):
        direction = rng.normal(size=gradient.size)

        def along(t: float, direction: np.ndarray = direction) -> float:
            moved = pm.blocking.RaveledVars(raveled.data + t * direction, raveled.point_map_info)
            return float(logp(pm.blocking.DictToArrayBijection.rmap(moved)))

        numeric = (along(1e-5) - along(-1e-5)) / 2e-5
        assert gradient @ direction == pytest.approx(numeric, rel=1e-4, abs=1e-3)


def test_all_coordinates_have_the_same_posterior(trial: Trial) -> None:
    """Exact, point by point: the density on the natural scale is that of the centred model (but for eta's volume)."""
    models = {
        c: build_model(trial, "weakly_informative", spec_with(coordinates=c))
        for c in ("centered", "response")
    }
    models["noncentered"] = build_model(trial, "weakly_informative", spec_with(coordinates="noncentered"))
    rng = np.random.default_rng(11)
    drawn = pm.draw([rv for rv in models["centered"].free_RVs if rv.name != "phi"], random_seed=4)
    names = [rv.name for rv in models["centered"].free_RVs if rv.name != "phi"]
    natural = dict(zip(names, (np.asarray(x) for x in drawn), strict=True))
    start = models["centered"].rvs_to_initial_values[models["centered"]["phi"]]
    natural["phi"] = np.asarray(start) + 0.1 * rng.normal(size=np.shape(start))
    expected = density(models["centered"], natural)
    assert np.isfinite(expected)
    assert density(models["response"], natural) == pytest.approx(expected, rel=1e-9)
    # phi = mean + omega eta: densities of eta and phi differ by the product of the omegas for each patient.
    omega = np.array([natural[f"omega_{p}"] for p in ModelSpec().individual])
    mean = _mean(models["centered"], natural)
    without_phi = {n: v for n, v in natural.items() if n != "phi"}
    eta = {**without_phi, "eta": (natural["phi"] - mean) / omega}
    volume = trial.n_patients * np.sum(np.log(omega))
    assert density(models["noncentered"], eta) == pytest.approx(expected + volume, rel=1e-9)


def _mean(model: pm.Model, natural: dict[str, np.ndarray]) -> np.ndarray:
    mean = model["phi"].owner.inputs[-2]
    return np.asarray(constant(mean, natural).eval())


@pytest.mark.parametrize(
    "choices",
    [
        {"link": "none"},
        {"link": "value", "hazard": "weibull"},
        {"link": "log_value", "hazard": "exponential"},
        {"link": "slope", "effect": "linear"},
        {"exposure": "constant"},
    ],
    ids=lambda c: "-".join(map(str, c.values())),
)
def test_every_specification_starts_at_a_finitedensity(trial: Trial, choices: dict[str, str]) -> None:
    model = build_model(trial, "weakly_informative", spec_with(**choices))
    terms = model.point_logps()
    assert all(np.isfinite(value) for value in terms.values()), terms
    assert ("EC50_pop" in terms) == (choices.get("exposure") != "constant")
    assert ("beta_link" in terms) == (choices.get("link") != "none")
    assert ("s" in terms) == (choices.get("hazard") != "exponential")


def test_predictive_draws_are_native(model: pm.Model, trial: Trial) -> None:
    with model:
        drawn = pm.sample_prior_predictive(3, random_seed=1)
    predictive = drawn["prior_predictive"]
    assert predictive["m_protein"].dims == ("chain", "draw", "measurement")
    lloq = trial.mprotein["lloq_g_per_l"].to_numpy()
    assert bool((predictive["m_protein"].to_numpy() >= lloq).all())
    assert predictive["pfs"].dims == ("chain", "draw", "patient")
    assert bool((predictive["pfs"].to_numpy() > 0).all())


def test_covariates_that_the_data_lack(trial: Trial) -> None:
    patients = trial.patients.drop(columns="plasmacytoma")
    without = dataclasses.replace(trial, patients=patients)
    with pytest.raises(ModelError, match="plasmacytoma"):
        build_model(without, "weakly_informative", ModelSpec(covariates={"hazard": ("plasmacytoma",)}))
    with pytest.warns(BayesIsaWarning, match="plasmacytoma"):
        build_model(without, "weakly_informative", ModelSpec())


def test_the_record_says_what_a_model_is_made_of(model: pm.Model, trial: Trial) -> None:
    record = record_of(model)
    assert record is not None
    assert record.data.trial is trial
    assert record.priors.name == "weakly_informative"
    assert record_of(pm.Model()) is None


def test_wrong_choices_are_all_named() -> None:
    with pytest.raises(ModelError) as caught:
        ModelSpec(link="slopes", hazard="weibul", exposure="pk", tolerance=-1.0)
    message = str(caught.value)
    assert "did you mean 'slope'" in message
    assert "did you mean 'weibull'" in message
    assert "tolerance" in message
