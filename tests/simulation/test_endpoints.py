"""Endpoints on trials made by hand, and against lifelines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.statistics import logrank_test
from lifelines.utils import restricted_mean_survival_time

from bayes_isa.errors import ModelError, RegimenError
from bayes_isa.simulation import mprotein_endpoints as marker
from bayes_isa.simulation import pfs_endpoints as pfs
from bayes_isa.simulation.endpoints import ENDPOINTS, endpoints
from bayes_isa.simulation.survival import (
    cox_hazard_ratio,
    log_rank,
    marginal_hazard_ratio,
    median_time,
)

ISA, LOW, DEX = "20 mg/kg QW-Q2W", "10 mg/kg QW-Q2W", "20 mg/kg QW-Q2W + dex"


def trial(days, m, horizon=140.0, observed=None):
    """One trial of one regimen: PFS days (infinite for none) and M-protein (patient, visit) every 28 days."""
    days, m = np.asarray(days, dtype=float), np.asarray(m, dtype=float)
    event = days <= horizon
    dims = ("trial", "regimen", "patient")
    variables = {
        "pfs_day": (dims, np.where(event, days, horizon)[None, None]),
        "event": (dims, event[None, None]),
        "m_protein": ((*dims, "visit"), m[None, None]),
    }
    if observed is not None:
        variables["m_protein_observed"] = ((*dims, "visit"), np.asarray(observed, dtype=float)[None, None])
    coords = {
        "trial": [0],
        "regimen": [ISA],
        "patient": np.arange(days.size),
        "visit_day": ("visit", 28.0 * np.arange(m.shape[1])),
    }
    return xr.Dataset(variables, coords, {"horizon_day": horizon})


CURVES = [
    [40.0, 3, 3, 3, 3, 3],  # VGPR at day 28
    [40.0, 30, 18, 18, 30, 30],  # PR at day 56, PD at day 112
    [40.0, 28, 28, 28, 28, 28],  # MR
    [40.0, 40, 40, 40, 40, 40],  # SD
    [40.0, 60, 60, 60, 60, 60],  # PD at day 28
    [40.0, 3, 3, 3, 3, 3],  # would respond, but progresses before the second visit
]
DAYS = [np.inf, 130.0, np.inf, np.inf, 70.0, 50.0]


def test_response_rates_by_hand():
    sims = trial(DAYS, CURVES)
    rates = marker.response_rates(sims)
    assert {name: rates[name].item() for name in rates} == pytest.approx(
        {
            "vgpr_rate": 100 / 6,
            "overall_response_rate": 200 / 6,
            "clinical_benefit_rate": 300 / 6,
            "disease_control_rate": 400 / 6,
        }
    )
    everyone = marker.response_rates(sims, followed=False)
    assert everyone["overall_response_rate"].item() == pytest.approx(50.0)
    best = marker.best_response(sims)
    names = [
        best["best_response"].attrs["categories"][code] for code in best["best_response"][0, 0].to_numpy()
    ]
    assert names == ["VGPR", "PR", "MR", "SD", "PD", "NE"]


def test_times_by_hand():
    sims = trial(DAYS, CURVES)
    assert marker.time_to_response(sims).item() == pytest.approx((4 + 8) / 2)  # days 28 and 56
    # Response to PFS: 112 days censored at the horizon, 74 days with an event: half are left at 74 days.
    assert marker.duration_of_response(sims).item() == pytest.approx(74 / 7)
    assert marker.time_to_progression(sims).item() == np.inf  # two of six by day 112
    half = trial([np.inf] * 2, [CURVES[1], CURVES[3]])
    assert marker.time_to_progression(half).item() == pytest.approx(16.0)
    # The visit on day 140 that would confirm PD comes after PFS on day 130: not seen.
    lost = trial([130.0, np.inf], [CURVES[1], CURVES[3]])
    assert marker.time_to_progression(lost, followed=True).item() == np.inf


def test_nobody_responds():
    sims = trial([np.inf], [CURVES[3]])
    assert np.isnan(marker.time_to_response(sims).item())
    assert np.isnan(marker.duration_of_response(sims).item())


def test_week_8_by_model_and_by_visit():
    sims = trial([np.inf, np.inf, 50.0], [[10.0, 9, 8], [10.0, 9, 6], [10.0, 9, 1]], 60.0, [[8.0, 9, 8]] * 3)
    assert marker.week8_change(sims).item() == pytest.approx(-40.0)
    assert marker.week8_change(sims, at_risk=True).item() == pytest.approx(-30.0)
    assert marker.week8_change(sims, observed=True).item() == pytest.approx(0.0)
    with pytest.raises(ModelError, match="m_protein_observed is missing"):
        marker.week8_change(trial([np.inf], [[10.0, 9, 8]], 60.0), observed=True)


def test_pfs_probability_and_restricted_mean_by_hand():
    sims = trial([10.0, 20.0, 30.0, np.inf], [CURVES[3]] * 4)
    assert pfs.pfs_probability(sims, 20.0).item() == 50.0
    assert pfs.pfs_probability(sims, 19.9).item() == 75.0
    assert pfs.restricted_mean_pfs(sims).item() == pytest.approx((10 + 20 + 30 + 140) / 4 / 7)
    assert pfs.restricted_mean_pfs(sims, 25.0).item() == pytest.approx((10 + 20 + 25 + 25) / 4 / 7)
    with pytest.raises(ModelError, match="beyond the horizon of 140 days"):
        pfs.pfs_probability(sims, 141.0)
    with pytest.raises(ModelError, match="beyond the horizon"):
        pfs.restricted_mean_pfs(sims, 200.0)


def test_pfs_agrees_with_lifelines(sims):
    for index in np.ndindex(2, 3):
        one = sims.isel(trial=index[0], regimen=index[1])
        curve = KaplanMeierFitter().fit(one["pfs_day"].to_numpy(), one["event"].to_numpy())
        assert pfs.pfs_probability(sims, 183.0).to_numpy()[index] == pytest.approx(100 * curve.predict(183.0))
        mean = restricted_mean_survival_time(curve, t=300.0) / 7
        assert pfs.restricted_mean_pfs(sims, 300.0).to_numpy()[index] == pytest.approx(mean)


def _arms(ratio, rng, n=300):
    day, base = rng.exponential(30.0 / ratio, n), rng.exponential(30.0, n)
    lost = rng.uniform(5.0, 80.0, (2, n))
    return np.minimum(day, lost[0]), day <= lost[0], np.minimum(base, lost[1]), base <= lost[1]


@pytest.mark.parametrize("ratio", [0.6, 1.0, 1.5])
def test_log_rank_and_median_agree_with_lifelines(ratio):
    day, event, base, base_event = _arms(ratio, np.random.default_rng(5))
    theirs = logrank_test(day, base, event, base_event)
    ours = log_rank(day, event, base, base_event)
    assert ours**2 == pytest.approx(theirs.test_statistic, rel=1e-9)
    assert (ours < 0) == (event.sum() / day.sum() < base_event.sum() / base.sum())
    curve = KaplanMeierFitter().fit(day, event)
    assert median_time(day, event) == pytest.approx(curve.median_survival_time_)
    assert median_time(day, np.zeros(day.size, dtype=bool)) == np.inf


def test_marginal_hazard_ratio_is_what_cox_tends_to():
    """Curves that cross hazards: Cox on 10 000 patients an arm, within 4 standard errors (of 1.5 %)."""
    rng = np.random.default_rng(2)
    n, horizon = 10_000, 100.0
    day, base = 40.0 * rng.weibull(0.8, n), 40.0 * rng.weibull(1.6, n)
    grid = np.linspace(0.0, horizon, 400)
    ours = marginal_hazard_ratio(np.exp(-((grid / 40) ** 0.8)), np.exp(-((grid / 40) ** 1.6)))
    table = pd.DataFrame({"day": np.minimum(np.concatenate([day, base]), horizon)})
    table["event"] = table["day"] < horizon
    table["arm"] = np.repeat([1.0, 0.0], n)
    cox = CoxPHFitter().fit(table, "day", "event")
    error = abs(np.log(ours) - cox.params_["arm"])
    assert error < 4 * cox.standard_errors_["arm"]
    assert marginal_hazard_ratio(np.exp(-grid / 20), np.exp(-grid / 40)) == pytest.approx(2.0, rel=1e-4)


def test_marginal_hazard_ratio_of_simulated_trials(sims):
    ratio = pfs.marginal_hazard_ratio(sims, ISA)
    assert (ratio.sel(regimen=ISA) == 1.0).all()
    assert (ratio.sel(regimen=DEX) < 1.0).all()
    assert (ratio.sel(regimen=LOW) > 1.0).all()
    with pytest.raises(ModelError, match='group "marginal"'):
        pfs.marginal_hazard_ratio(sims.to_dataset(), ISA)


def test_marginal_survival_is_the_share_free_of_events(small, run):
    """400 trials at fixed parameters: share of events by day 98 within 4 binomial errors of the model's."""
    result = run([ISA], n_trials=400, horizon_day=100.0, vary=["events"])
    survival = result["marginal"]["survival"].sel(day=98.0)
    assert np.ptp(survival.to_numpy()) == 0.0
    share = (result["event"] & (result["pfs_day"] <= 98.0)).mean().item()
    expected = 1.0 - survival.isel(trial=0).item()
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / (400 * 24))


def test_every_endpoint_by_name(run):
    sims = run([LOW, ISA], n_trials=2, observed=True)
    values = endpoints(sims, list(ENDPOINTS), reference=ISA)
    assert set(values.data_vars) == set(ENDPOINTS)
    for name, endpoint in ENDPOINTS.items():
        assert values[name].dims == ("trial", "regimen")
        assert values[name].attrs == {"units": endpoint.unit, "description": endpoint.description}
        if endpoint.versus:
            of_itself = values[name].sel(regimen=ISA).to_numpy()
            assert set(of_itself) <= {0.0, 1.0}
    assert values.attrs["reference"] == ISA


def test_endpoints_that_cannot_be_had(sims, run):
    with pytest.raises(ModelError, match="did you mean 'median_pfs'"):
        endpoints(sims, ["median_pf"])
    with pytest.raises(ModelError, match="give the regimen to compare with"):
        endpoints(sims, ["hazard_ratio"])
    with pytest.raises(RegimenError, match="was not simulated"):
        endpoints(sims, ["hazard_ratio"], reference="3 mg/kg Q2W")
    short = run([ISA], horizon_day=100.0, n_trials=1)
    with pytest.raises(ModelError, match=r"PFS on day 182\.625 lies beyond the horizon of 100 days"):
        endpoints(short, ["pfs_6_months"])
    with pytest.raises(ModelError, match="these are no simulated trials"):
        endpoints(xr.Dataset(), ["median_pfs"])


arms = hnp.arrays(float, st.integers(2, 30), elements=st.integers(1, 40).map(float))


@given(arms, arms)
def test_exchanging_arms_inverts_the_hazard_ratio_and_the_sign_of_the_log_rank(one, other):
    """With ties and everything censored from day 30 on."""
    one_event, other_event = one < 30.0, other < 30.0
    a = cox_hazard_ratio(one, one_event, other, other_event)
    b = cox_hazard_ratio(other, other_event, one, one_event)
    assert np.isnan(a) == np.isnan(b)
    if np.isfinite(a):
        assert a * b == pytest.approx(1.0, rel=1e-6)
    z = log_rank(one, one_event, other, other_event)
    assert z == pytest.approx(-log_rank(other, other_event, one, one_event), nan_ok=True)


@given(arms, st.floats(0.1, 10.0))
def test_a_change_of_the_time_unit_changes_no_comparison(one, scale):
    other, yes = one[::-1] * 1.5, np.ones(one.size, dtype=bool)
    ratio = cox_hazard_ratio(one, yes, other, yes)
    assert cox_hazard_ratio(scale * one, yes, scale * other, yes) == pytest.approx(ratio, nan_ok=True)
    assert median_time(scale * one, yes) == pytest.approx(scale * median_time(one, yes))
