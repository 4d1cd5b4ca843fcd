"""A fit on disk gives back its draws, trial, specification and priors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayes_isa.data import Trial, trial_from_tables
from bayes_isa.errors import ModelError, Problem
from bayes_isa.inference.storage import (
    FORMAT,
    load_fit,
    priors_of,
    require_writable,
    save_fit,
    spec_of,
    stack_draws,
    trial_dataset,
    trial_of,
)
from bayes_isa.model.priors import Prior, load_priors
from bayes_isa.model.spec import ModelSpec


@pytest.fixture
def trial() -> Trial:
    """Two patients whose ids, texts and numbers are easy to lose on the way."""
    patients = pd.DataFrame(
        {
            "id": ["001", "NA-2"],
            "arm": ["20 mg/kg, weekly", 'the "other"'],
            "albumin_g_per_l": [1.0 / 3.0 * 100.0, np.nan],
            "igg": [1, 0],
        }
    )
    doses = pd.DataFrame(
        {
            "id": ["001", "NA-2"],
            "drug": ["isatuximab", "isatuximab"],
            "day": [0.0, 0.0],
            "amount_mg": [700.0, 0.1 + 0.2],
            "duration_h": [3.7, 1.25],
        }
    )
    mprotein = pd.DataFrame(
        {
            "id": ["001", "001", "NA-2", "NA-2"],
            "day": [0.0, 28.0, 0.0, np.nextafter(28.0, 29.0)],
            "value_g_per_l": [30.0, 0.5, 25.0, 1e-3],
            "lloq_g_per_l": [0.5, 0.5, 0.5, 1e-4],
            "below_lloq": [0, 1, 0, 0],
        }
    )
    pfs = pd.DataFrame({"id": ["001", "NA-2"], "day": [200.0, 99.123456789012345], "event": [1, 0]})
    return trial_from_tables(patients, doses, mprotein, pfs, name="odd names")


def make_fit(trial: Trial, spec: ModelSpec | None = None) -> xr.DataTree:
    """What `bayes_isa.fit` returns, without the sampling."""
    draws = np.random.default_rng(1).normal(size=(2, 5))
    posterior = xr.Dataset({"KL_pop": (("chain", "draw"), draws, {"units": "1/day"})})
    stats = xr.Dataset({"diverging": (("chain", "draw"), draws > 9)})
    tree = xr.DataTree.from_dict(
        {"posterior": posterior, "sample_stats": stats, "trial": trial_dataset(trial)}
    )
    priors = load_priors("weakly_informative").with_(KL_pop=Prior("LogNormal", {"mu": -5.0, "sigma": 0.3}))
    tree.attrs = {
        "bayes_isa_format": FORMAT,
        "spec": json.dumps((spec or ModelSpec()).to_dict()),
        "priors": json.dumps(priors.to_dict()),
    }
    return tree


def test_a_saved_fit_comes_back(trial: Trial, tmp_path: Path) -> None:
    fit = make_fit(trial)
    assert save_fit(fit, tmp_path / "fit.nc") == tmp_path / "fit.nc"
    loaded = load_fit(tmp_path / "fit.nc")
    xr.testing.assert_identical(loaded["posterior"].to_dataset(), fit["posterior"].to_dataset())
    assert loaded.attrs == fit.attrs


def test_saving_replaces_an_older_fit(trial: Trial, tmp_path: Path) -> None:
    for _ in range(2):
        save_fit(make_fit(trial), tmp_path / "fit.nc")
    assert "posterior" in load_fit(tmp_path / "fit.nc").children


def test_the_trial_comes_back_to_the_last_digit(trial: Trial, tmp_path: Path) -> None:
    save_fit(make_fit(trial), tmp_path / "fit.nc")
    stored = trial_of(load_fit(tmp_path / "fit.nc"))
    assert stored.name == trial.name
    for table in ("patients", "doses", "mprotein", "pfs"):
        pd.testing.assert_frame_equal(getattr(stored, table), getattr(trial, table), check_exact=True)
    pd.testing.assert_series_equal(stored.baseline_mprotein, trial.baseline_mprotein)


def test_what_the_checks_warned_of_comes_back(trial: Trial, tmp_path: Path) -> None:
    warned = replace(
        trial, warnings=(Problem("dose of 0 mg", "Check it", file="doses.csv", row=7), Problem("none"))
    )
    save_fit(make_fit(warned), tmp_path / "fit.nc")
    assert trial_of(load_fit(tmp_path / "fit.nc")).warnings == warned.warnings


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(),
        ModelSpec(link="value", hazard="weibull", exposure="constant", tolerance=1e-4),
        ModelSpec(covariates={"M0": ("non_igg", "log_albumin"), "hazard": ()}),
    ],
)
def test_the_specification_comes_back(trial: Trial, spec: ModelSpec, tmp_path: Path) -> None:
    save_fit(make_fit(trial, spec), tmp_path / "fit.nc")
    assert spec_of(load_fit(tmp_path / "fit.nc")) == spec


def test_the_priors_come_back(trial: Trial, tmp_path: Path) -> None:
    fit = make_fit(trial)
    save_fit(fit, tmp_path / "fit.nc")
    stored = priors_of(load_fit(tmp_path / "fit.nc"))
    assert stored.to_dict() == json.loads(fit.attrs["priors"])
    assert stored.parameters["KL_pop"].kwargs == {"mu": -5.0, "sigma": 0.3}


def test_stacking_keeps_every_draw_in_order(trial: Trial) -> None:
    posterior = make_fit(trial)["posterior"].to_dataset()
    stacked = stack_draws(posterior)
    assert stacked.sizes == {"sample": 10}
    np.testing.assert_array_equal(stacked["KL_pop"], posterior["KL_pop"].to_numpy().ravel())


def test_an_absent_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such file.*bayes-isa fit"):
        load_fit(tmp_path / "fit.nc")


@pytest.mark.parametrize("content", [b"", b"id,day\n1,2\n", b"\x89HDF\r\n\x1a\n" + b"\0" * 100])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "fit.nc"
    file.write_bytes(content)
    with pytest.raises(ModelError, match="expected a netCDF file written by bayes_isa"):
        load_fit(file)


def test_a_netcdf_file_that_is_no_fit_is_refused(tmp_path: Path) -> None:
    xr.Dataset({"x": ("a", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ModelError, match="not a fit"):
        load_fit(tmp_path / "other.nc")


def test_a_fit_of_a_newer_version_is_refused(trial: Trial, tmp_path: Path) -> None:
    fit = make_fit(trial)
    fit.attrs |= {"bayes_isa_format": FORMAT + 1, "bayes_isa": "99.0"}
    save_fit(fit, tmp_path / "fit.nc")
    with pytest.raises(ModelError, match=r"newer bayes_isa \(99.0\)"):
        load_fit(tmp_path / "fit.nc")


@pytest.mark.parametrize("read", [trial_of, spec_of, priors_of])
def test_a_fit_of_another_model_says_what_it_lacks(read) -> None:
    with pytest.raises(ModelError, match="this fit carries no"):
        read(xr.DataTree.from_dict({"posterior": xr.Dataset({"x": ("chain", [1.0])})}))


def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such directory"):
        require_writable(tmp_path / "nowhere" / "fit.nc")
    with pytest.raises(ModelError, match="found a directory"):
        require_writable(tmp_path)


def test_the_check_of_a_place_leaves_no_trace(tmp_path: Path) -> None:
    require_writable(tmp_path / "fit.nc")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "kept.nc").write_text("kept")
    require_writable(tmp_path / "kept.nc")
    assert (tmp_path / "kept.nc").read_text() == "kept"
