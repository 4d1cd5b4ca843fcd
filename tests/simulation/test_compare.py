"""Comparison of regimens: hand-made cases, lifelines as reference, what is not reached stays visible."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from lifelines import CoxPHFitter, KaplanMeierFitter

from bayes_isa.errors import BayesIsaWarning, ModelError, RegimenError
from bayes_isa.simulation.compare import QUANTITIES, compare_regimens
from bayes_isa.simulation.endpoints import ENDPOINTS
from bayes_isa.simulation.mprotein_endpoints import week8_change
from bayes_isa.simulation.pfs_endpoints import hazard_ratio, median_pfs
from bayes_isa.simulation.survival import cox_hazard_ratio

ISA, LOW, DEX = "20 mg/kg QW-Q2W", "10 mg/kg QW-Q2W", "20 mg/kg QW-Q2W + dex"


def make(days, m_week8=None, horizon=100.0):
    """Simulated trials from event days (trial, regimen, patient), infinite for none; M 10 g/L at baseline."""
    days = np.asarray(days, dtype=float)
    n_trials, n_regimens, n_patients = days.shape
    m = np.full((*days.shape, 3), 10.0, np.float32)
    m[..., 2] = 5.0 if m_week8 is None else m_week8
    dims = ("trial", "regimen", "patient")
    event = days <= horizon
    return xr.Dataset(
        {
            "pfs_day": (dims, np.where(event, days, horizon), {"units": "day"}),
            "event": (dims, event),
            "m_protein": ((*dims, "visit"), m, {"units": "g/L"}),
        },
        {
            "trial": np.arange(n_trials),
            "regimen": np.array([LOW, ISA, DEX], dtype=object)[:n_regimens],
            "patient": np.arange(n_patients),
            "visit_day": ("visit", [0.0, 28.0, 56.0]),
        },
        {"horizon_day": horizon},
    )


def test_median_pfs_by_hand():
    sims = make([[[7.0, 14.0, 21.0, np.inf], [7.0, 14.0, np.inf, np.inf], [7.0, np.inf, np.inf, np.inf]]])
    assert median_pfs(sims).to_numpy().tolist() == [[2.0, 2.0, np.inf]]
    odd = make([[[70.0, 7.0, 21.0]]])
    assert median_pfs(odd).item() == 3.0


def test_median_pfs_agrees_with_lifelines(sims):
    for index in np.ndindex(6, 3):
        one = sims.isel(trial=index[0], regimen=index[1])
        curve = KaplanMeierFitter().fit(one["pfs_day"].to_numpy(), one["event"].to_numpy())
        assert median_pfs(sims).to_numpy()[index] == pytest.approx(curve.median_survival_time_ / 7)


def test_week8_change_by_hand():
    sims = make([[[30.0, 60.0, np.inf]]], m_week8=[5.0, 8.0, 9.0])
    assert week8_change(sims).item() == pytest.approx(-20.0)
    assert week8_change(sims, at_risk=True).item() == pytest.approx(-15.0)
    nobody = make([[[30.0, 40.0, 50.0]]])
    assert np.isnan(week8_change(nobody, at_risk=True).item())


def _lifelines(day, event, base_day, base_event):
    table = pd.DataFrame(
        {
            "day": np.concatenate([day, base_day]),
            "event": np.concatenate([event, base_event]),
            "arm": np.repeat([1.0, 0.0], [len(day), len(base_day)]),
        }
    )
    options = {"precision": 1e-12}
    return float(np.exp(CoxPHFitter().fit(table, "day", "event", fit_options=options).params_["arm"]))


@pytest.mark.parametrize("decimals", [6, 0], ids=["distinct", "tied"])
def test_cox_agrees_with_lifelines(decimals):
    """Random arms with censoring; days rounded to whole ones tie within and between arms."""
    rng = np.random.default_rng(3)
    for ratio in (0.5, 1.0, 3.0):
        day = np.round(rng.exponential(30.0 / ratio, 80), decimals) + 1.0
        base = np.round(rng.exponential(30.0, 90), decimals) + 1.0
        event, base_event = day < 45.0, base < 45.0
        day, base = np.minimum(day, 45.0), np.minimum(base, 45.0)
        ours = cox_hazard_ratio(day, event, base, base_event)
        assert ours == pytest.approx(_lifelines(day, event, base, base_event), rel=1e-6)


def test_cox_without_bound_is_nan():
    yes, no = np.array([True, True]), np.array([False, False])
    assert np.isnan(cox_hazard_ratio(np.array([5.0, 6.0]), yes, np.array([9.0, 9.0]), no))
    assert np.isnan(cox_hazard_ratio(np.array([9.0, 9.0]), no, np.array([9.0, 9.0]), no))


def test_a_regimen_against_itself_has_ratio_one(run):
    twice = run({"a": ISA, "b": ISA})
    np.testing.assert_allclose(hazard_ratio(twice, "a"), 1.0, rtol=1e-9)
    table = compare_regimens(twice, reference="a").set_index(["regimen", "quantity"])
    row = table.loc[("b", "median_pfs_difference")]
    assert (row["p5"], row["median"], row["p95"]) == (0.0, 0.0, 0.0)


def test_the_table(sims):
    table = compare_regimens(sims, reference=ISA)
    assert list(table["regimen"].unique()) == [LOW, ISA, DEX]
    by_regimen = table.groupby("regimen")["quantity"].apply(set)
    assert by_regimen[LOW] == set(QUANTITIES)
    versus = {name for name in QUANTITIES if name in ENDPOINTS and ENDPOINTS[name].versus}
    assert by_regimen[ISA] == set(QUANTITIES) - versus - {
        "probability_longer_median_pfs",
        "probability_hazard_ratio_below",
    }
    assert (table["n_trials"] == 6).all()
    assert (table["p5"] <= table["median"] + 1e-12).all()
    assert (table["median"] <= table["p95"] + 1e-12).all()
    units = table.set_index("quantity")["unit"].to_dict()
    assert {units[name] for name in ("median_pfs", "rmst", "median_pfs_difference")} == {"week"}
    assert {units[name] for name in ("week8_change", "pfs_6_months", "overall_response_rate")} == {"%"}
    assert {units[name] for name in ("hazard_ratio", "rank", "probability_best")} == {"1"}
    assert table.attrs == {
        "reference": ISA,
        "horizon_day": 500.0,
        "margin_weeks": 0.0,
        "hazard_ratio_below": 1.0,
        "left_out": [],
    }
    rows = table.set_index(["regimen", "quantity"])["median"]
    assert rows[DEX, "hazard_ratio"] < 1 < rows[LOW, "hazard_ratio"]
    assert rows[DEX, "week8_change"] < rows[ISA, "week8_change"] < rows[LOW, "week8_change"]


def test_patients_in_another_order_make_no_difference(sims):
    order = np.random.default_rng(0).permutation(sims.sizes["patient"])
    shuffled = compare_regimens(sims.isel(patient=order), reference=ISA)
    pd.testing.assert_frame_equal(shuffled, compare_regimens(sims, reference=ISA))


def test_medians_not_reached_are_counted_and_stay_infinite():
    never, soon = [65.0, np.inf, np.inf], [60.0, 70.0, 80.0]
    sims = make([[soon, never], [soon, never], [soon, soon]])
    rows = compare_regimens(sims, reference=LOW).set_index(["regimen", "quantity"])
    assert rows.loc[(ISA, "median_pfs"), "median"] == np.inf
    assert rows.loc[(ISA, "median_pfs"), "n_not_reached"] == 2
    assert rows.loc[(LOW, "median_pfs"), "n_not_reached"] == 0
    difference = rows.loc[(ISA, "median_pfs_difference")]
    assert (difference["median"], difference["p5"], difference["n_not_reached"]) == (np.inf, 0.0, 2)


def test_what_does_not_exist_is_counted_and_warned_of():
    never, soon = [np.inf] * 3, [7.0, 14.0, 21.0]
    sims = make([[never, never], [soon, [8.0, 13.0, 22.0]]])
    with pytest.warns(BayesIsaWarning, match="does not exist in 1 of 2 trials"):
        rows = compare_regimens(sims, reference=LOW).set_index(["regimen", "quantity"])
    assert rows.loc[(ISA, "median_pfs_difference"), "n_undefined"] == 1
    assert rows.loc[(ISA, "hazard_ratio"), "n_undefined"] == 1
    assert np.isfinite(rows.loc[(ISA, "hazard_ratio"), "median"])
    assert rows.loc[(ISA, "week8_change_at_risk"), "n_undefined"] == 1


def test_reference_by_another_spelling_or_unknown(sims):
    assert compare_regimens(sims, reference="20mg/kg QW-Q2W").attrs["reference"] == ISA
    with pytest.raises(RegimenError, match="was not simulated: did you mean '10 mg/kg QW-Q2W'"):
        compare_regimens(sims, reference="10 mg/kg QWQ2W")
    with pytest.raises(RegimenError, match="simulated are"):
        compare_regimens(sims, reference="3 mg/kg Q2W")


def test_simulation_that_ends_before_week_8(run):
    short = run([LOW, ISA], horizon_day=55.0, n_trials=1)
    with pytest.raises(ModelError, match="week 8 lies beyond the horizon of 55 days"):
        compare_regimens(short, reference=LOW)
    just = run([LOW, ISA], horizon_day=56.0, n_trials=1)
    assert np.isfinite(week8_change(just)).all()


def test_something_else_than_simulated_trials():
    with pytest.raises(ModelError, match="pfs_day, event, m_protein is missing; pass what"):
        compare_regimens(xr.Dataset(), reference=ISA)
