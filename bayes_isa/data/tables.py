"""The four tables of a data set, typed, each row still knowing its line in the source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bayes_isa.data import cells
from bayes_isa.data.schema import SCHEMA, Column, nearest
from bayes_isa.errors import Problem


@dataclass(frozen=True)
class Table:
    """One table as read: typed columns, the index is the line in its source (header = 1).

    `unreadable` marks, per column, the cells that were reported already and are NaN in `frame`.
    """

    name: str
    file: str
    frame: pd.DataFrame = field(default_factory=pd.DataFrame)
    unreadable: Mapping[str, np.ndarray] = field(default_factory=dict)
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def problem(self, message: str, remedy: str = "", patient: str | None = None) -> Problem:
        """A problem of the table as a whole."""
        return Problem(message, remedy, file=self.file, patient=patient)

    def report(self, mask: Any, message: str, remedy: str = "", **extra: Any) -> list[Problem]:
        """One problem per row where `mask` holds; both texts are formatted with the row's columns.

        `extra` adds columns to format with, one value per row of the table.
        """
        where = np.asarray(mask, dtype=bool)
        if not where.any():
            return []
        chosen = self.frame.assign(**extra)[where]
        problems = []
        for line, row in zip(chosen.index, chosen.to_dict("records"), strict=True):
            values = {str(key): value for key, value in row.items()}
            problems.append(
                Problem(
                    message.format(**values),
                    remedy.format(**values),
                    file=self.file,
                    row=int(line),
                    patient=values.get("id") or None,
                )
            )
        return problems


@dataclass(frozen=True)
class Tables:
    """The four tables of one data set."""

    patients: Table
    doses: Table
    mprotein: Table
    pfs: Table

    def has(self, columns: Iterable[str]) -> bool:
        """Whether every "table.column" named is there."""
        pairs = (column.split(".") for column in columns)
        return all(column in getattr(self, table).frame for table, column in pairs)


def number_lines(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with "id" as a column and its lines, were it a CSV file, as index."""
    if "id" not in frame.columns and frame.index.name == "id":
        frame = frame.reset_index()
    return frame.set_axis(pd.RangeIndex(2, len(frame) + 2), axis=0)


def parse_table(name: str, raw: pd.DataFrame, file: str) -> Table:
    """Type every column of a raw table indexed by line; what cannot be read becomes a problem."""
    errors: list[Problem] = []
    warnings: list[Problem] = []
    unreadable: dict[str, np.ndarray] = {}
    typed: dict[str, np.ndarray] = {}
    known = {column.name: column for column in SCHEMA[name]}
    header = [str(column) for column in raw.columns]
    raw = raw.set_axis(header, axis=1)
    errors += _header_errors(header, known, file)
    for column_name in dict.fromkeys(header):
        cell = raw.loc[:, [column_name]].iloc[:, 0]
        if column_name in known:
            typed[column_name], bad, found = _parse_column(known[column_name], cell, raw, file)
            errors += found
            unreadable[column_name] = bad
        elif name == "patients":
            typed[column_name], found = _parse_extra(column_name, cell, raw, file)
            warnings += found
            warnings += _misspelt_covariate(column_name, known, header, file)
        else:
            message = f"column {column_name!r} is not used"
            warnings.append(Problem(message, f"The columns read are {', '.join(known)}", file=file))
    warnings += _fill_defaults(known.values(), typed, unreadable, len(raw), file)
    frame = pd.DataFrame(typed, index=raw.index.rename("row"))
    return Table(name, file, frame, unreadable, tuple(errors), tuple(warnings))


def _header_errors(header: list[str], known: Mapping[str, Column], file: str) -> list[Problem]:
    problems = [
        Problem(f"column {name!r} appears {header.count(name)} times", "Keep one of them", file, 1)
        for name in dict.fromkeys(header)
        if header.count(name) > 1
    ]
    spare = [name for name in header if name not in known]
    for column in known.values():
        if column.name in header:
            continue
        close = nearest(column.name, spare)
        if column.required:
            hint = f"Rename column {close!r}" if close else f"Add it ({column.description})"
            problems.append(Problem(f"column {column.name!r} is missing", hint, file, 1))
        elif close and column.default is not None:
            message = f"column {close!r} is unknown and column {column.name!r} is missing"
            problems.append(Problem(message, f"Rename column {close!r}", file, 1))
    return problems


def _parse_column(
    column: Column, cell: pd.Series, raw: pd.DataFrame, file: str
) -> tuple[np.ndarray, np.ndarray, list[Problem]]:
    blank = cells.is_missing(cell)
    bad = np.zeros(len(cell), dtype=bool)
    say = _Reporter(raw, file)
    if column.kind == "id":
        ids = cells.to_ids(cell)
        blank = ids == ""
        return ids, bad, say(blank, lambda _: ("id is missing", "Give the id or remove the row"))
    if column.kind == "text":
        values = cells.to_text(cell)
        problems: list[Problem] = []
    elif column.kind == "flag":
        values, bad = cells.to_flags(cell)
        remedy = f"Give 0 or 1 ({column.description})"
        problems = say(bad, lambda i: (f"{column.name} is {_shown(cell.iloc[i])}, neither 0 nor 1", remedy))
    else:
        values, bad = cells.to_numbers(cell)
        problems = say(bad, lambda i: _not_a_number(column.name, cell.iloc[i]))
        infinite = np.isinf(values)
        remedy = f"Give a finite number ({column.description})"
        problems += say(infinite, lambda i: (f"{column.name} is {values[i]}", remedy))
        values[infinite] = np.nan
        bad = bad | infinite
    if not column.blank:
        remedy = f"Give a value ({column.description}) or remove the row"
        problems += say(blank, lambda _: (f"{column.name} is missing", remedy))
        bad = bad | blank
    return values, bad, problems


def _parse_extra(
    name: str, cell: pd.Series, raw: pd.DataFrame, file: str
) -> tuple[np.ndarray, list[Problem]]:
    """A column the format does not know: 0/1 flags, numbers, or text when any cell is no number."""
    flags, not_flag = cells.to_flags(cell)
    if not not_flag.any():
        return flags, []
    numbers, not_number = cells.to_numbers(cell)
    if not not_number.any():
        return np.where(np.isinf(numbers), np.nan, numbers), _infinite(numbers, name, raw, file)
    text = cells.to_text(cell)
    mostly_numbers = not_number.sum() < 0.5 * (~cells.is_missing(cell)).sum()
    message = f"column {name!r} is mostly numbers and is read as text, because of"
    remedy = "Mend the cell if the column is meant to be a number"
    found = not_number & mostly_numbers
    return text, _Reporter(raw, file)(found, lambda i: (f"{message} {_shown(text[i])}", remedy))


def _infinite(numbers: np.ndarray, name: str, raw: pd.DataFrame, file: str) -> list[Problem]:
    remedy = "Leave the cell blank or give a finite number"
    say = _Reporter(raw, file)
    return say(np.isinf(numbers), lambda i: (f"{name} is {numbers[i]}, taken as missing", remedy))


def _misspelt_covariate(
    name: str, known: Mapping[str, Column], header: list[str], file: str
) -> list[Problem]:
    absent = [column for column in known if column not in header]
    close = nearest(name, absent, cutoff=0.8)
    if close is None:
        return []
    message = f"column {name!r} looks like {close!r} and is read as another covariate"
    return [Problem(message, f"Rename it if {known[close].description} is meant", file, 1)]


def _fill_defaults(
    columns: Iterable[Column],
    typed: dict[str, np.ndarray],
    unreadable: Mapping[str, np.ndarray],
    n_rows: int,
    file: str,
) -> list[Problem]:
    warnings = []
    for column in columns:
        if column.default is None:
            continue
        values = typed.get(column.name, np.full(n_rows, np.nan))
        fill = np.isnan(values) & ~unreadable.get(column.name, np.zeros(n_rows, dtype=bool))
        typed[column.name] = np.where(fill, column.default, values)
        if fill.any():
            message = (
                f"{column.name} is not given in {fill.sum()} of {n_rows} rows: {column.default:g} is used"
            )
            warnings.append(Problem(message, f"Give {column.description}", file=file))
    return warnings


def _not_a_number(name: str, cell: object) -> tuple[str, str]:
    return f"{name} is {_shown(cell)}, not a number", cells.number_remedy(cell)


def _shown(cell: object) -> str:
    return repr(str(cell)) if not isinstance(cell, float | np.floating) else f"{cell:g}"


class _Reporter:
    """Makes problems of marked rows of a raw table; knows its lines and ids."""

    def __init__(self, raw: pd.DataFrame, file: str) -> None:
        self.raw = raw
        self.file = file

    def __call__(self, mask: np.ndarray, text: Callable[[int], tuple[str, str]]) -> list[Problem]:
        problems = []
        for i in np.flatnonzero(mask).tolist():
            message, remedy = text(i)
            problems.append(Problem(message, remedy, self.file, int(self.raw.index[i]), self._patient(i)))
        return problems

    def _patient(self, i: int) -> str | None:
        if "id" not in self.raw:
            return None
        column = self.raw.loc[:, ["id"]].iloc[[i], 0]
        return str(cells.to_ids(column)[0]) or None
