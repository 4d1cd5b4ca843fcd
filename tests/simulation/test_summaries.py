"""Responses and exposures summed up: counts by hand, concentrations from the same solver as the fit's."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayes_isa.errors import ModelError, RegimenError
from bayes_isa.simulation.exposure_profiles import exposure_profiles
from bayes_isa.simulation.response_summary import response_summary
from bayes_isa.simulation.virtual_trial import draw_virtual_trial


@pytest.fixture
def sims() -> xr.Dataset:
    """Two alike trials of four patients: VGPR, PR until progression, PD, and one without a visit after baseline."""
    m = np.array(
        [[20.0, 1.0, 1.0, 1.0], [20.0, 8.0, 8.0, 1.0], [20.0, 30.0, 40.0, 50.0], [20.0, 1.0, 1.0, 1.0]]
    )
    pfs_day = np.array([100.0, 60.0, 100.0, 10.0])
    dims = ("trial", "regimen", "patient")
    return xr.Dataset(
        {
            "m_protein": ((*dims, "visit"), np.broadcast_to(m, (2, 1, 4, 4))),
            "pfs_day": (dims, np.broadcast_to(pfs_day, (2, 1, 4))),
            "event": (dims, np.ones((2, 1, 4), dtype=bool)),
        },
        coords={
            "trial": [0, 1],
            "regimen": ["20 mg/kg QW-Q2W"],
            "patient": list("abcd"),
            "visit_day": ("visit", [0.0, 28.0, 56.0, 84.0]),
        },
        attrs={"horizon_day": 100.0},
    )


def test_responses_are_counted(sims: xr.Dataset) -> None:
    summary = response_summary(sims).isel(regimen=0)
    shares = dict(zip(summary["category"].to_numpy(), summary["share_median"].to_numpy(), strict=True))
    assert shares == {"VGPR": 25.0, "PR": 25.0, "MR": 0.0, "SD": 0.0, "PD": 25.0, "NE": 25.0}
    np.testing.assert_allclose(summary["share_low"], summary["share_high"])


def test_best_changes_stop_at_progression_and_are_sorted(sims: xr.Dataset) -> None:
    summary = response_summary(sims).isel(regimen=0)
    change = summary["best_change_median"]
    np.testing.assert_allclose(change.sel(patients=[0.0, 50.0, 100.0]), [50.0, -60.0, -95.0])
    assert float(summary["not_evaluable"]) == 25.0


def test_levels_that_are_no_probability_are_refused(sims: xr.Dataset) -> None:
    with pytest.raises(ModelError, match="level"):
        response_summary(sims, level=90.0)


def test_profiles_follow_dose_and_dexamethasone() -> None:
    trial = draw_virtual_trial(6, seed=3).trial
    names = ["10 mg/kg QW-Q2W", "20 mg/kg QW-Q2W", "20 mg/kg QW-Q2W + dex"]
    profiles = exposure_profiles(trial, names, until_day=28.0)
    assert profiles["isatuximab_median"].attrs["units"] == "mg/L"
    low, high, dex = (profiles.sel(regimen=name) for name in names)
    later = slice(1.0, None)
    assert (high["isatuximab_median"].sel(day=later) > low["isatuximab_median"].sel(day=later)).all()
    np.testing.assert_array_equal(high["isatuximab_median"], dex["isatuximab_median"])
    assert float(high["dexamethasone_high"].max()) == 0.0
    # 40 or 20 mg of 392.46 g/mol in 51.3 L
    assert float(dex["dexamethasone_high"].max()) == pytest.approx(1e3 * 40.0 / 392.46 / 51.3, rel=0.2)
    with pytest.raises(RegimenError, match="switch"):
        exposure_profiles(trial, ["20 mg/kg QW-Q2W; in VGPR at 6mo: 20 mg/kg QW-Q2W-Q4W@6mo"])
