"""Quantile residuals and random effects: standard normal at the truth, censored or not."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from bayes_isa.errors import ModelError
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.eta_shrinkage import eta_shrinkage
from bayes_isa.prediction.quantile_residuals import _of_pfs, combine_p_values, quantile_residuals
from tests.prediction.estimates import scattered


def test_residuals_are_standard_normal_at_the_truth(virtual, at_truth) -> None:
    result = quantile_residuals(at_truth, seed=1, trial=virtual.trial, spec=ModelSpec())
    for outcome in ("m_protein", "pfs"):
        z = result[outcome].to_numpy().ravel()
        # Four standard errors of mean and SD: fails by chance once in ten thousand seeds.
        assert abs(z.mean()) < 4 / np.sqrt(z.size)
        assert abs(z.std() - 1.0) < 4 / np.sqrt(2 * z.size)
        assert float(result["p_value"].sel(outcome=outcome)) > 0.001
    assert result["below_lloq"].sum() > 5


def test_a_residual_below_the_limit_lies_below_what_the_limit_would_have(virtual, at_truth) -> None:
    twice = [quantile_residuals(at_truth, seed=s, trial=virtual.trial, spec=ModelSpec()) for s in (1, 2)]
    below = twice[0]["below_lloq"].to_numpy()
    first, second = (r["m_protein"].to_numpy()[0] for r in twice)
    np.testing.assert_array_equal(first[~below], second[~below])
    assert (first[below] != second[below]).all()


def test_pfs_residuals_keep_their_digits_in_both_tails() -> None:
    rng = np.random.default_rng(1)
    hazard = np.array([1e-12, 0.3, 0.5, 0.7, 40.0, 800.0])
    found = _of_pfs(hazard, np.ones(6, dtype=bool), rng)
    expected = [stats.norm.ppf(1e-12), *stats.norm.isf(np.exp(-hazard[1:5]))]
    np.testing.assert_allclose(found[:5], expected, rtol=1e-9)
    assert np.isfinite(found[5])
    censored = _of_pfs(hazard, np.zeros(6, dtype=bool), rng)
    assert (censored > found).all()


def test_combined_p_values_keep_their_level_under_dependence() -> None:
    rng = np.random.default_rng(4)
    common = rng.standard_normal((4000, 1))
    p = stats.norm.sf(0.8 * common + 0.6 * rng.standard_normal((4000, 20)))
    combined = np.array([combine_p_values(row) for row in p])
    low, high = stats.binom.ppf([0.0005, 0.9995], 4000, 0.01)
    assert low * 0.3 <= np.sum(combined < 0.01) <= high * 1.5
    assert combine_p_values([0.03]) == pytest.approx(0.03)
    assert combine_p_values([1.0, 1.0]) > 0.99


def test_etas_are_those_the_trial_was_drawn_with(virtual, at_truth) -> None:
    result = eta_shrinkage(at_truth, trial=virtual.trial, spec=ModelSpec())
    z = result["eta"].to_numpy().ravel()
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.std() - 1.0) < 4 / np.sqrt(2 * z.size)
    assert (result["p_value"] > 0.001).all()
    np.testing.assert_allclose(np.diag(result["correlation"]), 1.0)


def test_shrinkage_is_0_where_etas_are_known_and_1_where_nothing_is(virtual, at_truth) -> None:
    vague = scattered(at_truth, 100, relative=0.0, seed=1)["posterior"].to_dataset()
    rng = np.random.default_rng(2)
    shape = vague["phi"].sel(parameter="R").shape
    spread = vague["R_pop"].to_numpy()[..., None] * np.exp(1.13 * rng.standard_normal(shape))
    vague["phi"].loc[{"parameter": "R"}] = np.log(spread)
    result = eta_shrinkage(xr.DataTree.from_dict({"posterior": vague}), trial=virtual.trial, spec=ModelSpec())
    assert float(result["shrinkage"].sel(parameter="M0")) == pytest.approx(0.0, abs=0.3)
    # 200 draws leave a mean of SD 1 / sqrt(200) = 0.07
    assert float(result["shrinkage"].sel(parameter="R")) == pytest.approx(0.93, abs=0.02)
    assert float(result["eta_sd"].sel(parameter="M0").max()) < 1e-12


def test_another_trial_is_refused(virtual, at_truth) -> None:
    fewer = virtual.trial.subset(virtual.trial.patients.index[:30])
    with pytest.raises(ModelError, match="not the one that was fitted"):
        quantile_residuals(at_truth, seed=1, trial=fewer, spec=ModelSpec(covariates={}))
