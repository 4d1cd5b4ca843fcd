"""Switching in response, and who would progress earlier."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayes_isa.errors import ModelError, RegimenError
from bayes_isa.regimens import Switch
from bayes_isa.simulation.earlier import baseline_by_group, earlier_progression
from bayes_isa.simulation.mprotein_endpoints import best_response

DEX, DEX_3 = "20 mg/kg QW-Q2W + dex", "20 mg/kg QW-Q2W + dex 0-3mo"


def test_those_in_response_switch_and_no_others(run):
    switch = Switch(DEX, DEX_3, 84.0, "PR")
    sims = run({"stay": DEX, "go": DEX_3, "switch": switch}, dexamethasone_hazard={"go": True}, visit_days=7)
    known = sims.to_dataset().isel(visit=slice(0, 13)).sel(regimen=["stay"])
    response = best_response(known, followed=False)
    does = ((response["best_response"] >= 4) & ~np.isfinite(response["progression_day"])).sel(regimen="stay")
    assert does.any()
    assert (~does).any()
    for name in ("pfs_day", "event", "m_protein"):
        expected = xr.where(does, sims[name].sel(regimen="go"), sims[name].sel(regimen="stay"))
        np.testing.assert_array_equal(
            sims[name].sel(regimen="switch"), expected.transpose("trial", "patient", ...)
        )
    curves = sims["marginal"]["survival"]
    before = curves.sel(day=slice(0, 84))
    np.testing.assert_allclose(before.sel(regimen="switch"), before.sel(regimen="stay"), rtol=1e-4)
    assert (curves.sel(regimen="switch") <= curves.sel(regimen="stay") + 1e-4).all()


def _curves(stay, switch, pfs_stay, horizon=140.0):
    m = np.array([stay, switch], dtype=float)
    day = np.array([pfs_stay, pfs_stay], dtype=float)
    dims = ("trial", "regimen", "patient")
    return xr.Dataset(
        {
            "pfs_day": (dims, np.minimum(day, horizon)[None]),
            "event": (dims, (day <= horizon)[None]),
            "m_protein": ((*dims, "visit"), m[None]),
        },
        {
            "trial": [0],
            "regimen": np.array([DEX, DEX_3], dtype=object),
            "patient": ["a", "b", "c"],
            "visit_day": ("visit", 28.0 * np.arange(6)),
        },
        {"horizon_day": horizon},
    )


STAY = [[40, 20, 20, 20, 20, 27], [40, 20, 20, 20, 20, 20], [40, 20, 20, 20, 20, 20]]
SWITCH = [[40, 20, 20, 20, 27, 27], [40, 20, 20, 20, 20, 20], [40, 20, 20, 20, 27, 27]]


def test_earlier_progression_by_hand():
    sims = _curves(STAY, SWITCH, [np.inf, np.inf, 50.0])  # c has progressed before the switch
    result = earlier_progression(sims, stay=DEX, switch=DEX_3, day=84.0)
    assert result["at_risk"].to_numpy().tolist() == [[True, True, False]]
    assert result["earlier"].to_numpy().tolist() == [[True, False, False]]
    assert result["ttp_stay"].to_numpy().tolist() == [[140.0, np.inf, np.inf]]
    assert result["ttp_switch"].to_numpy().tolist() == [[112.0, np.inf, 112.0]]
    assert (result["n_at_risk"].item(), result["n_earlier"].item(), result["share_earlier"].item()) == (
        2,
        1,
        50,
    )
    confirmed = earlier_progression(sims, stay=DEX, switch=DEX_3, day=84.0, confirmed=True)
    assert confirmed["ttp_stay"].to_numpy().tolist() == [[np.inf] * 3]
    nobody = earlier_progression(_curves(STAY, SWITCH, [9.0] * 3), stay=DEX, switch=DEX_3, day=84.0)
    assert np.isnan(nobody["share_earlier"].item())


def test_baseline_of_both_groups():
    sims = _curves(STAY, SWITCH, [np.inf, np.inf, 50.0])
    result = earlier_progression(sims, stay=DEX, switch=DEX_3, day=84.0)
    patients = pd.DataFrame(
        {"age_years": [50.0, 60.0, 70.0], "igg": [1.0, 0.0, 1.0], "race": ["x", "y", "z"]}, ["a", "b", "c"]
    )
    table = baseline_by_group(result, patients)
    assert set(table.index) == {"age_years", "igg"}
    assert table.loc["age_years", ("earlier", "median")] == 50.0
    assert table.loc["age_years", ("not earlier", "median")] == 60.0
    assert table.loc["igg", ("earlier", "share_percent")] == 100.0
    assert table.loc["igg", ("not earlier", "share_percent")] == 0.0
    with pytest.raises(ModelError, match="found none for c"):
        baseline_by_group(result, patients.iloc[:2])


def test_nobody_progresses_earlier_under_the_same_regimen(sims, small):
    result = earlier_progression(sims, stay=DEX, switch=DEX, day=84.0)
    assert (result["n_earlier"] == 0).all()
    table = baseline_by_group(result, small.trial.patients)
    assert table[("earlier", "median")].isna().all()
    assert np.isfinite(table.loc["age_years", ("not earlier", "median")])


def test_switches_that_cannot_be_analysed(sims):
    with pytest.raises(RegimenError, match="was not simulated"):
        earlier_progression(sims, stay=DEX, switch=DEX_3, day=84.0)
    with pytest.raises(ModelError, match="a switch on day 600 lies beyond the horizon of 500 days"):
        earlier_progression(sims, stay=DEX, switch=DEX, day=600.0)
