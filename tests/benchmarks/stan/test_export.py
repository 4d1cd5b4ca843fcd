"""The data of the Stan programs hold this package's posterior: their formulas in NumPy give our terms."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from kernels.trials import awkward_trial
from scipy.stats import lognorm, norm

from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.likelihood import evaluate_log_likelihood
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import ModelSpec
from benchmarks.equal_panels import equal_panels
from benchmarks.stan.export import package_name, stan_data, unconstrained
from benchmarks.stan.programs import program

SPEC = ModelSpec(
    covariates={"KL": ("plasmacytoma",), "hazard": ("dexamethasone", "plasmacytoma")}, tolerance=1e-2
)
PRIORS = load_priors("weakly_informative")


@pytest.fixture(scope="module")
def data() -> JointData:
    with equal_panels():
        return prepare(awkward_trial(14, seed=8), SPEC)


@pytest.fixture(scope="module")
def exported(data) -> dict[str, Any]:
    """As Stan reads it."""
    return json.loads(json.dumps(stan_data(data, PRIORS)))


def parameters(n: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    phi = np.log([27.0, 0.00531, 0.0396, 0.0192, 170.0]) + 0.5 * rng.standard_normal((n, 5))
    return {
        "phi": phi,
        "k": 5.0,
        "Te": 250.0,
        "s": 1.4,
        "beta_link": 6.0,
        "sigma_add": 0.5,
        "sigma_prop": 0.1,
        "beta_hazard": np.array([-0.4, 0.8]),
    }


def patient_curve(d: dict[str, Any], i: int, at: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kill rate at nodes, J at panel ends and log M at the nodes up to the event, as in likelihood.stan."""
    panels = slice(d["first_panel"][i] - 1, d["last_panel"][i])
    weight, day, concentration, dexamethasone = (
        np.array(d[name])[:, panels] for name in ("weight", "day", "concentration", "dexamethasone")
    )
    used = d["hazard_panels"][i]
    log_m0, (kl, kd, r, ec50) = at["phi"][i, 0], np.exp(at["phi"][i, 1:])
    kill = np.exp(-r * day) * (concentration / (ec50 + concentration) + at["k"] * dexamethasone)
    weighted = weight * kill
    ends = np.concatenate([[0.0], np.cumsum(weighted.sum(axis=0))])
    integral = np.array(d["share"]) @ weighted[:, :used] + ends[:used]
    return kill, ends, log_m0 + kl * day[:, :used] - kd * integral


def event_term(d: dict[str, Any], i: int, at: dict[str, Any]) -> float:
    kill, ends, log_m = patient_curve(d, i, at)
    used = d["hazard_panels"][i]
    panels = slice(d["first_panel"][i] - 1, d["first_panel"][i] - 1 + used)
    log_m0, (kl, kd, r, ec50) = at["phi"][i, 0], np.exp(at["phi"][i, 1:])
    lp = np.array(d["x_hazard"])[i] @ at["beta_hazard"]
    weight, log_day = (np.array(d[name])[:, panels] for name in ("weight", "log_day"))

    def log_hazard(log_day, kill, log_m):
        slope = (kl - kd * kill) * np.exp(log_m)
        baseline = np.log(at["s"]) - log_day - np.logaddexp(0.0, at["s"] * (np.log(at["Te"]) - log_day))
        return lp + baseline + at["beta_link"] * slope

    cumulative = np.sum(weight * np.exp(log_hazard(log_day, kill[:, :used], log_m)))
    if not d["event"][i]:
        return -cumulative
    day, concentration = d["event_day"][i], d["event_concentration"][i]
    kill_event = np.exp(-r * day) * (
        concentration / (ec50 + concentration) + at["k"] * d["event_dexamethasone"][i]
    )
    return log_hazard(np.log(day), kill_event, log_m0 + kl * day - kd * ends[used]) - cumulative


def measurement_terms(d: dict[str, Any], at: dict[str, Any]) -> np.ndarray:
    log_m = np.empty(d["n_measurements"])
    for i in range(d["n_patients"]):
        ends = patient_curve(d, i, at)[1]
        log_m0, (kl, kd) = at["phi"][i, 0], np.exp(at["phi"][i, 1:3])
        for j in range(d["first_measurement"][i] - 1, d["last_measurement"][i]):
            log_m[j] = log_m0 + kl * d["measurement_day"][j] - kd * ends[d["measurement_panel"][j]]
    m = np.exp(log_m)
    error = norm(m, np.hypot(at["sigma_add"], at["sigma_prop"] * m))
    terms = error.logpdf(d["value"])
    below = np.array(d["below"], dtype=int) - 1
    terms[below] = error.logcdf(d["value"])[below]
    return terms


def test_the_trial_has_every_kind_of_record(data, exported):
    assert exported["n_below"] > 0
    assert sorted(exported["below"] + exported["quantified"]) == list(range(1, data.value.size + 1))
    assert np.any(np.array(exported["last_panel"]) - exported["first_panel"] + 1 > exported["hazard_panels"])
    assert 0 < sum(exported["event"]) < exported["n_patients"]
    assert np.any(exported["dexamethasone"])
    assert exported["n_KL"] == 1


def test_formulas_on_exported_data_give_our_log_likelihood(data, exported):
    at = parameters(exported["n_patients"])
    ours = evaluate_log_likelihood(data, at)
    theirs = np.array([event_term(exported, i, at) for i in range(exported["n_patients"])])
    np.testing.assert_allclose(theirs, ours["pfs"], rtol=1e-10)
    np.testing.assert_allclose(measurement_terms(exported, at), ours["m_protein"], rtol=1e-10)


def test_exported_priors_are_ours(exported):
    x = 0.7
    for name in ("k", "Te", "s", "sigma_add", "sigma_prop"):
        mu, sigma = exported[f"prior_{name}"]
        assert lognorm(sigma, scale=np.exp(mu)).logpdf(x) == pytest.approx(
            PRIORS.parameters[name].scipy().logpdf(x)
        )
    for name, suffix in (("pop", "{}_pop"), ("omega", "omega_{}")):
        mu, sigma = np.array(exported[f"prior_{name}"])
        expected = [
            PRIORS.parameters[suffix.format(p)].scipy().logpdf(x) for p in ("M0", "KL", "KD", "R", "EC50")
        ]
        np.testing.assert_allclose(lognorm(sigma, scale=np.exp(mu)).logpdf(x), expected)
    mu, sigma = exported["prior_beta_link"]
    assert norm(mu, sigma).logpdf(x) == pytest.approx(PRIORS.link("slope").scipy().logpdf(x))
    mu, sigma = np.array(exported["prior_beta_hazard"])
    expected = [
        PRIORS.covariate_effect("hazard", c).scipy().logpdf(x) for c in ("dexamethasone", "plasmacytoma")
    ]
    np.testing.assert_allclose(norm(mu, sigma).logpdf(x), expected)


def test_parameters_are_put_in_the_programs_order():
    point = {
        "KL_pop_log__": np.array(-5.0),
        "beta_KL": np.array([0.3, 0.4]),
        "eta": np.arange(10.0).reshape(2, 5),
    }
    names = ["pop.2", "beta_KL.2", "eta.2.1", "eta.1.5"]
    np.testing.assert_array_equal(unconstrained(names, point), [-5.0, 0.4, 5.0, 4.0])
    assert package_name("omega.5") == ("omega_EC50", ())


def test_what_the_programs_do_not_hold_is_refused(data):
    other = prepare(awkward_trial(14, seed=8), ModelSpec(link="none", covariates={}, tolerance=1e-1))
    with pytest.raises(ValueError, match="default specification"):
        stan_data(other, PRIORS)
    with pytest.raises(ValueError, match="LogNormal"):
        stan_data(
            data, PRIORS.with_(Te=type(PRIORS.parameters["Te"])("Gamma", {"mu": 300.0, "sigma": 100.0}))
        )


@pytest.mark.parametrize("name", ["noncentered", "centered", "reduce_sum", "rk45"])
def test_programs_are_whole(name):
    source = program(name)
    assert "#include" not in source
    for block in ("data {", "parameters {", "model {"):
        assert source.count(f"\n{block}") == 1
