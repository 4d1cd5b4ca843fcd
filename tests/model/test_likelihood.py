"""`log_likelihood`: shapes, labels, sums, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from kernels.trials import awkward_trial
from scipy.stats import norm

from bayes_isa.data.trial import Trial
from bayes_isa.errors import ModelError
from bayes_isa.model.joint_data import prepare
from bayes_isa.model.likelihood import evaluate_log_likelihood, log_likelihood
from bayes_isa.model.spec import ModelSpec

SPEC = ModelSpec(covariates={"hazard": ("plasmacytoma",)}, tolerance=1e-2)
INDIVIDUAL = ["M0", "KL", "KD", "R", "EC50"]


@pytest.fixture(scope="module")
def trial() -> Trial:
    return awkward_trial(16)


@pytest.fixture(scope="module")
def data(trial):
    return prepare(trial, SPEC)


def one_set(trial: Trial, n_parameters: int = 5) -> dict:
    phi = np.log([27.0, 0.00531, 0.0396, 0.0192, 170.0])[:n_parameters]
    return {
        "phi": np.tile(phi, (trial.n_patients, 1))
        + 0.1 * np.arange(trial.n_patients)[:, None] / trial.n_patients,
        "Te": 272.0,
        "s": 1.56,
        "beta_link": 6.65,
        "k": 5.47,
        "sigma_add": 0.477,
        "sigma_prop": 0.0721,
        "beta_hazard": np.array([0.8]),
    }


def posterior(trial: Trial, chains: int = 2, draws: int = 3) -> xr.Dataset:
    """Draws that differ, in the form of a fit's posterior."""
    rng = np.random.default_rng(1)
    dims = {"phi": ("patient", "parameter"), "beta_hazard": ("covariate_hazard",)}
    variables = {}
    for name, value in one_set(trial).items():
        value = np.asarray(value)
        jitter = 1.0 + 0.02 * rng.standard_normal((chains, draws, *value.shape))
        variables[name] = (("chain", "draw", *dims.get(name, ())), value * jitter)
    return xr.Dataset(variables, coords={"chain": range(chains), "draw": 10 * np.arange(draws)})


def test_labels_and_sums(trial, data):
    terms = evaluate_log_likelihood(data, posterior(trial))
    assert terms["m_protein"].dims == ("chain", "draw", "measurement")
    assert terms["m_protein"].shape == (2, 3, trial.n_measurements)
    assert terms["pfs"].dims == terms["patient_total"].dims == ("chain", "draw", "patient")
    assert terms["draw"].to_numpy().tolist() == [0, 10, 20]
    assert terms["patient"].to_numpy().tolist() == list(trial.patients.index)
    assert terms["measurement_patient"].to_numpy().tolist() == list(trial.mprotein["id"])
    assert np.isfinite(terms["m_protein"]).all()
    by_patient = terms["m_protein"].groupby("measurement_patient").sum().rename(measurement_patient="patient")
    total = by_patient.sel(patient=terms["patient"]) + terms["pfs"]
    np.testing.assert_allclose(
        total.transpose(*terms["patient_total"].dims), terms["patient_total"], rtol=1e-12
    )


def test_sample_dims_are_kept_and_each_draw_stands_alone(trial, data):
    draws = posterior(trial)
    terms = evaluate_log_likelihood(data, draws)
    alone = evaluate_log_likelihood(data, draws.isel(chain=[1], draw=[2]))
    xr.testing.assert_allclose(terms.isel(chain=[1], draw=[2]), alone)
    flat = draws.stack(sample=("chain", "draw"), create_index=False).drop_vars(["chain", "draw"])
    stacked = evaluate_log_likelihood(data, flat)
    assert set(stacked["pfs"].dims) == {"sample", "patient"}
    np.testing.assert_allclose(stacked["pfs"].to_numpy(), terms["pfs"].to_numpy().reshape(6, -1), rtol=1e-13)


def test_baseline_terms_are_normal_densities(trial, data):
    """At day 0 M is M0, whatever else the parameters say."""
    parameters = posterior(trial, 1, 1)
    terms = evaluate_log_likelihood(data, parameters).squeeze()
    first = ~trial.mprotein.duplicated("id").to_numpy()
    m0 = np.exp(parameters["phi"].squeeze()[:, 0].to_numpy())
    sd = np.hypot(float(parameters["sigma_add"].squeeze()), float(parameters["sigma_prop"].squeeze()) * m0)
    expected = norm.logpdf(trial.mprotein["value_g_per_l"].to_numpy()[first], m0, sd)
    np.testing.assert_allclose(terms["m_protein"].to_numpy()[first], expected, rtol=1e-10)


def test_a_censored_patient_has_no_hazard_term(trial, data):
    """log S = -H is negative; the term of an event adds the log hazard."""
    pfs = evaluate_log_likelihood(data, posterior(trial))["pfs"].to_numpy()
    censored = ~trial.pfs["event"].to_numpy(dtype=bool)
    assert censored.any()
    assert np.all(pfs[..., censored] <= 0.0)


def test_covariate_of_the_hazard(trial, data):
    draws = posterior(trial, 1, 1)
    raised = draws.assign(beta_hazard=draws["beta_hazard"] + np.log(2.0))
    before, after = (evaluate_log_likelihood(data, d)["pfs"].to_numpy().ravel() for d in (draws, raised))
    has = data.covariates["hazard"].to_numpy().ravel() == 1.0
    np.testing.assert_allclose(after[~has], before[~has], rtol=1e-13)
    censored = has & ~data.event
    np.testing.assert_allclose(after[censored], 2.0 * before[censored], rtol=1e-12)


@pytest.mark.parametrize(
    "name", ["phi", "Te", "s", "k", "beta_link", "sigma_add", "sigma_prop", "beta_hazard"]
)
def test_a_missing_parameter_is_named(trial, data, name):
    with pytest.raises(ModelError, match=f"missing: {name}"):
        evaluate_log_likelihood(data, posterior(trial).drop_vars(name))


def test_misshapen_parameters_are_refused(trial, data):
    wrong = one_set(trial) | {"phi": np.zeros((trial.n_patients, 4))}
    with pytest.raises(ModelError, match=r"phi: expected shape \(16, 5\)"):
        evaluate_log_likelihood(data, wrong)


# `evaluate_log_likelihood` stacks an empty list of sample dims, which gives no dim in current xarray (KeyError "_set").
def test_one_set_as_a_mapping(trial):
    parameters = one_set(trial)
    terms = log_likelihood(trial, parameters, SPEC)
    assert terms["m_protein"].dims == ("measurement",)
    assert terms["pfs"].dims == ("patient",)
    expanded = {name: np.asarray(value)[None] for name, value in parameters.items()}
    dims = {"phi": ("sample", "patient", "parameter"), "beta_hazard": ("sample", "covariate_hazard")}
    dataset = xr.Dataset({name: (dims.get(name, ("sample",)), value) for name, value in expanded.items()})
    xr.testing.assert_allclose(terms, log_likelihood(trial, dataset, SPEC).isel(sample=0))


def test_constant_exposure_has_four_individual_parameters_and_no_ec50(trial):
    spec = ModelSpec(exposure="constant", covariates={}, tolerance=1e-2)
    data = prepare(trial, spec)
    names = ["phi", "Te", "s", "beta_link", "k", "sigma_add", "sigma_prop"]
    draws = posterior(trial, 1, 2)[names].isel(parameter=slice(4))
    terms = evaluate_log_likelihood(data, draws)
    assert np.isfinite(terms["patient_total"]).all()


@pytest.mark.parametrize(
    ("spec", "unneeded"),
    [
        (ModelSpec(link="none", covariates={}), "beta_link"),
        (ModelSpec(hazard="exponential", covariates={}), "s"),
    ],
    ids=["no link", "exponential"],
)
def test_parameters_a_model_lacks_are_not_asked_for(trial, spec, unneeded):
    draws = posterior(trial, 1, 1).drop_vars([unneeded, "beta_hazard"])
    assert np.isfinite(log_likelihood(trial, draws, spec)["patient_total"]).all()


def test_panels_are_accurate_at_the_parameters_asked_for() -> None:
    """A corner of the prior that panels made for its bulk miss by 1.4e-3: hours-sharp hazards after the last dose."""
    trial = awkward_trial(201).subset(["040"])
    parameters = {
        "phi": np.log([[39.1, 0.0228, 0.0112, 0.00135, 333.0]]),
        **{"k": 1.64, "beta_link": -3.66, "Te": 190.0, "s": 1.13, "sigma_add": 0.215, "sigma_prop": 0.11},
    }
    usual, exact = (
        log_likelihood(trial, parameters, ModelSpec(covariates={}, tolerance=tolerance))["patient_total"]
        for tolerance in (1e-3, 1e-7)
    )
    assert abs(float(usual[0] - exact[0])) < 1e-3
