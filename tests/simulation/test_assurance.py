"""Assurance: designs by hand, size under no effect, power against the formula of Schoenfeld."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from lifelines import KaplanMeierFitter
from scipy import stats

from bayes_isa.errors import ModelError
from bayes_isa.simulation.assurance import TwoArmTrial, _analysed, assurance

ISA, DEX = "20 mg/kg QW-Q2W", "20 mg/kg QW-Q2W + dex"


@pytest.fixture(scope="module")
def trials(small, fit):
    def run(design, regimen=DEX, **options):
        from bayes_isa.model.spec import ModelSpec

        given = {"n_trials": 20, "seed": 1, "trial": small.trial, "spec": ModelSpec()}
        return assurance(fit, regimen, ISA, design, **(given | options))

    return run


def test_what_comes_back(trials):
    design = TwoArmTrial(40, accrual_months=6, follow_up_months=6, dropout_per_year=0.1)
    result = trials(design)
    assert dict(result.sizes) == {"trial": 20, "arm": 2}
    assert result.attrs["assurance"] == result["success"].mean().item()
    assert result.attrs["assurance_p5"] <= result.attrs["assurance"] <= result.attrs["assurance_p95"]
    assert (result["p_value"].to_numpy() == stats.norm.cdf(result["log_rank_z"])).all()
    assert ((result["p_value"] < 0.025) == result["success"]).all()
    assert result["median_pfs"].mean("trial").sel(arm="regimen") > result["median_pfs"].mean("trial").sel(
        arm="reference"
    )
    xr.testing.assert_identical(result, trials(design))
    assert (result["analysis_day"] == 12 * 365.25 / 12).all()


def test_analysis_at_a_number_of_events(trials):
    design = TwoArmTrial(40, 6, 12, events=30, analysis="hazard_ratio_below", hazard_ratio_below=0.9)
    result = trials(design)
    assert (result["events"].sum("arm") == 30).all()
    assert result.attrs["n_short_of_events"] == 0
    assert (result["success"] == (result["hazard_ratio"] < 0.9)).all()
    rare = trials(TwoArmTrial(40, 0, 1, events=80))
    assert rare.attrs["n_short_of_events"] == 20


def _exponential(rate, n, rng):
    return rng.exponential(1.0 / rate, n)


def test_power_is_schoenfelds_and_size_is_alpha():
    """Exponential arms, 1500 trials each: shares of success within 4 standard errors.

    Schoenfeld 1981 (doi:10.1093/biomet/68.1.316): power Phi(sqrt(d)/2 |log HR| - z); asymptotic, so 2 % more.
    """
    design = TwoArmTrial(200, accrual_months=0, follow_up_months=400, events=300)
    rng = np.random.default_rng(7)

    def share(ratio):
        arms = (
            np.stack([_exponential(0.01 * ratio, 200, rng), _exponential(0.01, 200, rng)])
            for _ in range(1500)
        )
        return np.mean([_analysed(design, arm, rng)["success"] for arm in arms])

    power = stats.norm.cdf(np.sqrt(300) / 2 * -np.log(0.75) - stats.norm.ppf(0.975))
    assert abs(share(0.75) - power) < 4 * np.sqrt(power * (1 - power) / 1500) + 0.02
    assert abs(share(1.0) - 0.025) < 4 * np.sqrt(0.025 * 0.975 / 1500)


def test_accrual_and_dropout_censor():
    """Everybody would progress on day 100: seen only in those who entered 100 days before the end and stayed."""
    design = TwoArmTrial(4000, accrual_months=12, follow_up_months=2, dropout_per_year=1.0)
    day = np.full((2, 4000), 100.0)
    result = _analysed(design, day, np.random.default_rng(1))
    entered = (14 * 365.25 / 12 - 100.0) / 365.25
    expected = entered * np.exp(-100.0 / 365.25)
    assert abs(sum(result["events"]) / 8000 - expected) < 4 * np.sqrt(expected * (1 - expected) / 8000)
    assert result["median_pfs"] == [pytest.approx(100 / 7)] * 2


def test_median_under_censoring_agrees_with_lifelines():
    rng = np.random.default_rng(3)
    design = TwoArmTrial(150, 6, 6)
    days = rng.exponential(200.0, (2, 150))
    seed = np.random.default_rng(9)
    entry = np.random.default_rng(9).uniform(0.0, 6 * 365.25 / 12, (2, 150))
    medians = _analysed(design, days, seed)["median_pfs"]
    followed = design.longest_day - entry
    for arm in (0, 1):
        curve = KaplanMeierFitter().fit(np.minimum(days, followed)[arm], (days <= followed)[arm])
        assert medians[arm] == pytest.approx(curve.median_survival_time_ / 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_per_arm": 0}, "n_per_arm: expected at least 1"),
        ({"accrual_months": -1}, "accrual_months: expected 0 or more, found -1"),
        ({"follow_up_months": 0}, "follow_up_months: expected more than 0"),
        ({"events": 500}, "expected 1 to 200, the number of patients"),
        ({"dropout_per_year": -0.1}, "dropout_per_year"),
        ({"analysis": "logrank"}, "did you mean 'log_rank'"),
        ({"alpha": 1.0}, "alpha: expected a probability"),
        ({"hazard_ratio_below": 0.0}, "hazard_ratio_below: expected a positive number"),
    ],
)
def test_designs_that_cannot_be(options, message):
    with pytest.raises(ModelError, match=message):
        TwoArmTrial(**({"n_per_arm": 100, "accrual_months": 6, "follow_up_months": 6} | options))


def test_arms_need_different_patients(trials):
    with pytest.raises(ModelError, match="the arms of a trial hold different patients"):
        trials(TwoArmTrial(10, 6, 6), population="fitted")
