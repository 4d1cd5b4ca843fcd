"""Events between visits and delayed entry in pfs.csv and in event files: read, written, checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayes_isa.data import read_nonmem, read_trial, trial_from_tables, write_nonmem, write_trial
from bayes_isa.data.trial import Trial

NAN = float("nan")


@pytest.fixture
def every_kind(frames) -> dict[str, pd.DataFrame]:
    """An interval, a late entry, and an interval from day 0."""
    frames["pfs"] = pd.DataFrame(
        {
            "id": ["001", "002", "003"],
            "day": [NAN, 160.0, 28.0],
            "event": [1, 0, 1],
            "day_lower": [56.0, NAN, 0.0],
            "day_upper": [84.0, NAN, 28.0],
            "entry_day": [NAN, 12.5, NAN],
        }
    )
    return frames


def test_days_of_every_kind(every_kind) -> None:
    trial = trial_from_tables(**every_kind)
    assert trial.pfs["day"].tolist() == [84.0, 160.0, 28.0]
    assert trial.interval_censored.tolist() == [True, False, True]
    assert trial.progression_free_day.tolist() == [56.0, 160.0, 0.0]
    assert trial.entry_day.tolist() == [0.0, 12.5, 0.0]
    assert not trial.warnings


def test_without_the_columns_there_is_neither(frames) -> None:
    trial = trial_from_tables(**frames)
    assert list(trial.pfs.columns) == ["day", "event"]
    assert not trial.interval_censored.any()
    assert not trial.entry_day.any()
    np.testing.assert_array_equal(trial.progression_free_day, trial.pfs["day"])


def same(ours: Trial, theirs: Trial) -> None:
    pd.testing.assert_frame_equal(ours.pfs, theirs.pfs[ours.pfs.columns])


def test_files_read_back(every_kind, tmp_path: Path) -> None:
    trial = trial_from_tables(**every_kind)
    write_trial(trial, tmp_path)
    same(trial, read_trial(tmp_path))
    write_nonmem(trial, tmp_path / "events.csv")
    again = read_nonmem(tmp_path / "events.csv")
    same(trial, again)
    assert any("2 events come after a visit without progression" in w.message for w in again.warnings)


def test_event_files_without_late_entry_have_no_such_column(frames, tmp_path: Path) -> None:
    write_nonmem(trial_from_tables(**frames), tmp_path / "events.csv")
    assert "ENTRY" not in (tmp_path / "events.csv").read_text().splitlines()[0]


def test_entry_in_hours(every_kind, tmp_path: Path) -> None:
    trial = trial_from_tables(**every_kind)
    write_nonmem(trial, tmp_path / "events.csv")
    rows = pd.read_csv(tmp_path / "events.csv", dtype=str)
    for column in ("TIME", "ENTRY"):
        hours = pd.to_numeric(rows[column], errors="coerce") * 24.0
        rows[column] = hours.map(str).where(hours.notna(), ".")
    rate = pd.to_numeric(rows["RATE"], errors="coerce") / 24.0
    rows["RATE"] = rate.map(str).where(rate.notna(), ".")
    rows.to_csv(tmp_path / "hours.csv", index=False)
    same(trial, read_nonmem(tmp_path / "hours.csv", time_unit="hour"))


WRONG = [
    (0, {"day_lower": 90.0}, ["day_lower is 90, not before day_upper, 84"]),
    (0, {"day_lower": 84.0}, ["day_lower is 84, not before day_upper, 84"]),
    (0, {"day_lower": NAN}, ["day_upper is 84 but day_lower is missing"]),
    (0, {"day_upper": NAN}, ["day is missing", "day_lower is 56 but day_upper is missing"]),
    (0, {"day": 70.0}, ["day is 70 but progression was seen on day_upper, 84"]),
    (0, {"event": 0}, ["day_upper is 84 but the patient is censored"]),
    (0, {"entry_day": 60.0}, ["entry_day is 60, after the last visit without progression, 56"]),
    (1, {"entry_day": 160.0}, ["entry_day is 160, not before PFS ends on day 160"]),
    (1, {"entry_day": -1.0}, ["entry_day is -1, negative"]),
    (1, {"day": NAN}, ["day is missing"]),
    (2, {"day_lower": -28.0}, ["day_lower is -28, negative"]),
]


@pytest.mark.parametrize(("row", "change", "messages"), WRONG, ids=[f"{c}" for _, c, _ in WRONG])
def test_each_impossible_record_is_named(every_kind, errors_of, row, change, messages) -> None:
    for column, value in change.items():
        every_kind["pfs"].loc[row, column] = value
    found = errors_of(every_kind)
    assert len(list(_found(found, messages))) == len(found)
    assert {(p.row, p.patient) for p in found} == {(row + 2, f"00{row + 1}")}


def _found(problems, messages):
    for fragment in messages:
        yield next(p.message for p in problems if fragment in p.message)


def test_all_problems_at_once(every_kind, errors_of) -> None:
    pfs = every_kind["pfs"]
    pfs.loc[0, "day_lower"], pfs.loc[1, "entry_day"], pfs.loc[2, "event"] = 90.0, 200.0, 0
    assert {p.row for p in errors_of(every_kind)} == {2, 3, 4}


def test_an_interval_needs_both_columns(every_kind, errors_of) -> None:
    every_kind["pfs"] = every_kind["pfs"].drop(columns="day_lower")
    assert any("day_upper without day_lower" in p.message for p in errors_of(every_kind))


def test_when_everyone_enters_late_it_is_said(every_kind) -> None:
    every_kind["pfs"]["entry_day"] = [5.0, 12.5, 0.0]
    assert not trial_from_tables(**every_kind).warnings
    every_kind["pfs"].loc[2, ["entry_day", "day_lower"]] = [2.0, 3.0]
    assert any(
        "every patient enters late, the first on day 2" in w.message
        for w in trial_from_tables(**every_kind).warnings
    )
