"""The event file: its conventions, one by one, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from bayes_isa.data import Trial, read_nonmem, trial_from_tables, write_nonmem
from bayes_isa.errors import DataError

HEADER = "ID,TIME,EVID,AMT,RATE,DUR,II,ADDL,SS,CMT,DV,DVID,CENS,LIMIT,MDV,LLOQ,ALB"
LINES = [
    HEADER,
    "001,0,0,.,.,.,.,.,.,.,30,1,0,.,0,0.5,35",
    "001,0,1,700,.,3.5,7,3,0,1,.,.,.,.,1,.,35",
    "001,28,0,.,.,.,.,.,.,.,0.5,1,1,0,0,0.5,35",
    "001,100,0,.,.,.,.,.,.,.,1,2,.,.,0,.,35",
    "# a remark",
    "002,0,0,.,.,.,.,.,.,.,25,1,0,.,0,0.5,40",
    "002,0,1,40,.,.,.,.,.,2,.,.,.,.,1,.,40",
    "002,28,0,.,.,.,.,.,.,.,20,1,0,.,0,0.5,40",
    "002,90,0,.,.,.,.,.,.,.,0,2,.,.,0,.,40",
]
MAPPING = {"albumin_g_per_l": "ALB"}
Read = Callable[..., Trial]


@pytest.fixture
def read(tmp_path) -> Read:
    """Read an event file made of these lines."""

    def read_lines(lines: list[str], **keywords) -> Trial:
        path = tmp_path / "events.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return read_nonmem(path, **{"mapping": MAPPING, **keywords})

    return read_lines


def edited(line: int, **columns: str) -> list[str]:
    """The file with some fields of one line (as an editor counts) replaced."""
    fields = LINES[line - 1].split(",")
    for column, text in columns.items():
        fields[HEADER.split(",").index(column)] = text
    return [*LINES[: line - 1], ",".join(fields), *LINES[line:]]


def errors(read: Read, lines: list[str], **keywords) -> list[str]:
    with pytest.raises(DataError) as caught:
        read(lines, **keywords)
    return [str(problem) for problem in caught.value.problems]


def test_conventions(read) -> None:
    trial = read(LINES)
    assert trial.name == "events"
    assert list(trial.patients.index) == ["001", "002"]
    assert trial.patients["albumin_g_per_l"].tolist() == [35.0, 40.0]
    assert trial.doses.to_numpy().tolist() == [
        ["001", "isatuximab", 0.0, 700.0, 3.5],
        ["001", "isatuximab", 7.0, 700.0, 3.5],
        ["001", "isatuximab", 14.0, 700.0, 3.5],
        ["001", "isatuximab", 21.0, 700.0, 3.5],
        ["002", "dexamethasone", 0.0, 40.0, 0.0],
    ]
    assert trial.mprotein["below_lloq"].tolist() == [False, True, False, False]
    assert trial.pfs.reset_index().to_numpy().tolist() == [["001", 100.0, True], ["002", 90.0, False]]
    assert trial.warnings == ()


def test_time_and_interval_in_hours_duration_as_it_is(read) -> None:
    hours = [
        ",".join([f[0], str(float(f[1]) * 24), *f[2:6], f[6] if f[6] == "." else "168", *f[7:]])
        for f in (line.split(",") for line in LINES[1:] if line[0] != "#")
    ]
    trial, days = read([HEADER, *hours], time_unit="hour"), read(LINES)
    for name in ("patients", "doses", "mprotein", "pfs"):
        pd.testing.assert_frame_equal(getattr(trial, name), getattr(days, name))


def test_rate_is_per_time_unit(read) -> None:
    by_day = read(edited(3, DUR=".", RATE="4800"))
    assert by_day.doses["duration_h"].iloc[0] == pytest.approx(3.5)


def test_separators_comments_and_repeated_headers(read) -> None:
    expected = read(LINES)
    spaced = [line.replace(",", "  ") for line in LINES]
    marked = ["@ remark", LINES[0], "C" + LINES[1][3:], *LINES[1:5], LINES[0], *LINES[5:]]
    first_column = [
        f"C,{LINES[0]}",
        "C" + f",{LINES[1]}",
        *(f".,{line}" for line in LINES[1:] if line[0] != "#"),
    ]
    for lines in (spaced, marked, first_column, [line.replace(",", ";") for line in LINES]):
        trial = read(lines)
        pd.testing.assert_frame_equal(trial.mprotein, expected.mprotein)
        pd.testing.assert_frame_equal(trial.doses, expected.doses)


def test_names_in_any_case_ytype_and_adm(read) -> None:
    header = HEADER.lower().replace("dvid", "YTYPE").replace("cmt", "Adm").replace(",alb", ",ALB")
    pd.testing.assert_frame_equal(read([header, *LINES[1:]]).doses, read(LINES).doses)


def test_covariates_and_mapped_columns_in_any_case(read) -> None:
    lower = [line.lower() for line in LINES]
    assert list(read(lower).patients["albumin_g_per_l"]) == [35.0, 40.0]
    named = [line.replace("ALB", "Albumin_g_per_L") for line in LINES]
    assert list(read(named, mapping=None).patients["albumin_g_per_l"]) == [35.0, 40.0]


def test_codes_and_columns_can_be_mapped(read) -> None:
    lines = [HEADER.replace(",DV,", ",CONC,"), *LINES[1:]]
    swapped = {"isatuximab": 2, "dexamethasone": 1}
    found = errors(read, lines, mapping={**MAPPING, "DV": "CONC", **swapped})
    assert any(
        "row 8, patient 002" in text and "isatuximab" in text for text in found
    )  # 40 mg without duration
    assert read(lines, mapping={**MAPPING, "DV": "CONC"}).n_measurements == 4


@pytest.mark.parametrize(
    ("mapping", "fragment"),
    [
        ({"isatuximb": 3}, "Did you mean 'isatuximab'?"),
        ({"isatuximab": 2}, "share a code"),
        ({"pfs": "two"}, "pfs is 'two'"),
    ],
)
def test_bad_mapping(read, mapping, fragment) -> None:
    assert any(fragment in text for text in errors(read, LINES, mapping=mapping))


def test_without_evid_a_positive_amount_is_a_dose(read) -> None:
    column = HEADER.split(",").index("EVID")
    lines = [
        line if line[0] == "#" else ",".join(f for i, f in enumerate(line.split(",")) if i != column)
        for line in LINES
    ]
    pd.testing.assert_frame_equal(read(lines).doses, read(LINES).doses)


def test_limit_of_quantification_without_its_column(read) -> None:
    column = HEADER.split(",").index("LLOQ")
    lines = [
        line if line[0] == "#" else ",".join(f for i, f in enumerate(line.split(",")) if i != column)
        for line in edited(4, DV="0.4")
    ]
    trial = read(lines)
    assert trial.mprotein["lloq_g_per_l"].tolist() == [0.4] * 4
    (warning,) = trial.warnings
    assert "no LLOQ for 3 measurements: 0.4 g/L, the lowest limit" in warning.message


def test_start_of_observation_of_monolix_is_no_second_pfs_time(read) -> None:
    start = "001,0,0,.,.,.,.,.,.,.,0,2,.,.,0,.,35"
    assert read([*LINES[:4], start, *LINES[4:]]).pfs.loc["001", "day"] == 100.0


@pytest.mark.parametrize(
    ("line", "columns", "fragments"),
    [
        (3, {"SS": "1"}, ["row 3, patient 001", "SS is 1", "steady state is refused"]),
        (3, {"EVID": "4"}, ["row 3, patient 001", "EVID is 4, a reset"]),
        (3, {"EVID": "7"}, ["row 3", "EVID is 7"]),
        (2, {"AMT": "5"}, ["row 2", "AMT is given but EVID is 0"]),
        (3, {"CMT": "3"}, ["row 3", "CMT of a dose is 3", "1 for isatuximab or 2 for dexamethasone"]),
        (3, {"II": "."}, ["row 3", "ADDL is 3 but II is ."]),
        (3, {"ADDL": "1.5"}, ["row 3", "ADDL is 1.5", "whole number"]),
        (3, {"DUR": ".", "RATE": "-2"}, ["row 3", "RATE is -2", "modelled"]),
        (3, {"AMT": "x"}, ["row 3, patient 001", "amount_mg is 'x', not a number"]),
        (2, {"CENS": "-1"}, ["row 2", "CENS is -1"]),
        (2, {"DV": "x"}, ["row 2, patient 001", "value_g_per_l is 'x', not a number"]),
        (4, {"TIME": "x"}, ["row 4, patient 001", "day is 'x', not a number"]),
        (4, {"DVID": "3"}, ["row 4", "DVID is 3", "1 for M-protein or 2"]),
        (5, {"DV": "2"}, ["row 5, patient 001", "event is '2', neither 0 nor 1"]),
        (4, {"ALB": "36"}, ["row 4, patient 001", "albumin_g_per_l is '36' but was '35' before", "constant"]),
        (2, {"MDV": "x"}, ["row 2", "MDV is 'x', not a number"]),
    ],
)
def test_a_bad_line_is_told_with_its_place(read, line, columns, fragments) -> None:
    found = errors(read, edited(line, **columns))
    assert any(all(fragment in text for fragment in fragments) for text in found), found


def test_same_covariate_written_differently_is_constant(read) -> None:
    assert read(edited(4, ALB="35.0")).patients["albumin_g_per_l"].tolist() == [35.0, 40.0]
    assert read(edited(4, ALB=".")).patients["albumin_g_per_l"].tolist() == [35.0, 40.0]


def test_observation_left_out_by_mdv_and_limit_above_zero_are_told(read) -> None:
    (warning, *_) = read(edited(9, MDV="1")).warnings
    assert (warning.row, warning.patient) == (9, "002")
    assert "left out: MDV is 1" in warning.message
    (warning,) = read(edited(4, LIMIT="0.1")).warnings
    assert "LIMIT is 0.1, above 0, and is not used" in warning.message


def test_missing_columns_are_told_with_the_nearest(read) -> None:
    found = errors(read, [HEADER.replace("TIME", "TIMES").replace("DVID", "KIND"), *LINES[1:]])
    assert "column 'TIME' is missing (there is 'TIMES')" in found[0]
    assert "mapping={'TIME': 'TIMES'}" in found[0]
    assert "column 'DVID' is missing" in found[1]
    assert "is not there" in errors(read, LINES, mapping={"DV": "CONC"})[0]


def test_what_is_no_event_file(read, tmp_path) -> None:
    assert "holds comments only" in errors(read, ["# nothing"])[0]
    assert "row 3: has 2 fields where the header has 17" in errors(read, [*LINES[:2], "001,3"])[0]
    with pytest.raises(DataError, match="not a file"):
        read_nonmem(tmp_path)
    with pytest.raises(DataError, match="time_unit is 'week'"):
        read(LINES, time_unit="week")
    Path(tmp_path / "page.csv").write_text("<html>")
    with pytest.raises(DataError, match="HTML"):
        read_nonmem(tmp_path / "page.csv")


def test_what_cannot_be_written(frames, tmp_path) -> None:
    frames["patients"] = frames["patients"].assign(RATE=1.0, note=["a\nb", "c", "d"])
    with pytest.raises(DataError) as caught:
        write_nonmem(trial_from_tables(**frames), tmp_path / "events.csv")
    said = [str(problem) for problem in caught.value.problems]
    assert "covariate 'RATE' has a name the event file reserves" in said[0]
    assert "patient 001: note spans several lines" in said[1]
