"""Correlated random effects after the fit: tables name each correlation once, new patients have them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from bayes_isa.errors import ModelError
from bayes_isa.inference.correlations import pairs, with_pairs
from bayes_isa.inference.diagnose import diagnose
from bayes_isa.inference.estimates import parameter_estimates
from bayes_isa.inference.marginal import populations_at
from bayes_isa.inference.population import correlation_factors
from bayes_isa.model.joint_data import prepare
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.prior_sensitivity import prior_sensitivity
from bayes_isa.simulation.parameters import fit_at_truth, posterior_draws
from bayes_isa.simulation.patients import draw_individuals
from bayes_isa.simulation.virtual_trial import VirtualTrial, draw_virtual_trial

NAMES = ("M0", "KL", "KD", "R", "EC50")
LABELS = [f"correlation[{one}, {other}]" for one, other in combinations(NAMES, 2)]
SPEC = ModelSpec(covariates={}, random_effects="correlated")
CHAINS, DRAWS = 2, 150


@pytest.fixture(scope="module")
def virtual() -> VirtualTrial:
    return draw_virtual_trial(12, seed=4, effects={}, correlation={("KL", "KD"): 0.6})


@pytest.fixture(scope="module")
def fit(virtual: VirtualTrial) -> xr.DataTree:
    """Draws around the truth, correlations from 60 patients' worth of knowledge."""
    single = fit_at_truth(virtual.truth)["posterior"].to_dataset()
    rng = np.random.default_rng(0)
    wide = single.isel(chain=[0] * CHAINS, draw=[0] * DRAWS).assign_coords(
        chain=range(CHAINS), draw=range(DRAWS)
    )
    for name, values in wide.items():
        wide[name] = values * (1.0 + 0.03 * rng.standard_normal(values.shape))
    covariance = stats.wishart(60, single["correlation"].to_numpy()[0, 0]).rvs(
        CHAINS * DRAWS, random_state=rng
    )
    sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    matrix = (covariance / (sd[:, :, None] * sd[:, None, :])).reshape(CHAINS, DRAWS, 5, 5)
    wide["correlation"] = (single["correlation"].dims, matrix)
    wide["correlation_cholesky"] = (single["correlation"].dims, np.linalg.cholesky(matrix))
    dims = ("chain", "draw")
    sampled = {"diverging": (dims, np.zeros((CHAINS, DRAWS), dtype=bool))}
    return xr.DataTree.from_dict({"posterior": wide, "sample_stats": xr.Dataset(sampled)})


def test_each_correlation_is_named_once(fit: xr.DataTree) -> None:
    posterior = fit["posterior"].to_dataset()
    assert list(pairs(posterior)) == LABELS
    np.testing.assert_array_equal(
        pairs(posterior)["correlation[KL, KD]"],
        posterior["correlation"].sel(parameter="KD", parameter_other="KL"),
    )
    plain = posterior.drop_vars(["correlation", "correlation_cholesky"])
    assert {*with_pairs(posterior)} == {*plain, *LABELS}
    xr.testing.assert_identical(with_pairs(plain), plain)


def test_diagnostics_see_them(fit: xr.DataTree) -> None:
    table = diagnose(fit).table
    assert set(LABELS) <= set(table.index)
    assert not any(str(name).startswith("correlation_cholesky") for name in table.index)
    assert np.isfinite(table["r_hat"]).all()


def test_estimates_have_their_prior(fit: xr.DataTree) -> None:
    table = parameter_estimates(fit, priors=load_priors("weakly_informative"), spec=SPEC)
    assert set(LABELS) <= set(table["parameter"].to_numpy())
    one = table.sel(parameter="correlation[KL, KD]")
    assert float(one["median"]) == pytest.approx(0.6, abs=0.05)
    # The LKJ prior's own: Beta(3.5, 3.5) on (-1, 1).
    assert float(one["prior_high"]) == pytest.approx(2.0 * stats.beta(3.5, 3.5).ppf(0.95) - 1.0)
    assert one["meaning"].item() == "correlation of the random effects of KL and KD"
    assert np.isnan(one["published"])
    assert table.attrs["without_prior"] == []


def test_their_prior_is_scaled_as_one(virtual: VirtualTrial, fit: xr.DataTree) -> None:
    report = prior_sensitivity(fit, trial=virtual.trial, spec=SPEC, priors=load_priors("weakly_informative"))
    assert set(LABELS) <= set(report["parameter"].to_numpy())
    assert report.attrs["not_scaled"] == []
    assert np.isfinite(report["prior"]).all()


def test_new_patients_have_them(fit: xr.DataTree) -> None:
    """Of 4000 patients at one draw: standard error of a correlation 0.016 at most."""
    draws = posterior_draws(fit)
    parameters = draws.at(7)
    phi, *_ = draw_individuals(parameters, {}, 4000, np.random.default_rng(3))
    matrix = fit["posterior"]["correlation"].to_numpy().reshape(-1, 5, 5)[7]
    np.testing.assert_allclose(np.corrcoef(phi.T), matrix, atol=0.08)
    np.testing.assert_allclose(phi.std(axis=0), parameters.omega, rtol=0.06)
    np.testing.assert_allclose(draws.take(np.array([7])).at(0).correlation, matrix)
    mean = draws.mean().at(0).correlation
    assert mean is not None
    assert np.linalg.eigvalsh(mean)[0] > 0.0


def test_constant_exposure_leaves_ec50_uncorrelated(fit: xr.DataTree) -> None:
    four = list(NAMES[:4])
    posterior = fit["posterior"].to_dataset().sel(parameter=four, parameter_other=four)
    matrix = posterior_draws(xr.DataTree.from_dict({"posterior": posterior})).at(0).correlation
    assert matrix is not None
    np.testing.assert_array_equal(matrix[4], [0, 0, 0, 0, 1])


def test_the_truth_is_in_the_trial_and_its_file(virtual: VirtualTrial, tmp_path) -> None:
    from bayes_isa.data.truth import read_truth, write_truth

    write_truth(virtual.truth, tmp_path)
    assert read_truth(tmp_path).parameters["correlation"][1][2] == 0.6
    many = draw_virtual_trial(400, seed=4, effects={}, correlation={("KL", "KD"): 0.6}).truth.individual
    found = np.corrcoef(many["log_KL"], many["log_KD"])[0, 1]
    assert found == pytest.approx(0.6, abs=4 * (1 - 0.6**2) / np.sqrt(400))


def test_the_marginal_likelihood_asks_for_them(virtual: VirtualTrial, fit: xr.DataTree) -> None:
    data = prepare(virtual.trial, SPEC, rough=True)
    flat = fit["posterior"].to_dataset().stack(sample=("chain", "draw"), create_index=False)
    factor = populations_at(data, flat)[3].cholesky
    assert factor is not None
    np.testing.assert_allclose(factor @ factor.T, flat["correlation"].transpose("sample", ...).to_numpy()[3])
    with pytest.raises(ModelError, match="lacks correlation"):
        correlation_factors(data, flat.drop_vars("correlation"))
    assert correlation_factors(prepare(virtual.trial, ModelSpec(covariates={}), rough=True), flat) is None
