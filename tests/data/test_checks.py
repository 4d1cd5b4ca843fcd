"""Each check: spoil one thing in a sound data set and read what is said about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayes_isa.data import trial_from_tables
from bayes_isa.data.schema import PK_COLUMNS
from bayes_isa.errors import DataError


def put(frame: pd.DataFrame, row: int, column: str, value: Any) -> pd.DataFrame:
    """The frame with one cell replaced; `row` is its line in a CSV file."""
    frame = frame.copy()
    if not (np.issubdtype(frame[column].dtype, np.number) and isinstance(value, int | float)):
        frame[column] = frame[column].astype(object)
    frame.iloc[row - 2, list(frame.columns).index(column)] = value
    return frame


def add(frame: pd.DataFrame, *values: Any) -> pd.DataFrame:
    """The frame with one row more."""
    return pd.concat([frame, pd.DataFrame([values], columns=frame.columns)], ignore_index=True)


# table, row, column, value put there -> patient and fragments of the one error
CELLS = [
    ("mprotein", 3, "day", -3.0, "001", ["day is -3", "day 0"]),
    ("mprotein", 3, "day", np.inf, "001", ["day is inf", "finite"]),
    ("mprotein", 3, "day", np.nan, "001", ["day is missing"]),
    ("mprotein", 3, "day", "12/05/2020", "001", ["'12/05/2020'", "not as a date"]),
    ("mprotein", 3, "value_g_per_l", "abc", "001", ["value_g_per_l is 'abc', not a number"]),
    ("mprotein", 3, "value_g_per_l", "20,5", "001", ["'20,5'", "decimal point"]),
    ("mprotein", 3, "value_g_per_l", "<0.5", "001", ["'<0.5'", "below_lloq to 1"]),
    ("mprotein", 3, "value_g_per_l", np.nan, "001", ["value_g_per_l is missing", "below_lloq"]),
    ("mprotein", 3, "value_g_per_l", 0.0, "001", ["is 0, not positive", "below_lloq to 1"]),
    ("mprotein", 3, "value_g_per_l", -2.0, "001", ["is -2, not positive"]),
    ("mprotein", 3, "value_g_per_l", 0.3, "001", ["is 0.3, below its limit 0.5", "Set below_lloq to 1"]),
    ("mprotein", 6, "value_g_per_l", 2.0, "002", ["below_lloq is 1", "is 2, above its limit 0.5"]),
    ("mprotein", 3, "lloq_g_per_l", 0.0, "001", ["lloq_g_per_l is 0, not positive"]),
    ("mprotein", 3, "below_lloq", 2, "001", ["below_lloq is '2', neither 0 nor 1"]),
    ("mprotein", 3, "below_lloq", np.nan, "001", ["below_lloq is missing"]),
    ("mprotein", 3, "value_g_per_l", 2000.0, "001", ["is 2000", "at most 30", "mg/dL", "0.01"]),
    ("mprotein", 3, "id", "01", "01", ["id '01' is not in patients", "Did you mean '001'?"]),
    ("mprotein", 3, "id", "", None, ["id is missing"]),
    ("doses", 3, "drug", "isatuxmab", "001", ["drug 'isatuxmab'", "Did you mean 'isatuximab'?"]),
    ("doses", 3, "drug", "placebo", "001", ["drug 'placebo'", "isatuximab and dexamethasone"]),
    ("doses", 3, "day", -7.0, "001", ["day is -7, negative"]),
    ("doses", 3, "amount_mg", 0.0, "001", ["amount_mg is 0, not positive"]),
    ("doses", 3, "duration_h", 0.0, "001", ["duration_h", "is 0", "infused"]),
    ("doses", 3, "duration_h", np.nan, "001", ["duration_h", "missing", "infused"]),
    ("doses", 5, "duration_h", -1.0, "002", ["duration_h is -1, negative"]),
    ("doses", 3, "id", "9", "9", ["id '9' is not in patients"]),
    ("pfs", 2, "day", 0.0, "001", ["day is 0, not after day 0"]),
    ("pfs", 2, "event", 2, "001", ["event is '2', neither 0 nor 1"]),
    ("pfs", 2, "event", "yes", "001", ["event is 'yes'", "0 or 1"]),
    ("patients", 2, "igg", 3, "001", ["igg is '3', neither 0 nor 1"]),
    ("patients", 2, "albumin_g_per_l", 3.5, "001", ["albumin_g_per_l is 3.5", "g/dL", "Multiply by 10"]),
    ("patients", 2, "albumin_g_per_l", 0.0, "001", ["albumin_g_per_l is 0, not positive"]),
    ("patients", 2, "albumin_g_per_l", "?", "001", ["albumin_g_per_l is '?', not a number"]),
    ("patients", 2, "weight_kg", 400.0, "001", ["weight_kg is 400", "lb", "0.4536"]),
]


@pytest.mark.parametrize(("table", "row", "column", "value", "patient", "fragments"), CELLS)
def test_bad_cell_is_one_error_with_its_place(
    frames, errors_of, table, row, column, value, patient, fragments
) -> None:
    frames[table] = put(frames[table], row, column, value)
    found = errors_of(frames)
    assert len(found) == 1, [str(problem) for problem in found]
    assert (found[0].file, found[0].row, found[0].patient) == (table, row, patient)
    for fragment in fragments:
        assert fragment in str(found[0])


def test_sound_tables_have_neither_errors_nor_warnings(frames) -> None:
    assert trial_from_tables(**frames).warnings == ()


def test_all_problems_come_at_once(frames) -> None:
    frames["mprotein"] = put(frames["mprotein"], 3, "value_g_per_l", "abc")
    frames["doses"] = put(frames["doses"], 2, "drug", "aspirin").drop(columns="amount_mg")
    frames["pfs"] = put(frames["pfs"], 4, "day", -1.0)
    frames["patients"] = put(frames["patients"], 3, "igg", 7)
    with pytest.raises(DataError, match="5 problems") as caught:
        trial_from_tables(**frames)
    assert {problem.file for problem in caught.value.problems} == set(frames)


@pytest.mark.parametrize(
    ("table", "values", "row", "fragment"),
    [
        ("patients", ("001", "A", 35.0, 70.0, 1), 5, "already given in row 2"),
        ("pfs", ("002", 10.0, 1), 5, "already given in row 3"),
        ("mprotein", ("001", 28.0, 19.0, 0.5, 0), 9, "second measurement on day 28, the first is in row 3"),
    ],
)
def test_duplicates(frames, errors_of, table, values, row, fragment) -> None:
    frames[table] = add(frames[table], *values)
    (found,) = errors_of(frames)
    assert (found.file, found.row) == (table, row)
    assert fragment in str(found)


def test_patient_without_measurements_or_pfs(frames, errors_of) -> None:
    frames["patients"] = add(frames["patients"], "004", "B", 35.0, 70.0, 1)
    found = errors_of(frames)
    assert [(problem.row, problem.patient) for problem in found] == [(5, "004"), (5, "004")]
    assert "no M-protein measurement in mprotein" in found[0].message
    assert "no progression-free survival time in pfs" in found[1].message


def test_no_baseline(frames, errors_of) -> None:
    frames["mprotein"] = put(frames["mprotein"], 5, "day", 3.0)
    (found,) = errors_of(frames)
    assert found.patient == "002"
    assert "no baseline M-protein: first measurement on day 3, first dose on day 0" in found.message


def test_pfs_before_first_dose(frames, errors_of) -> None:
    frames["doses"] = put(frames["doses"], 6, "day", 40.0)
    (found,) = errors_of(frames)
    assert (found.file, found.row, found.patient) == ("pfs", 4, "003")
    assert "PFS ends on day 35, before the first dose on day 40" in found.message


def test_empty_data_set(frames, errors_of) -> None:
    found = errors_of({name: frame.iloc[:0] for name, frame in frames.items()})
    assert [(problem.file, problem.message) for problem in found] == [
        ("patients", "holds no patients"),
        ("mprotein", "holds no measurements"),
    ]


def test_everything_below_lloq(frames, errors_of) -> None:
    frames["mprotein"] = frames["mprotein"].assign(value_g_per_l=0.5, below_lloq=1)
    (found,) = errors_of(frames)
    assert "all 7 measurements are below" in found.message


def test_missing_columns_are_all_named_with_the_nearest(frames, errors_of) -> None:
    frames["mprotein"] = frames["mprotein"].rename(columns={"value_g_per_l": "value_g_l"}).drop(columns="day")
    found = [str(problem) for problem in errors_of(frames)]
    assert len(found) == 2
    assert "column 'day' is missing" in found[0]
    assert "column 'value_g_per_l' is missing. Rename column 'value_g_l'" in found[1]


def test_misspelt_optional_column_is_an_error(frames, errors_of) -> None:
    frames["mprotein"] = frames["mprotein"].rename(columns={"lloq_g_per_l": "lloq_g_l"})
    (found,) = errors_of(frames)
    assert "Rename column 'lloq_g_l'" in found.remedy


def test_individual_pk_is_complete_and_positive(frames, errors_of) -> None:
    pk = pd.DataFrame(1.0, index=range(3), columns=list(PK_COLUMNS))
    frames["patients"] = pd.concat([frames["patients"], pk.assign(pk_CLm=-0.2)], axis=1)
    assert errors_of(frames) == []  # CLm is normally distributed: it may be negative
    whole = frames["patients"]
    frames["patients"] = put(whole, 3, "pk_Km", 0.0)
    assert "pk_Km is 0, not positive" in errors_of(frames)[0].message
    frames["patients"] = put(whole, 3, "pk_Km", np.nan)
    assert "pk_Km is missing" in errors_of(frames)[0].message
    frames["patients"] = whole.drop(columns="pk_Km")
    assert "no column pk_Km" in errors_of(frames)[0].message


@pytest.mark.parametrize(
    ("table", "column", "factor", "fragments"),
    [
        ("patients", "albumin_g_per_l", 0.1, ["median 3.5", "3 of 3", "g/dL", "Multiply by 10"]),
        ("patients", "weight_kg", 1000, ["look like g", "0.001"]),
        ("mprotein", "value_g_per_l", 100, ["mg/dL", "0.01"]),
        ("doses", "amount_mg", 1 / 70, ["mg/kg", "body weight"]),
        ("doses", "duration_h", 60, ["minutes", "Divide by 60"]),
        ("pfs", "day", 24, ["hours", "Divide all times by 24"]),
    ],
)
def test_a_column_in_another_unit_is_said_once(frames, errors_of, table, column, factor, fragments) -> None:
    frame = frames[table]
    scaled = frame[column] * factor
    if table == "mprotein":
        scaled = scaled.where(frame["below_lloq"] == 0, frame[column])
    frames[table] = frame.assign(**{column: scaled})
    (found,) = errors_of(frames)
    assert (found.file, found.row) == (table, None)
    for fragment in fragments:
        assert fragment in str(found)


def test_measurement_times_in_hours_or_weeks(frames, errors_of) -> None:
    ids = [f"P{i}" for i in range(6)]
    patients = pd.DataFrame({"id": ids})
    pfs = pd.DataFrame({"id": ids, "day": 100.0, "event": 1})

    def series(gap: float) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "id": np.repeat(ids, 3),
                "day": np.tile([0, gap, 2 * gap], 6),
                "value_g_per_l": 20.0,
                "lloq_g_per_l": 0.5,
                "below_lloq": 0,
            }
        )

    doses = frames["doses"].iloc[:0]
    given = {"patients": patients, "doses": doses, "pfs": pfs}
    assert "looks like hours" in errors_of({**given, "mprotein": series(28 * 24)})[0].message
    (warning,) = trial_from_tables(**given, mprotein=series(4)).warnings
    assert "weeks or months" in warning.message
    assert trial_from_tables(**given, mprotein=series(28)).warnings == ()


# what is told and lived with: table, row, column, value -> file, row, patient, fragment
WARNINGS = [
    ("mprotein", 3, "day", 60.0, ("mprotein", 4, "001"), "not in order (day 56 comes late)"),
    ("doses", 3, "day", 250.0, ("doses", 3, "001"), "1 of the doses come after the event on day 200"),
    ("pfs", 2, "day", 1e-4, ("pfs", 2, "001"), "an event on day 0.0001, within a minute of day 0"),
    ("doses", 3, "day", 0.0, ("doses", 3, "001"), "a second isatuximab dose at day 0"),
    ("doses", 6, "day", 1.0, ("patients", 4, "003"), "the first dose is on day 1"),
    ("doses", 6, "id", "002", ("patients", 4, "003"), "no dose in doses"),
    ("patients", 2, "albumin_g_per_l", np.nan, ("patients", None, None), "missing for 1 of 3 patients (001)"),
    ("patients", 2, "weight_kg", 20.0, ("patients", 2, "001"), "weight_kg is 20, outside 25 to 250"),
    ("mprotein", 3, "value_g_per_l", 2.2, ("mprotein", 3, "001"), "is 2.2 between 30 and 18: g/dL?"),
    ("mprotein", 3, "lloq_g_per_l", np.nan, ("mprotein", None, None), "in 1 of 7 rows: 0.5 is used"),
]


@pytest.mark.parametrize(("table", "row", "column", "value", "place", "fragment"), WARNINGS)
def test_odd_cell_is_a_warning(frames, table, row, column, value, place, fragment) -> None:
    frames[table] = put(frames[table], row, column, value)
    found = [warning for warning in trial_from_tables(**frames).warnings if fragment in warning.message]
    assert [(warning.file, warning.row, warning.patient) for warning in found] == [place]


def test_other_warnings(frames) -> None:
    frames["patients"] = frames["patients"].assign(weigth_kg=70.0, ldh=["200", "high", "300"])
    frames["pfs"] = frames["pfs"].assign(event=0, comment="x")
    frames["mprotein"] = frames["mprotein"].iloc[:6]
    said = [str(warning) for warning in trial_from_tables(**frames).warnings]
    for fragment in (
        "column 'ldh' is mostly numbers and is read as text, because of 'high'",
        "column 'comment' is not used",
        "no patient has an event",
        "patient 003: no M-protein measurement after baseline",
    ):
        assert any(fragment in text for text in said), fragment


def test_misspelt_covariate_is_told(frames) -> None:
    frames["patients"] = frames["patients"].rename(columns={"weight_kg": "weight"})
    (warning,) = trial_from_tables(**frames).warnings
    assert "column 'weight' looks like 'weight_kg'" in warning.message


def test_single_patient(frames) -> None:
    one = {name: frame[frame["id"] == "001"] for name, frame in frames.items()}
    (warning,) = trial_from_tables(**one).warnings
    assert "one patient only" in warning.message


def test_patient_below_lloq_throughout(frames) -> None:
    frames["mprotein"] = put(put(frames["mprotein"], 5, "below_lloq", 1), 5, "value_g_per_l", 0.5)
    said = [warning.message for warning in trial_from_tables(**frames).warnings]
    assert said == [
        "every measurement is below the limit of quantification",
        "the baseline is below the limit of quantification",
    ]


@pytest.mark.parametrize(
    ("column", "values", "fragment"),
    [
        ("b2m_mg_per_l", [390.0, 290.0, 500.0], "look like nmol/L"),
        ("b2m_mg_per_l", [4600.0, 3000.0, 5.0], "2 of 3 values look like µg/L"),
        ("alp_uln_ratio", [80.0, 95.0, 60.0], "look like U/L, not a ratio"),
        ("age_years", [780.0, 800.0, 700.0], "look like months"),
        ("albumin_g_per_l", [530.0, 600.0, 450.0], "look like µmol/L"),
    ],
)
def test_laboratory_units(frames, errors_of, column, values, fragment) -> None:
    frames["patients"][column] = values
    (found,) = errors_of(frames)
    assert fragment in found.message


def test_possible_weights_with_an_impossible_median_are_pounds(frames, errors_of) -> None:
    names = [*"abcde"]
    first = {name: frame[frame["id"] == "001"].drop(columns="id") for name, frame in frames.items()}
    many = {
        name: pd.concat([frame.assign(id=patient) for patient in names], ignore_index=True)
        for name, frame in first.items()
    }
    many["patients"]["weight_kg"] = [120.0, 150.0, 158.0, 180.0, 200.0]
    (found,) = errors_of(many)
    assert "weight_kg has median 158, which looks like lb" in found.message
