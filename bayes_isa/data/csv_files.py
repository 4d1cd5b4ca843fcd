"""A trial as a directory of four CSV files, read and written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from bayes_isa.data.build import build_trial
from bayes_isa.data.cells import cell_text
from bayes_isa.data.schema import SCHEMA, nearest
from bayes_isa.data.tables import Table, Tables, parse_table
from bayes_isa.data.text_files import read_text
from bayes_isa.data.trial import Trial
from bayes_isa.errors import DataError, Problem


def read_trial(path: str | Path, *, name: str | None = None, exclude_without_followup: bool = False) -> Trial:
    """A checked Trial from a directory with patients.csv, doses.csv, mprotein.csv and pfs.csv.

    Comma-separated UTF-8 text with a header line; blank, "." and "NA" are missing. Times in days since the
    first dose, M-protein in g/L, amounts in mg, infusions in hours; ids are kept as written. `name` is the
    name of the directory by default. `exclude_without_followup` leaves out patients without a measurement
    after baseline, with a warning. Raises DataError that lists every problem with its file and row.
    """
    directory = Path(path)
    _require_directory(directory)
    parsed: dict[str, Table] = {}
    errors: list[Problem] = []
    for table in SCHEMA:
        file = directory / f"{table}.csv"
        if file.is_file():
            raw, found = read_csv(file)
        else:
            raw, found = None, [_absent(file, table)]
        errors += found
        parsed[table] = Table(table, file.name) if raw is None else parse_table(table, raw, file.name)
    return build_trial(
        Tables(**parsed),
        name=name or directory.resolve().name,
        exclude_without_followup=exclude_without_followup,
        errors=errors,
    )


def write_trial(trial: Trial, path: str | Path) -> None:
    """Write the four CSV files of a trial into a directory, made if need be; `read_trial` gives it back."""
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    tables = {
        "patients": trial.patients.reset_index(),
        "doses": trial.doses,
        "mprotein": trial.mprotein,
        "pfs": trial.pfs.reset_index(),
    }
    for table, frame in tables.items():
        with (directory / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(frame.columns)
            writer.writerows(text_rows(frame))


def text_rows(frame: pd.DataFrame) -> Iterator[list[str]]:
    """The rows as text that reads back to the same values: shortest exact numbers, blank where missing."""
    for row in frame.itertuples(index=False, name=None):
        yield [cell_text(cell) for cell in row]


def read_csv(file: Path) -> tuple[pd.DataFrame | None, list[Problem]]:
    """The cells of a CSV file as text, indexed by line; None when there is no table in it."""
    text, problems = read_text(file)
    if problems:
        return None, problems
    try:
        records = list(_records(text))
    except csv.Error as error:
        return None, [Problem(f"is not CSV ({error})", "Check the quotes", file=file.name)]
    if not records:
        return None, [Problem("is empty", "A table needs at least its header line", file=file.name)]
    line, header = records[0]
    header = [name.strip() for name in header]
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        remedy = "Save it with commas between the columns and points in the numbers"
        return None, [Problem("is not comma-separated", remedy, file.name, line)]
    problems = _ragged(records[1:], len(header), file.name)
    rows = [(record + [""] * len(header))[: len(header)] for _, record in records[1:]]
    index = pd.Index([number for number, _ in records[1:]], name="row", dtype=int)
    return pd.DataFrame(rows, columns=header, index=index, dtype=object), problems


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it starts on; blank lines are passed over."""
    reader = csv.reader(io.StringIO(text, newline=""))
    start = 1
    for record in reader:
        if any(cell.strip() for cell in record):
            yield start, record
        start = reader.line_num + 1


def _ragged(records: list[tuple[int, list[str]]], width: int, file: str) -> list[Problem]:
    problems = []
    for line, record in records:
        # spreadsheets pad rows with blank cells, which say nothing
        if len(record) < width or any(cell.strip() for cell in record[width:]):
            message = f"has {len(record)} cells where the header has {width}"
            remedy = "Check for a missing comma, or put text that holds a comma in quotes"
            problems.append(Problem(message, remedy, file, line))
    return problems


def _require_directory(directory: Path) -> None:
    if directory.is_dir():
        return
    if directory.exists():
        message = f"{directory} is a file, not a directory of four CSV files"
        raise DataError(message, [Problem("is a file", "Use read_nonmem for an event file", str(directory))])
    raise DataError(
        f"{directory} does not exist", [Problem("does not exist", "Check the path", str(directory))]
    )


def _absent(file: Path, table: str) -> Problem:
    others = [other.name for other in file.parent.iterdir() if other.name != file.name]
    spare = [other for other in others if other not in {f"{name}.csv" for name in SCHEMA}]
    close = nearest(file.name, spare, cutoff=0.8)
    columns = ",".join(column.name for column in SCHEMA[table] if table != "patients" or column.required)
    if close:
        remedy = f"Rename {close!r}"
    elif table == "doses":
        remedy = f"For data without doses write a file with the header line alone: {columns}"
    else:
        remedy = f"Write it with the columns {columns}"
    return Problem("is missing", remedy, file=file.name)
