"""The directory of CSV files: what is no table, where things are missing, real data."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bayes_isa.data import read_trial, trial_from_tables, write_trial
from bayes_isa.errors import DataError

REAL_DATA = Path(__file__).parents[2].parent / "shared" / "data" / "colorectal"


@pytest.fixture
def directory(frames, tmp_path) -> Path:
    write_trial(trial_from_tables(**frames), tmp_path / "study")
    return tmp_path / "study"


def problems(path: Path) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_trial(path)
    return [str(problem) for problem in caught.value.problems]


def test_round_trip_keeps_values_and_ids(frames, directory) -> None:
    trial, again = trial_from_tables(**frames), read_trial(directory)
    assert again.name == "study"
    assert list(again.patients.index) == ["001", "002", "003"]
    for name in frames:
        pd.testing.assert_frame_equal(getattr(trial, name), getattr(again, name))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "mprotein.csv: is empty"),
        (b" \n\n", "mprotein.csv: is empty"),
        (b"PK\x03\x04rest", "mprotein.csv: is not CSV but a zip archive or a spreadsheet"),
        (b"id\0day", "mprotein.csv: is not CSV but a binary file"),
        (b"<!DOCTYPE html><html>", "mprotein.csv: is not CSV but HTML"),
        ("id,day\n1,2".encode("utf-16"), "mprotein.csv: is not UTF-8 text (it is UTF-16)"),
        (b"id,day\nJos\xe9,1\n", "mprotein.csv, row 2: is not UTF-8 text (byte 0xe9)"),
        (b"id;day\n1;0,5\n", "mprotein.csv, row 1: is not comma-separated"),
    ],
)
def test_a_file_that_is_no_table(directory, content, message) -> None:
    (directory / "mprotein.csv").write_bytes(content)
    (found,) = problems(directory)
    assert found.startswith(message)


def test_missing_files_are_all_named(directory) -> None:
    (directory / "doses.csv").unlink()
    (directory / "pfs.csv").rename(directory / "PFS_.csv")
    found = problems(directory)
    assert len(found) == 2
    assert "header line alone: id,drug,day,amount_mg,duration_h" in found[0]
    assert "pfs.csv: is missing. Rename 'PFS_.csv'" in found[1]


def test_no_directory(tmp_path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_trial(tmp_path / "nowhere")
    (tmp_path / "events.csv").write_text("ID,TIME\n")
    with pytest.raises(DataError, match="read_nonmem"):
        read_trial(tmp_path / "events.csv")


def test_rows_are_lines_of_the_file(directory) -> None:
    path = directory / "pfs.csv"
    path.write_text('id,day,event\n\n001,200,1\n\n"002",abc,0\n003,35,2\n')
    assert problems(directory) == [
        "pfs.csv, row 5, patient 002: day is 'abc', not a number. Give a number",
        "pfs.csv, row 6, patient 003: event is '2', neither 0 nor 1. Give 0 or 1 "
        "(1: progression or death, 0: censored)",
    ]


def test_rows_of_the_wrong_length(directory) -> None:
    path = directory / "pfs.csv"
    path.write_text("id,day,event\n001,200,1,,\n002,150\n003,35,1,x\n")
    found = problems(directory)
    assert "pfs.csv, row 3: has 2 cells where the header has 3" in found[0]
    assert "pfs.csv, row 4: has 4 cells where the header has 3" in found[1]


def test_blanks_around_column_names_windows_lines_and_a_byte_order_mark(directory) -> None:
    path = directory / "pfs.csv"
    path.write_bytes("\ufeffid, day , event\r\n001,200, 1\r\n002,150,0\r\n003,35,1\r\n".encode())
    assert read_trial(directory).pfs["day"].tolist() == [200.0, 150.0, 35.0]


def test_the_id_na_is_a_patient(directory) -> None:
    for path in directory.glob("*.csv"):
        path.write_text(path.read_text().replace("001", "NA"))
    assert read_trial(directory).patients.index[0] == "NA"


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"the real data set is not at {REAL_DATA}")
def test_real_data_reads_with_sensible_warnings() -> None:
    trial = read_trial(REAL_DATA)
    assert (trial.n_patients, trial.n_measurements) == (150, 906)
    assert len(trial.doses) == 0
    assert trial.mprotein["below_lloq"].sum() == 34
    end = trial.mprotein["id"].map(trial.pfs["day"])
    assert (trial.mprotein["day"] > end).sum() == 180
    assert {warning.message for warning in trial.warnings} == {"no M-protein measurement after baseline"}
    assert len(trial.warnings) == 15
