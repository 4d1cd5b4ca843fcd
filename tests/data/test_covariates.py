"""Covariates by name, their coding, and what cannot be estimated."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_isa.data import (
    PUBLISHED_COVARIATES,
    Trial,
    available_covariates,
    design_matrix,
    trial_from_tables,
)
from bayes_isa.errors import DataError


@pytest.fixture
def trial(frames) -> Trial:
    frames["patients"] = frames["patients"].assign(
        b2m_mg_per_l=[3.0, 5.0, 4.0],
        ldh=[200.0, 400.0, 800.0],
        cytogenetics=["high", None, "standard"],
        ecog=[0, 1, 2],
    )
    frames["patients"]["igg"] = [1.0, 0.0, np.nan]
    frames["patients"]["albumin_g_per_l"] = [30.0, np.nan, 40.0]
    return trial_from_tables(**frames)


def column(trial: Trial, name: str, **keywords) -> list[float]:
    return design_matrix(trial, [name], **keywords).sel(covariate=name).values.tolist()


def test_codings(trial) -> None:
    assert column(trial, "log_ldh") == pytest.approx(np.log([0.5, 1.0, 2.0]))
    assert column(trial, "log_baseline_m") == pytest.approx(np.log([30 / 30, 25 / 30, 40 / 30]))
    assert column(trial, "b2m") == [-1.0, 1.0, 0.0]
    assert column(trial, "dexamethasone") == [0.0, 1.0, 0.0]
    assert column(trial, "arm=B") == [0.0, 0.0, 1.0]
    assert column(trial, "ecog=2") == [0.0, 0.0, 1.0]


def test_labels_centers_and_order(trial) -> None:
    matrix = design_matrix(trial, ["log_ldh", "b2m"])
    assert matrix.dims == ("patient", "covariate")
    assert matrix["patient"].values.tolist() == ["001", "002", "003"]
    assert matrix["covariate"].values.tolist() == ["log_ldh", "b2m"]
    assert matrix.attrs == {"centers": {"log_ldh": 400.0, "b2m": 4.0}, "imputed": {}}


def test_centers_can_be_given(trial) -> None:
    assert column(trial, "log_ldh", centers={"log_ldh": 200.0}) == pytest.approx(np.log([1, 2, 4]))


def test_missing_continuous_is_the_median(trial) -> None:
    matrix = design_matrix(trial, ["log_albumin"])
    assert matrix.values[1, 0] == 0.0
    assert matrix.attrs["imputed"] == {"log_albumin": ("002",)}
    assert matrix.attrs["centers"] == {"log_albumin": 35.0}


def test_missing_flag_and_text_get_a_level_of_their_own(trial) -> None:
    matrix = design_matrix(trial, ["non_igg", "cytogenetics=high", "cytogenetics=standard"])
    assert matrix["covariate"].values.tolist() == [
        "non_igg",
        "cytogenetics=high",
        "cytogenetics=standard",
        "non_igg_missing",
        "cytogenetics_missing",
    ]
    assert matrix.sel(covariate="non_igg").values.tolist() == [0.0, 1.0, 0.0]
    assert matrix.sel(covariate="non_igg_missing").values.tolist() == [0.0, 0.0, 1.0]
    assert matrix.sel(covariate="cytogenetics_missing").values.tolist() == [0.0, 1.0, 0.0]


def test_other_patients_are_coded_alike(trial) -> None:
    first = design_matrix(trial, ["log_albumin", "non_igg", "cytogenetics=high"])
    names = first["covariate"].values.tolist()
    again = design_matrix(trial.subset(["002"]), names, centers=first.attrs["centers"])
    assert again["covariate"].values.tolist() == names
    np.testing.assert_array_equal(again.values[0], first.sel(patient="002").values)


def test_no_covariates_is_an_empty_matrix(trial) -> None:
    assert design_matrix(trial, []).shape == (3, 0)


def test_unknown_name_says_what_exists(trial) -> None:
    with pytest.raises(DataError) as caught:
        design_matrix(trial, ["log_albumn"])
    text = str(caught.value)
    assert "Did you mean 'log_albumin'?" in text
    assert "cytogenetics" in text


def test_every_coding_problem_at_once(trial) -> None:
    with pytest.raises(DataError) as caught:
        design_matrix(trial, ["plasmacytoma", "ecog", "log_ecog", "cytogenetics", "cytogenetics=low"])
    said = [str(problem) for problem in caught.value.problems]
    for text, fragment in zip(
        said,
        [
            "no column 'plasmacytoma'",
            "Use 'log_ecog'",
            "is 0 for patient 001",
            "'cytogenetics=high'",
            "'low'",
        ],
        strict=True,
    ):
        assert fragment in text


def test_available_covariates_give_reasons(trial) -> None:
    names = [name for names in PUBLISHED_COVARIATES.values() for name in names]
    present, absent = available_covariates(trial.subset(["001", "003"]), [*names, "cytogenetics_missing"])
    assert present == ("log_albumin", "log_baseline_m")
    assert absent["plasmacytoma"] == "the patients have no column plasmacytoma"
    assert absent["non_igg"] == "igg is the same for every patient (1)"
    assert absent["dexamethasone"] == "any dexamethasone dose is the same for every patient (0)"
    assert absent["cytogenetics_missing"] == "cytogenetics is given for every patient"
