"""The published table beside ours: its form, its sense, and where it runs from a posterior."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayes_isa.errors import DataError
from bayes_isa.inference.storage import trial_dataset
from bayes_isa.regimens import SIMULATED_ARMS
from bayes_isa.simulation.published_results import PUBLISHED_RESULTS
from bayes_isa.simulation.reproduce import reproduce

COLUMNS = [
    "population",
    "regimen",
    "quantity",
    "mode",
    "simulated",
    "p5",
    "p95",
    "published",
    "published_p5",
    "published_p95",
]


@pytest.fixture(scope="module")
def table():
    return reproduce(n_trials=15, seed=1)


def test_every_printed_number_has_a_row_in_either_mode(table):
    assert list(table.columns) == COLUMNS
    assert len(table) == 2 * len(PUBLISHED_RESULTS)
    assert not table.duplicated(["population", "regimen", "quantity", "mode"]).any()
    assert set(table["regimen"]) == set(SIMULATED_ARMS)
    assert table["simulated"].notna().all()
    assert (table["p5"] <= table["simulated"]).all()
    assert (table["simulated"] <= table["p95"]).all()


def test_with_individuals_held_published_intervals_hold_our_medians(table):
    """Median PFS of all patients, at a fixed seed: the units, forms and readings of the publication are right."""
    rows = table[(table["mode"] == "held") & (table["quantity"] == "median_pfs_weeks")]
    assert len(rows) == 8
    assert rows["simulated"].between(rows["published_p5"], rows["published_p95"]).all()


def test_held_individuals_have_one_m_protein_curve(table):
    falls = table[table["quantity"] == "week8_fall_percent"].set_index("mode")
    assert (falls.loc["held", "p5"] == falls.loc["held", "p95"]).all()
    assert (falls.loc["fresh", "p5"] < falls.loc["fresh", "p95"]).all()
    held = falls.loc["held"].set_index(["population", "regimen"])["simulated"]
    low, standard, dex = SIMULATED_ARMS[:3]
    assert 0 < held["all", low] < held["all", standard] < held["all", dex] < 100


def test_hazard_ratios_are_those_of_the_better_against_the_worse(table):
    ratios = table[table["quantity"] == "hazard_ratio"]
    assert len(ratios) == 2 * 7
    assert (ratios["simulated"] < 1.0).all()
    assert (ratios["published"] < 1.0).all()


def test_from_a_posterior(small, fit):
    carried = fit.copy()
    carried["trial"] = xr.DataTree(trial_dataset(small.trial))
    carried.attrs["spec"] = "{}"
    seen = []
    table = reproduce(carried, n_trials=2, seed=1, progress=lambda done, total: seen.append((done, total)))
    assert sorted(seen) == [(1, 4), (2, 4), (3, 4), (4, 4)]
    everyone = table[table["population"] == "all"]
    assert len(everyone) == 2 * 15
    assert np.isfinite(everyone["simulated"]).all()
    held = everyone[(everyone["mode"] == "held") & (everyone["quantity"] == "week8_fall_percent")]
    assert (held["p5"] < held["p95"]).all()  # parameters differ between trials


def test_patients_of_unknown_study(small, fit):
    from dataclasses import replace

    from bayes_isa.data.covariates import PUBLISHED_COVARIATES

    assert "japanese_study" in PUBLISHED_COVARIATES["M0"]
    patients = small.trial.patients.drop(columns="japanese_study")
    carried = fit.copy()
    carried["trial"] = xr.DataTree(trial_dataset(replace(small.trial, patients=patients)))
    carried.attrs["spec"] = "{}"
    with pytest.raises(DataError, match="no column 'japanese_study'"):
        reproduce(carried, n_trials=1)
