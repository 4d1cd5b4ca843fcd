"""Checks of models whose events lie between visits or whose patients entered late."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.km_vpc import km_vpc
from bayes_isa.prediction.quantile_residuals import quantile_residuals
from bayes_isa.prediction.replicates import replicate_trial
from bayes_isa.simulation.parameters import fit_at_truth
from bayes_isa.simulation.virtual_trial import VirtualTrial, draw_virtual_trial


@pytest.fixture(scope="module")
def at_visits() -> VirtualTrial:
    return draw_virtual_trial(36, seed=2, pfs_visit_days=28.0)


@pytest.fixture(scope="module")
def late(virtual: VirtualTrial) -> Trial:
    """Those of the virtual patients who were free of progression on a day of their own."""
    entry = pd.Series(np.random.default_rng(3).uniform(0.0, 120.0, 36), index=virtual.trial.patients.index)
    kept = virtual.trial.subset(virtual.trial.pfs.index[entry < virtual.trial.pfs["day"]])
    return replace(kept, pfs=kept.pfs.assign(entry_day=entry))


def fit_of(virtual: VirtualTrial, trial: Trial) -> xr.DataTree:
    individual = virtual.truth.individual.loc[trial.patients.index]
    return fit_at_truth(replace(virtual.truth, individual=individual))


def test_visits_see_the_same_events(virtual: VirtualTrial, at_visits: VirtualTrial) -> None:
    exact, seen = virtual.trial.pfs, at_visits.trial.pfs
    between = at_visits.trial.interval_censored
    assert between.sum() > 15
    np.testing.assert_array_equal(seen["event"], between)
    assert (exact["day"][between] > seen["day_lower"][between]).all()
    assert (exact["day"][between] <= seen["day_upper"][between]).all()
    assert (seen["day_upper"][between] % 28.0 == 0.0).all()
    censored = seen["day"][~between]
    assert ((censored % 28.0 == 0.0) | (censored < 1.0)).all()
    assert (seen["event"] <= exact["event"]).all()


@pytest.mark.parametrize("kind", ["visits", "late"])
def test_residuals_are_standard_normal_at_the_truth(virtual, at_visits, late, kind) -> None:
    drawn, trial = (at_visits, at_visits.trial) if kind == "visits" else (virtual, late)
    result = quantile_residuals(fit_of(drawn, trial), seed=1, trial=trial, spec=ModelSpec())
    z = result["pfs"].to_numpy().ravel()
    # Four standard errors of mean and SD: fails by chance once in ten thousand seeds.
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.std() - 1.0) < 4 / np.sqrt(2 * z.size)
    assert float(result["p_value"].sel(outcome="pfs")) > 0.001


def test_replicates_progress_at_visits_too(at_visits) -> None:
    sets = replicate_trial(
        fit_at_truth(at_visits.truth), n_replicates=40, seed=1, trial=at_visits.trial, spec=ModelSpec()
    )
    day, event = sets["pfs_day"].to_numpy(), sets["event"].to_numpy()
    assert event.any()
    np.testing.assert_allclose(day[event] % 28.0, 0.0, atol=1e-9)
    assert float(km_vpc(sets)["p_value"][0]) > 0.01


def test_replicates_of_late_patients_progress_after_entry(virtual, late) -> None:
    sets = replicate_trial(
        fit_of(virtual, late), n_replicates=40, seed=1, trial=late, spec=ModelSpec(), individuals="own"
    )
    entry = sets["entry_day"].to_numpy()
    np.testing.assert_array_equal(entry, late.entry_day)
    assert (sets["pfs_day"].to_numpy() >= entry).all()
    check = km_vpc(sets)
    assert int(check["n_at_risk"][0, 0]) == int((entry <= 0.0).sum())
    assert float(check["p_value"][0]) > 0.01
