"""Leave-one-patient-out ELPD: exact in a conjugate model, unbiased by noise, and equal to real refits."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import bayes_isa as bi
from bayes_isa.errors import ModelError
from bayes_isa.inference.compare_models import compare_models
from bayes_isa.inference.elpd import ELPD_PARTS, elpd_from_marginal, elpd_loo, elpd_table, with_refits

SIGMA, N, S = 1.0, 30, 4000


def conjugate(noise_sd: float, *, seed: int, shift: float = 0.0) -> tuple[xr.Dataset, np.ndarray]:
    """Marginal likelihoods, as `marginal_likelihood` gives them, of normal data with unknown mean, and the exact ELPD.

    The marker is y ~ N(theta, 1), PFS stands for a second measurement z ~ N(theta, 1); the prior of theta is flat.
    """
    rng = np.random.default_rng(10)
    y, z = rng.normal(0.3, SIGMA, N) + shift, rng.normal(0.3, SIGMA, N)
    both = np.concatenate([y, z])
    theta = np.random.default_rng(seed).normal(both.mean(), SIGMA / np.sqrt(2 * N), (4, S // 4))
    marker, pfs = (stats.norm.logpdf(x, theta[..., None], SIGMA) for x in (y, z))
    exact = np.empty((4, N))
    for i in range(N):
        mean, variance = (both.sum() - y[i] - z[i]) / (2 * N - 2), SIGMA**2 / (2 * N - 2)
        covariance = np.full((2, 2), variance) + SIGMA**2 * np.eye(2)
        exact[0, i] = stats.multivariate_normal([mean, mean], covariance).logpdf([y[i], z[i]])
        exact[1, i], exact[2, i] = stats.norm(mean, np.sqrt(covariance[0, 0])).logpdf([y[i], z[i]])
    exact[3] = exact[0] - exact[1]
    true = np.stack([marker + pfs, marker, pfs])
    noise = np.random.default_rng(seed + 1).normal(0.0, noise_sd, (2, *true.shape)) - 0.5 * noise_sd**2
    halves = true + noise
    dims = ("part", "chain", "draw", "patient")
    coords = {
        "part": ["joint", "marker", "pfs"],
        "chain": range(4),
        "draw": range(S // 4),
        "patient": range(N),
    }
    return (
        xr.Dataset(
            {
                "log_likelihood": (dims, np.logaddexp(*halves) - np.log(2.0)),
                "half_log_likelihood": (("half", *dims), halves),
                "ess": (dims, np.full(true.shape, 64.0)),
                "noise_sd": (("part", "patient"), np.full((3, N), noise_sd)),
            },
            coords,
            {"n_points": 128, "n_unusable": 0},
        ),
        exact,
    )


def test_exact_in_a_conjugate_model() -> None:
    marginal, exact = conjugate(0.0, seed=1)
    result = elpd_from_marginal(marginal)
    assert list(result["part"].to_numpy()) == list(ELPD_PARTS)
    np.testing.assert_allclose(result["elpd"], exact, atol=0.02)
    assert (result["pareto_k"] < result.attrs["good_k"]).all()
    table = elpd_table(result)
    assert table.loc["joint", "elpd"] == pytest.approx(exact[0].sum(), abs=0.05)
    assert table.loc["joint", "p_loo"] == pytest.approx(1.0, abs=0.5)
    assert table.loc["joint", "elpd"] == pytest.approx(
        table.loc["marker", "elpd"] + table.loc["pfs_given_marker", "elpd"]
    )


def test_noise_of_the_integrals_does_not_bias_the_elpd() -> None:
    """Noise of SD 0.3 would cost 0.045 a patient (half its variance is of the mean of two halves), 1.35 in total."""
    clean, exact = conjugate(0.0, seed=1)
    noisy, _ = conjugate(0.3, seed=1)
    total = float(elpd_from_marginal(noisy)["elpd_total"].sel(part="joint"))
    # The noise of 4000 draws: 0.3 / sqrt(4000) a patient, 0.03 in total; smoothing the tails adds as much.
    assert total == pytest.approx(float(elpd_from_marginal(clean)["elpd_total"].sel(part="joint")), abs=0.2)
    joint = noisy["log_likelihood"].sel(part="joint")
    naive = -np.log(np.exp(-joint).mean(("chain", "draw"))).sum()
    assert float(naive) < exact[0].sum() - 0.8


def test_a_patient_far_from_all_others_has_a_high_k() -> None:
    marginal, _ = conjugate(0.0, seed=1)
    spoilt = marginal.copy(deep=True)
    rng = np.random.default_rng(3)
    spoilt["log_likelihood"].loc[{"part": "joint", "patient": 4}] = -4.0 * rng.standard_exponential(
        (4, S // 4)
    )
    result = elpd_from_marginal(spoilt)
    assert result.attrs["n_high_k"] == 1
    assert int(np.argmax(result["pareto_k"].to_numpy())) == 4


def test_impossible_patients_are_named_and_few_draws_refused() -> None:
    marginal, _ = conjugate(0.0, seed=1)
    with pytest.raises(ModelError, match="at least 100 posterior draws"):
        elpd_from_marginal(marginal.isel(draw=slice(20)))
    marginal["log_likelihood"][0, 0, 0, 7] = -np.inf
    with pytest.raises(ModelError, match="patients 7 have probability 0"):
        elpd_from_marginal(marginal)


def test_comparison_prefers_the_right_model_and_says_when_it_cannot_tell() -> None:
    right = elpd_from_marginal(conjugate(0.0, seed=1)[0])
    again = elpd_from_marginal(conjugate(0.0, seed=5)[0])
    wrong = right.copy(deep=True)
    rng = np.random.default_rng(2)
    wrong["elpd"] = wrong["elpd"] - rng.uniform(0.5, 1.5, N)
    wrong["elpd_total"] = wrong["elpd"].sum("patient")
    table = compare_models({"wrong": wrong, "right": right})
    assert list(table.index) == ["right", "wrong"]
    assert list(table["verdict"]) == ["best", "worse"]
    assert table.loc["wrong", "elpd_diff"] == pytest.approx(float((wrong["elpd"] - right["elpd"])[0].sum()))
    assert table.attrs["part"] == "joint"
    even = compare_models({"right": right, "again": again}, part="pfs_given_marker")
    assert even["verdict"].iloc[1] == "the data cannot tell"


def test_what_cannot_be_compared_is_refused() -> None:
    result = elpd_from_marginal(conjugate(0.0, seed=1)[0])
    with pytest.raises(ModelError, match="at least two"):
        compare_models({"one": result})
    with pytest.raises(ModelError, match="part: expected one of"):
        compare_models({"a": result, "b": result}, part="both")
    with pytest.raises(ModelError, match="different patients"):
        compare_models({"a": result, "b": result.isel(patient=slice(10))})


@pytest.mark.slow
def test_agrees_with_refits_for_ten_patients() -> None:
    """The five highest Pareto k and five others of a trial of 30."""
    trial = bi.draw_virtual_trial(30, seed=4).trial
    fit = bi.fit(bi.build_model(trial), draws=1000, tune=500, chains=4, seed=1, progressbar=False)
    result = elpd_loo(fit)
    order = np.argsort(-result["pareto_k"].to_numpy())
    chosen = [str(i) for i in result["patient"].to_numpy()[[*order[:5], *order[5::5]]]][:10]
    exact = with_refits(result, fit, chosen)
    difference = (exact["elpd"] - result["elpd"]).sel(patient=chosen, part="joint")
    low_k = (result["pareto_k"] < 0.5).sel(patient=chosen)
    # Both sides carry the Monte-Carlo error of their draws: p_loo near 0.6 a patient from some 500 effective ones.
    assert float(np.abs(difference.where(low_k)).max()) < 0.25
    assert float(np.abs(difference).max()) < 1.0
    assert abs(float(difference.mean())) < 0.25
