"""`bayes-isa check`: every way a data set can be wrong, told with its place and remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import MPROTEIN, TABLES, Cli

Spoil = Callable[[str, str, str], Path]


def test_a_sound_data_set_passes(cli: Cli, data: Path) -> None:
    result = cli("check", data)
    assert result.exit_code == 0
    assert "No errors" in result.stdout
    assert "3 patients" in result.stdout


# what is wrong: table, old text, new text, and what the message must hold
SPOILED = {
    "text in a number": ("mprotein", "001,28,20", "001,28,<5", ["mprotein.csv, row 3, patient 001", "'<5'"]),
    "a comma for a point": ("mprotein", "001,28,20,", '001,28,"20,5",', ["row 3", "decimal point"]),
    "a date": ("mprotein", "001,28,", "001,2019-03-01,", ["row 3, patient 001", "not as a date"]),
    "negative time": ("mprotein", "001,28,", "001,-28,", ["row 3, patient 001", "before the start"]),
    "repeated time": ("mprotein", "001,56,", "001,28,", ["row 4, patient 001", "Keep one"]),
    "unknown id": ("pfs", "003,35", "033,35", ["pfs.csv, row 4, patient 033", "not in patients.csv"]),
    "repeated id": ("patients", "002,A", "001,A", ["patients.csv, row 3", "already given in row 2"]),
    "a missing column": ("mprotein", "value_g_per_l", "level", ["mprotein.csv", "value_g_per_l"]),
    "no baseline": ("mprotein", "003,0,40", "003,7,40", ["patient 003", "no baseline M-protein"]),
    "zero duration": ("doses", "700,3.7", "700,0", ["doses.csv, row 2, patient 001", "duration_h"]),
    "albumin in g/dL": ("patients", "35,70", "3.5,70", ["patient 001", "albumin_g_per_l", "g/dL"]),
    "a value of zero": ("mprotein", "001,28,20", "001,28,0", ["row 3, patient 001", "below_lloq"]),
    "unknown drug": ("doses", "dexamethasone", "dexamethason", ["row 5", "Did you mean 'dexamethasone'"]),
    "no time on study": ("pfs", "003,35", "003,0", ["pfs.csv, row 4, patient 003", "not after day 0"]),
    "neither 0 nor 1": ("pfs", "003,35,1", "003,35,2", ["pfs.csv, row 4, patient 003"]),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_fault_is_told_with_place_and_remedy(cli: Cli, spoil: Spoil, case: str) -> None:
    table, old, new, fragments = SPOILED[case]
    result = cli("check", spoil(table, old, new))
    for fragment in fragments:
        assert fragment in result.output
    told_as_warning = result.exit_code == 0 and "Warnings:" in result.stdout
    assert result.exit_code == 1 or (case == "albumin in g/dL" and told_as_warning)


def test_event_before_the_first_dose(cli: Cli, spoil: Spoil) -> None:
    directory = spoil("doses", "003,isatuximab,0", "003,isatuximab,50")
    result = cli("check", directory)
    assert result.exit_code == 1
    assert "pfs.csv, row 4, patient 003: PFS ends on day 35, before the first dose on day 50" in result.output


def test_everything_below_the_limit(cli: Cli, data: Path) -> None:
    header, *rows = MPROTEIN.splitlines()
    below = [",".join([*row.split(",")[:2], "0.5", "0.5", "1"]) for row in rows]
    (data / "mprotein.csv").write_text("\n".join([header, *below]))
    result = cli("check", data)
    assert result.exit_code == 1
    assert "all 7 measurements are below the limit of quantification" in result.stdout


def only_first_patient(text: str) -> str:
    header, *rows = text.splitlines()
    return "\n".join([header, *(row for row in rows if row.startswith("001"))])


def test_one_patient_and_no_events_are_warnings(cli: Cli, data: Path) -> None:
    for table, text in TABLES.items():
        (data / f"{table}.csv").write_text(only_first_patient(text).replace("200,1", "200,0"))
    result = cli("check", data)
    assert result.exit_code == 0
    assert "one patient only" in result.stdout
    assert "no patient has an event" in result.stdout


@pytest.mark.parametrize("keep_header", [True, False])
def test_an_empty_data_set(cli: Cli, data: Path, keep_header: bool) -> None:
    for table, text in TABLES.items():
        (data / f"{table}.csv").write_text(text.splitlines()[0] if keep_header else "")
    result = cli("check", data)
    assert result.exit_code == 1
    assert "patients.csv" in result.stdout
    assert ("holds no patients" if keep_header else "is empty") in result.stdout


def test_missing_files(cli: Cli, data: Path) -> None:
    (data / "pfs.csv").rename(data / "PFS_final.csv")
    (data / "doses.csv").unlink()
    result = cli("check", data)
    assert result.exit_code == 1
    assert "pfs.csv: is missing" in result.stdout
    assert "doses.csv: is missing" in result.stdout


def test_a_missing_directory(cli: Cli, tmp_path: Path) -> None:
    result = cli("check", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "does not exist" in result.output
    assert "patients.csv" in result.output


@pytest.mark.parametrize("content", [b"\x00\x01\xff\xfe" * 50, b"", b"hello\n", b"PK\x03\x04 a spreadsheet"])
def test_a_file_that_is_no_table(cli: Cli, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "data.xlsx"
    file.write_bytes(content)
    result = cli("check", file)
    assert result.exit_code == 1
    assert "data.xlsx" in result.output


@pytest.mark.parametrize("content", [b"\x00\x01\xff\xfe" * 50, b"id;day\n1;2\n", b'id,arm\n"001,A\n'])
def test_a_table_that_is_not_csv(cli: Cli, data: Path, content: bytes) -> None:
    (data / "patients.csv").write_bytes(content)
    result = cli("check", data)
    assert result.exit_code == 1
    assert "patients.csv" in result.stdout


def test_all_problems_at_once_and_remedies_once(cli: Cli, spoil: Spoil) -> None:
    spoil("mprotein", "001,28,20", "001,28,-20")
    spoil("mprotein", "003,28,45", "003,28,-45")
    spoil("pfs", "003,35,1", "003,-35,1")
    result = cli("check", spoil("doses", "800", "-800"))
    assert result.exit_code == 1
    for place in ("row 3, patient 001", "row 8, patient 003", "pfs.csv, row 4", "doses.csv, row 4"):
        assert place in result.stdout
    assert result.stdout.count("set below_lloq to 1") == 1


def test_json_holds_every_problem(cli: Cli, spoil: Spoil) -> None:
    result = cli("check", spoil("mprotein", "001,28,20", "001,28,-20"), "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["ok"] is False
    (problem,) = document["errors"]
    assert (problem["file"], problem["row"], problem["patient"]) == ("mprotein.csv", 3, "001")
    assert problem["remedy"]


def test_json_of_a_sound_data_set(cli: Cli, data: Path) -> None:
    document = json.loads(cli("check", data, "--json").stdout)
    assert document["ok"] is True
    assert document["errors"] == []


EVENT_FILE = """\
ID,TIME,EVID,AMT,DUR,ADM,CONC,DVID
1,0,1,700,3.7,1,.,.
1,0,0,.,.,.,30,1
1,28,0,.,.,.,20,1
1,200,0,.,.,.,1,2
2,0,1,700,3.7,1,.,.
2,0,0,.,.,.,31,1
2,100,0,.,.,.,0,2
"""


def test_an_event_file_with_a_renamed_column(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text(EVENT_FILE)
    assert cli("check", file).exit_code == 1
    result = cli("check", file, "--column", "DV=CONC")
    assert result.exit_code == 0, result.output
    assert "2 patients" in result.stdout


def test_a_renaming_that_makes_no_sense(cli: Cli, tmp_path: Path, data: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text(EVENT_FILE)
    result = cli("check", file, "--column", "CONC")
    assert result.exit_code == 2
    assert "DV=CONC" in result.output
    result = cli("check", data, "--column", "DV=CONC")
    assert result.exit_code == 2
    assert "event files" in result.output
