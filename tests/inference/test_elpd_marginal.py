"""Marginal likelihoods of single patients against brute force in textbook coordinates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.optimize import minimize
from scipy.special import logsumexp

from bayes_isa.errors import ModelError
from bayes_isa.inference.marginal import evaluate_marginal, marginal_likelihood, patient_terms
from bayes_isa.inference.population import population_means
from bayes_isa.inference.proposal import PopulationAt, adapted_proposal, draw_points
from bayes_isa.kernels.residual import Residual
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.patient_terms import kernel_parameters
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.model.warm_start import WarmStart, warm_start
from bayes_isa.simulation.parameters import fit_at_truth
from bayes_isa.simulation.virtual_trial import VirtualTrial, draw_virtual_trial

N_BRUTE = 20_000
EFFECTS = {"KD": {"log_baseline_m": -0.56}}
SPEC = ModelSpec(covariates={"KD": ("log_baseline_m",)})


@pytest.fixture(scope="module")
def virtual() -> VirtualTrial:
    return draw_virtual_trial(10, seed=4, effects=EFFECTS)


@pytest.fixture(scope="module")
def options(virtual: VirtualTrial) -> dict[str, object]:
    return {"trial": virtual.trial, "spec": SPEC, "priors": load_priors("weakly_informative")}


@pytest.fixture(scope="module")
def started(options) -> tuple[JointData, WarmStart, PopulationAt]:
    data = prepare(options["trial"], options["spec"])
    start = warm_start(data, options["priors"])
    return data, start, PopulationAt(start.population.mean, start.population.omega, start.population.k)


@pytest.fixture(scope="module")
def marginal(virtual: VirtualTrial, options) -> xr.Dataset:
    """At the truth, 32 draws of the same parameters: what differs between them is the noise of the integration."""
    one = fit_at_truth(virtual.truth)["posterior"].to_dataset()
    same = one.isel(chain=[0, 0], draw=[0] * 16).assign_coords(chain=[0, 1], draw=range(16))
    return marginal_likelihood(xr.DataTree.from_dict({"posterior": same}), seed=1, **options)


def brute_force(data: JointData, truth: xr.Dataset, patient: str, rng: np.random.Generator) -> np.ndarray:
    """log joint, marker and PFS likelihood, and their standard errors: (2, 3).

    A huge importance sample in textbook coordinates: half from a multivariate t at the mode that SciPy finds in eta,
    half from the population.
    """
    i = data.patient_ids.index(patient)
    flat = truth.stack(sample=("chain", "draw"), create_index=False)
    means, omegas = population_means(data, flat)
    shared = kernel_parameters(data, flat.isel(sample=0))
    own = prepare(data.trial.subset([patient]), replace(data.spec, covariates={}))
    alone = replace(shared, hazard_lp=shared.hazard_lp[[i]])
    sigma = Residual(float(flat["sigma_add"][0]), float(flat["sigma_prop"][0]))

    def log_likelihood(eta: np.ndarray) -> tuple[float, float]:
        marker, pfs = patient_terms(own, alone, means[0, [i]] + omegas[0] * eta, sigma)
        return float(marker[0]), float(pfs[0])

    def minus_log_density(eta: np.ndarray) -> float:
        return 0.5 * float(eta @ eta) - min(1e300, max(-1e300, sum(log_likelihood(eta))))

    found = minimize(
        minus_log_density, np.zeros(5), method="Nelder-Mead", options={"maxiter": 4000, "adaptive": True}
    )
    found = minimize(minus_log_density, found.x, method="BFGS")
    local = stats.multivariate_t(found.x, 1.5 * np.asarray(found.hess_inv), df=4)
    population = stats.multivariate_normal(np.zeros(5))
    eta = np.concatenate([local.rvs(N_BRUTE // 2, rng), population.rvs(N_BRUTE // 2, rng)])
    log_q = np.logaddexp(local.logpdf(eta), population.logpdf(eta)) - np.log(2.0)
    marker, pfs = np.array([log_likelihood(one) for one in eta]).T
    terms = np.stack([marker + pfs, marker, pfs], axis=1) + (population.logpdf(eta) - log_q)[:, None]
    log_mean = logsumexp(terms, axis=0) - np.log(N_BRUTE)
    ess = np.exp(2 * logsumexp(terms, axis=0) - logsumexp(2 * terms, axis=0))
    return np.stack([log_mean, ess**-0.5])


def test_agrees_with_brute_force_in_textbook_coordinates(virtual: VirtualTrial, marginal: xr.Dataset) -> None:
    data = prepare(virtual.trial, SPEC)
    truth = fit_at_truth(virtual.truth)["posterior"].to_dataset()
    # Patients of this trial whose brute force is precise; an event and a censored time are among them.
    chosen = ["002", "003", "005"]
    assert virtual.trial.pfs.loc[chosen, "event"].nunique() == 2
    rng = np.random.default_rng(3)
    estimates = marginal["log_likelihood"].stack(sample=("chain", "draw"))
    for patient in chosen:
        expected, error = brute_force(data, truth, patient, rng)
        assert error[0] < 0.07
        own = estimates.sel(patient=patient)
        found = logsumexp(own, axis=1) - np.log(own.sizes["sample"])
        spread = own.std("sample").to_numpy() / np.sqrt(own.sizes["sample"])
        assert (np.abs(found - expected) < 4.0 * np.hypot(error, spread) + 2e-3).all(), (
            found,
            expected,
            error,
        )


def test_without_a_link_pfs_is_independent_of_the_marker() -> None:
    """Constant exposure, four individual parameters: log p(T) depends on none of them and is known exactly."""
    virtual = draw_virtual_trial(10, seed=4, effects=EFFECTS)
    spec = ModelSpec(covariates={}, exposure="constant", link="none", hazard="exponential")
    truth = fit_at_truth(virtual.truth)["posterior"].to_dataset().sel(parameter=["M0", "KL", "KD", "R"])
    fit = xr.DataTree.from_dict({"posterior": truth.drop_vars(["k", "s"])})
    no_dexamethasone = virtual.trial.doses["drug"] != "dexamethasone"
    trial = replace(virtual.trial, doses=virtual.trial.doses[no_dexamethasone].reset_index(drop=True))
    result = marginal_likelihood(fit, trial=trial, spec=spec, priors=load_priors("weakly_informative"))
    log_likelihood = result["log_likelihood"].isel(chain=0, draw=0)
    day, te = trial.pfs["day"].to_numpy(), float(truth["Te"].item())
    expected = stats.expon(scale=te).logsf(day) - np.where(trial.pfs["event"], np.log(te), 0.0)
    conditional = log_likelihood.sel(part="joint") - log_likelihood.sel(part="marker")
    np.testing.assert_allclose(conditional, expected, atol=1e-6)
    noise = result["noise_sd"].sel(part="pfs").to_numpy()
    assert (np.abs(log_likelihood.sel(part="pfs") - expected) < 5.0 * np.maximum(noise, 0.05)).all()


def test_the_stated_noise_is_the_noise(marginal: xr.Dataset) -> None:
    """Between draws of the same parameters nothing but noise differs."""
    seen = marginal["log_likelihood"].std(("chain", "draw"), ddof=1)
    stated = marginal["noise_sd"]
    assert float(stated.sel(part="joint").median()) < 0.15
    ratio = (np.log(seen) - np.log(stated)).sel(part="joint")
    # Both have a relative error of about 1 / sqrt(2 * 31) = 0.13 in each of 10 patients.
    assert abs(float(ratio.mean())) < 4 * 0.13 * np.sqrt(2 / 10) + 0.05
    assert marginal.attrs["n_unusable"] == 0


def test_the_density_of_points_is_that_of_the_mixture(started) -> None:
    """The mean of p(phi) / q(phi) is 1, also with a proposal that is off."""
    _, start, at = started
    proposal = adapted_proposal(start.window, start.whitening, start.phi[None], [at])
    moved = replace(proposal, centre=proposal.centre + 0.4, root=1.3 * proposal.root)
    rng = np.random.default_rng(2)
    for one in (proposal, moved):
        means = [np.exp(draw_points(one, at, 512, rng).log_ratio).mean(axis=0) for _ in range(16)]
        error = np.std(means, axis=0, ddof=1) / 4.0
        # 32 comparisons, each with 15 degrees of freedom: 5 errors come up once in two hundred runs.
        assert (np.abs(np.mean(means, axis=0) - 1.0) < 5.0 * error + 1e-3).all()


def test_correlated_random_effects_are_weighed_as_such(started) -> None:
    """The mean of p(phi) / q(phi) is 1, its density is SciPy's, and its own draws have that covariance."""
    _, start, at = started
    matrix = np.eye(5)
    matrix[1, 2] = matrix[2, 1] = 0.7
    correlated = replace(at, cholesky=np.linalg.cholesky(matrix))
    covariance = np.outer(at.omega, at.omega) * matrix
    rng = np.random.default_rng(2)
    phi = correlated.at(rng.standard_normal((2000, *at.mean.shape)))
    expected = [
        stats.multivariate_normal(m, covariance).logpdf(x) for m, x in zip(at.mean, phi[0], strict=True)
    ]
    np.testing.assert_allclose(correlated.log_density(phi)[0], expected, rtol=1e-10)
    np.testing.assert_allclose(np.corrcoef((phi - at.mean).reshape(-1, 5).T), matrix, atol=0.05)
    np.testing.assert_allclose(np.linalg.inv(correlated.spread), covariance, rtol=1e-8, atol=1e-12)
    proposal = adapted_proposal(start.window, start.whitening, start.phi[None], [correlated])
    means = [np.exp(draw_points(proposal, correlated, 512, rng).log_ratio).mean(axis=0) for _ in range(16)]
    error = np.std(means, axis=0, ddof=1) / 4.0
    assert (np.abs(np.mean(means, axis=0) - 1.0) < 5.0 * error + 1e-3).all()


def test_a_proposal_adapts_to_posterior_draws(started) -> None:
    """Draws that are normal in eps with another mean and covariance give these back."""
    _, start, at = started
    plain = adapted_proposal(start.window, start.whitening, start.phi[None], [at])
    rng = np.random.default_rng(5)
    eps = 0.3 + 0.6 * rng.standard_normal((300, *start.phi.shape))
    phi = np.stack([plain.to_phi(one, at)[0] for one in eps])
    adapted = adapted_proposal(start.window, start.whitening, phi, [at] * 300)
    np.testing.assert_allclose(adapted.centre, eps.mean(axis=0), atol=1e-6)
    covariance = adapted.root @ adapted.root.transpose(0, 2, 1)
    np.testing.assert_allclose(covariance[3], np.cov(eps[:, 3].T), atol=1e-5)


def test_the_same_seed_gives_the_same_numbers(virtual: VirtualTrial, started) -> None:
    data, start, at = started
    proposal = adapted_proposal(start.window, start.whitening, start.phi[None], [at])
    draws = (
        fit_at_truth(virtual.truth)["posterior"]
        .to_dataset()
        .stack(sample=("chain", "draw"), create_index=False)
    )
    first, second = (evaluate_marginal(data, proposal, draws, [at], n_points=32, seed=4) for _ in range(2))
    xr.testing.assert_identical(first, second)


def test_impossible_settings_are_refused(virtual: VirtualTrial, options) -> None:
    fit = fit_at_truth(virtual.truth)
    with pytest.raises(ModelError, match="multiple of 16"):
        marginal_likelihood(fit, n_points=100, **options)
    with pytest.raises(ModelError, match="no group 'posterior'"):
        marginal_likelihood(xr.DataTree(), **options)
