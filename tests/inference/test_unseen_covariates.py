"""Left-out patients' missing covariates: integrated out given their other covariates, against quadrature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.special import logsumexp

from bayes_isa.data import Trial
from bayes_isa.errors import ModelError
from bayes_isa.inference.elpd import elpd_from_marginal
from bayes_isa.inference.marginal import evaluate_marginal, marginal_likelihood, populations_at
from bayes_isa.inference.population import population_means
from bayes_isa.inference.proposal import Proposal
from bayes_isa.inference.refits import _alone
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.model.warm_start import warm_start
from bayes_isa.simulation.parameters import fit_at_truth
from bayes_isa.simulation.virtual_trial import VirtualTrial, draw_virtual_trial

EFFECTS = {
    "M0": {"log_albumin": -1.83, "log_alp": -0.3},
    "KD": {"log_baseline_m": -0.56},
    "hazard": {"log_albumin": -2.0},
}
SPEC = ModelSpec(covariates={t: tuple(own) for t, own in EFFECTS.items()}, missing_covariates="impute")
LACKING = {"albumin_g_per_l": ["002", "003", "007", "009"], "alp_uln_ratio": ["003", "005"]}
COVARIATE_MODEL = {
    "covariate_model_log_alp": ("predictor_log_alp", [0.02]),
    "covariate_sd_log_alp": (None, 0.4),
    "covariate_model_log_albumin": ("predictor_log_albumin", [-0.01, 0.2]),
    "covariate_sd_log_albumin": (None, 0.15),
}


@pytest.fixture(scope="module")
def virtual() -> VirtualTrial:
    return draw_virtual_trial(10, seed=4, effects=EFFECTS)


@pytest.fixture(scope="module")
def trial(virtual: VirtualTrial) -> Trial:
    patients = virtual.trial.patients.copy()
    for column, ids in LACKING.items():
        patients.loc[ids, column] = np.nan
    return replace(virtual.trial, patients=patients)


@pytest.fixture(scope="module")
def data(trial: Trial) -> JointData:
    return prepare(trial, SPEC)


@pytest.fixture(scope="module")
def fit(virtual: VirtualTrial, data: JointData) -> xr.DataTree:
    """At the truth, 16 draws that differ in the imputed values alone, which are absurd: nothing may hang on them."""
    one = fit_at_truth(virtual.truth)["posterior"].to_dataset()
    same = one.isel(chain=[0, 0], draw=[0] * 8).assign_coords(chain=[0, 1], draw=range(8))
    rng = np.random.default_rng(5)
    for name in data.imputation.names:
        dim = f"patient_without_{name}"
        same = same.assign_coords({dim: data.imputation.without(name)})
        same[f"imputed_{name}"] = (("chain", "draw", dim), 50.0 * rng.normal(size=(2, 8, same.sizes[dim])))
    for name, (dim, value) in COVARIATE_MODEL.items():
        dims = ("chain", "draw") if dim is None else ("chain", "draw", dim)
        same[name] = (dims, np.tile(value, (2, 8, *[1] * (dim is not None))))
    return xr.DataTree.from_dict({"posterior": same})


def flat(fit: xr.DataTree) -> xr.Dataset:
    return fit["posterior"].to_dataset().stack(sample=("chain", "draw"), create_index=False)


@pytest.fixture(scope="module")
def marginal(fit: xr.DataTree, trial: Trial) -> xr.Dataset:
    return marginal_likelihood(
        fit, n_points=128, seed=1, trial=trial, spec=SPEC, priors=load_priors("weakly_informative")
    )


def test_moments_are_those_of_draws_of_the_missing_values(data: JointData, fit: xr.DataTree) -> None:
    """phi and the hazard's predictor of everybody, 40 000 draws: means and covariances within five standard errors."""
    draws = flat(fit).isel(sample=[0])
    at = populations_at(data, draws)[0]
    imputation, n = data.imputation, 40_000
    found = imputation.model_of(draws.isel(sample=0)).conditional(imputation.given, imputation.values)
    rng = np.random.default_rng(1)
    omega = np.array([float(draws[f"omega_{p}"][0]) for p in data.spec.individual])
    for i in (0, 1, 2, 4):
        z = rng.multivariate_normal(found.mean[i], found.covariance[i], size=n)
        completed = np.repeat(found.mean[None], n, axis=0)
        completed[:, i] = z
        repeated = draws.isel(sample=np.zeros(n, dtype=int))
        phi = population_means(data, repeated, completed=completed)[0][:, i] + omega * rng.normal(size=(n, 5))
        beta = draws["beta_hazard"].to_numpy()[0]
        lp = imputation.fill(data.covariates["hazard"], completed)[:, i] @ beta
        se = phi.std(axis=0) / np.sqrt(n)
        assert (np.abs(phi.mean(axis=0) - at.mean[i]) < 5.0 * se).all()
        expected = at.roots[i] @ at.roots[i].T
        scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        assert (np.abs(np.cov(phi.T) - expected) < 5.0 * np.sqrt(2.0 / n) * scale).all()
        predicted = (
            at.hazard.at(phi - at.mean[i], np.zeros(n))[:, i]
            if False
            else (at.hazard.mean[i] + (phi - at.mean[i]) @ at.hazard.slope[i])
        )
        left = lp - predicted
        assert abs(left.mean()) < 5.0 * lp.std() / np.sqrt(n) + 1e-12
        assert left.std() == pytest.approx(at.hazard.sd[i], rel=0.03, abs=1e-9)
        # What is left is independent of phi.
        if at.hazard.sd[i] > 0.0:
            assert np.abs([np.corrcoef(left, own)[0, 1] for own in phi.T]).max() < 5.0 / np.sqrt(n)


@pytest.mark.slow
def test_agrees_with_quadrature_over_the_missing_value(
    data: JointData, fit: xr.DataTree, marginal: xr.Dataset
) -> None:
    """p(y, T) = int p(y, T | z) p(z | given) dz, by Gauss-Hermite over albumin, each node the model without missing."""
    draws = flat(fit)
    imputation = data.imputation
    found = imputation.model_of(draws.isel(sample=0)).conditional(imputation.given, imputation.values)
    start = warm_start(data, load_priors("weakly_informative"))
    d = 5
    n = data.trial.n_patients
    proposal = Proposal(start.window, start.whitening, np.zeros((n, d)), np.tile(np.eye(d), (n, 1, 1)))
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    albumin = imputation.names.index("log_albumin")
    sd = np.sqrt(found.covariance[:, albumin, albumin])
    terms = []
    for node, weight in zip(nodes, weights / np.sqrt(2.0 * np.pi), strict=True):
        completed = found.mean.copy()
        completed[:, albumin] += sd * node
        covariates = {t: m.copy(data=imputation.fill(m, completed)) for t, m in data.covariates.items()}
        known = replace(data.as_expected, covariates=covariates)
        at_node = evaluate_marginal(
            known, proposal, draws, populations_at(known, draws), n_points=128, seed=2
        )
        own = at_node["log_likelihood"].stack(sample=("chain", "draw"))
        terms.append(
            np.log(weight) + logsumexp(own, axis=own.dims.index("sample")) - np.log(own.sizes["sample"])
        )
    expected = xr.DataArray(
        logsumexp(terms, axis=0),
        {"part": list(marginal["part"].to_numpy()), "patient": data.patient_ids},
        ("part", "patient"),
    )
    estimates = marginal["log_likelihood"].stack(sample=("chain", "draw"))
    # Who lacks albumin alone: two missing values need two dimensions.
    for patient in ("002", "007", "009"):
        for part in ("joint", "marker", "pfs"):
            own = estimates.sel(patient=patient, part=part)
            size = own.sizes["sample"]
            value = float(logsumexp(own)) - np.log(size)
            error = float(own.std()) / np.sqrt(size)
            # Both sides are of like precision; five errors of their difference, from 16 draws: 0.2 % over all.
            assert abs(value - float(expected.sel(patient=patient, part=part))) < 5.0 * np.sqrt(2.0) * error + 2e-3, (
                patient, part, value, float(expected.sel(patient=patient, part=part)), error,
            )  # fmt: skip


def test_leaving_a_patient_out_takes_the_covariates_along(data: JointData, marginal: xr.Dataset) -> None:
    """Of the values given of incomplete covariates; zero for who has none of them."""
    own = marginal["covariate_log_likelihood"].isel(chain=0, draw=0)
    assert float(own.sel(patient="003")) == 0.0
    z = data.imputation.given[data.patient_ids.index("002"), data.imputation.names.index("log_alp")]
    assert float(own.sel(patient="002")) == pytest.approx(stats.norm(0.02, 0.4).logpdf(z), rel=1e-10)
    many = marginal.isel(draw=np.zeros(60, dtype=int)).assign_coords(draw=range(60))
    rng = np.random.default_rng(3)
    noise = xr.DataArray(
        rng.normal(size=(2, 2, 60, data.trial.n_patients)), dims=("which", "chain", "draw", "patient")
    )
    of_outcomes, of_covariates = 0.5 * noise[0], 0.5 * noise[1]
    names = ("log_likelihood", "half_log_likelihood")
    noisy = many.assign({name: many[name] + of_outcomes for name in names})
    apart = elpd_from_marginal(noisy.assign(covariate_log_likelihood=of_covariates))
    together = noisy.drop_vars("covariate_log_likelihood").assign(
        {n: noisy[n] + of_covariates for n in names}
    )
    for name in ("pareto_k", "ess"):  # what weighs the draws
        xr.testing.assert_allclose(apart[name], elpd_from_marginal(together)[name])


def test_a_patient_alone_is_predicted_by_the_others_model(
    trial: Trial, data: JointData, fit: xr.DataTree
) -> None:
    others = trial.subset([i for i in trial.patients.index if i != "002"])
    alone = _alone(data, others, "002", SPEC)
    assert alone.imputation.names == ("log_alp", "log_albumin")
    assert np.isnan(alone.imputation.given).tolist() == [[False, True]]
    draws = flat(fit).isel(patient=[0]).assign_coords(patient=["002"])
    own = populations_at(alone, draws)[0]
    center = {name: value for m in alone.covariates.values() for name, value in m.attrs["centers"].items()}
    alp = np.log(float(trial.patients.loc["002", "alp_uln_ratio"]) / center["log_alp"])
    albumin = -0.01 + 0.2 * alp
    assert float(own.hazard.mean[0]) == pytest.approx(-2.0 * albumin, rel=1e-9)
    m0 = np.log(float(draws["M0_pop"][0])) - 1.83 * albumin - 0.3 * alp
    assert own.mean[0, 0] == pytest.approx(m0, rel=1e-9)
    assert own.roots[0][0, 0] ** 2 == pytest.approx(
        float(draws["omega_M0"][0]) ** 2 + (1.83 * 0.15) ** 2, rel=1e-9
    )


def test_who_alone_lacks_a_covariate_cannot_be_left_out(virtual: VirtualTrial) -> None:
    patients = virtual.trial.patients.copy()
    patients.loc["002", "albumin_g_per_l"] = np.nan
    trial = replace(virtual.trial, patients=patients)
    others = trial.subset([i for i in patients.index if i != "002"])
    with pytest.raises(ModelError, match="patient 002 alone has no log_albumin"):
        _alone(prepare(trial, SPEC), others, "002", SPEC)
