"""Trial: its shapes, its baseline, its subsets, and its independence from row order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bayes_isa.data import trial_from_tables
from bayes_isa.errors import DataError


def test_tables_are_typed_and_aligned(frames) -> None:
    trial = trial_from_tables(**frames, name="small")
    assert list(trial.patients.index) == ["001", "002", "003"]
    assert trial.patients.index.name == trial.pfs.index.name == "id"
    assert list(trial.pfs.index) == list(trial.patients.index)
    assert trial.pfs["event"].dtype == trial.mprotein["below_lloq"].dtype == bool
    assert list(trial.doses.columns) == ["id", "drug", "day", "amount_mg", "duration_h"]
    assert (trial.n_patients, trial.n_measurements) == (3, 7)
    assert repr(trial) == (
        "Trial 'small': 3 patients, 7 measurements (1 below LLOQ), 2 PFS events, "
        "doses: 4 isatuximab, 1 dexamethasone, 0 warnings"
    )


def test_input_is_left_alone(frames) -> None:
    frames["patients"] = frames["patients"].assign(ldh=[210.0, 220.0, 230.0])
    before = {name: frame.copy(deep=True) for name, frame in frames.items()}
    trial = trial_from_tables(**frames)
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(frame, before[name])
    assert list(trial.patients["ldh"]) == [210.0, 220.0, 230.0]


def test_a_trial_is_made_again_from_its_own_tables(frames) -> None:
    trial = trial_from_tables(**frames)
    again = trial_from_tables(trial.patients, trial.doses, trial.mprotein, trial.pfs)
    pd.testing.assert_frame_equal(again.patients, trial.patients)
    pd.testing.assert_frame_equal(again.mprotein, trial.mprotein)


def test_value_below_lloq_becomes_the_limit(frames) -> None:
    frames["mprotein"].loc[4, "value_g_per_l"] = np.nan
    rows = trial_from_tables(**frames).mprotein
    assert rows.loc[rows["below_lloq"], "value_g_per_l"].tolist() == [0.5]


def test_baseline_is_the_last_value_at_or_before_the_first_dose(frames) -> None:
    frames["doses"].loc[frames["doses"]["id"] == "001", "day"] += 28.0
    baseline = trial_from_tables(**frames).baseline_mprotein
    assert baseline.to_dict() == {"001": 20.0, "002": 25.0, "003": 40.0}


def test_baseline_without_doses_is_day_0(frames) -> None:
    frames["doses"] = frames["doses"].iloc[:0]
    assert trial_from_tables(**frames).baseline_mprotein.tolist() == [30.0, 25.0, 40.0]


def test_last_day_is_of_measurements_or_pfs(frames) -> None:
    frames["mprotein"].loc[6, "day"] = 84.0  # after progression on day 35
    np.testing.assert_array_equal(trial_from_tables(**frames).last_day, [200.0, 160.0, 84.0])


def test_ids_are_text_as_given(frames) -> None:
    numbers = {name: frame.assign(id=frame["id"].astype(int)) for name, frame in frames.items()}
    assert list(trial_from_tables(**numbers).patients.index) == ["1", "2", "3"]


def test_flags_may_be_booleans(frames) -> None:
    frames["pfs"]["event"] = [True, False, True]
    frames["mprotein"]["below_lloq"] = frames["mprotein"]["below_lloq"].map({0: "False", 1: "TRUE"})
    frames["patients"]["igg"] = [True, False, True]
    trial = trial_from_tables(**frames)
    assert trial.pfs["event"].tolist() == [True, False, True]
    assert trial.mprotein["below_lloq"].sum() == 1
    assert trial.patients["igg"].tolist() == [1.0, 0.0, 1.0]


def test_blank_duration_of_dexamethasone_is_oral(frames) -> None:
    frames["doses"].loc[3, "duration_h"] = np.nan
    doses = trial_from_tables(**frames).doses
    assert doses.loc[doses["drug"] == "dexamethasone", "duration_h"].tolist() == [0.0]


def test_subset_keeps_the_order_asked_for(frames) -> None:
    part = trial_from_tables(**frames).subset(["003", "001"])
    assert list(part.patients.index) == list(part.pfs.index) == ["003", "001"]
    assert part.mprotein["id"].unique().tolist() == part.doses["id"].unique().tolist() == ["003", "001"]


def test_subset_refuses_unknown_and_repeated_ids(frames) -> None:
    with pytest.raises(DataError) as caught:
        trial_from_tables(**frames).subset(["01", "002", "002"])
    said = [str(problem) for problem in caught.value.problems]
    assert said == [
        "patient 01: no such patient. Did you mean '001'?",
        "patient 002: asked for more than once",
    ]


def test_patients_without_follow_up_can_be_left_out(frames) -> None:
    frames["mprotein"] = frames["mprotein"].iloc[:6]
    kept = trial_from_tables(**frames)
    assert kept.n_patients == 3
    assert [warning.patient for warning in kept.warnings] == ["003"]
    smaller = trial_from_tables(**frames, exclude_without_followup=True)
    assert list(smaller.patients.index) == ["001", "002"]
    assert "1 patients without a measurement after baseline are left out: 003" in smaller.warnings[-1].message


def test_nobody_with_follow_up_is_an_error(frames) -> None:
    frames["mprotein"] = frames["mprotein"].query("day == 0")
    with pytest.raises(DataError, match="Nothing is left"):
        trial_from_tables(**frames, exclude_without_followup=True)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_row_order_does_not_matter(frames, seed) -> None:
    rng = np.random.default_rng(seed)
    shuffled = {name: frame.iloc[rng.permutation(len(frame))] for name, frame in frames.items()}
    trial, other = trial_from_tables(**frames), trial_from_tables(**shuffled)
    other = other.subset(trial.patients.index)
    for name in frames:
        pd.testing.assert_frame_equal(getattr(trial, name), getattr(other, name))
