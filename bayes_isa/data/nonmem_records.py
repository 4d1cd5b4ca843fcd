"""The lines of an event file: separated, comments out, each column at hand as numbers."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from bayes_isa.data import cells
from bayes_isa.data.nonmem_format import standard_name
from bayes_isa.data.text_files import read_text
from bayes_isa.errors import Problem


class Records:
    """Lines of an event file (our column names, text cells, index = line) and the problems found so far."""

    def __init__(self, frame: pd.DataFrame, file: str, days_per_unit: float) -> None:
        self.frame = frame
        self.file = file
        self.days_per_unit = days_per_unit
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self._numbers: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._kind: np.ndarray | None = None

    def number(self, column: str) -> np.ndarray:
        """A column as floats, NaN where blank, unreadable or absent."""
        return self._parsed(column)[0]

    def unreadable(self, column: str) -> np.ndarray:
        """Where a column holds something that is no number; said as an error when first asked for."""
        return self._parsed(column)[1]

    def kind(self) -> np.ndarray:
        """ "dose", "observation" or "other" for every line, by EVID, or by AMT where there is none."""
        if self._kind is None:
            self._kind = self._find_kind()
        return self._kind

    def days(self) -> pd.Series:
        """TIME in days; a cell that is no number stays text, for the check of the table it goes to."""
        readable = ~self.unreadable("TIME") & ~np.isnan(self.number("TIME"))
        days = self.frame["TIME"].copy()
        days[readable] = (self.number("TIME") * self.days_per_unit)[readable]
        return days

    def rows(self, chosen: np.ndarray, **columns: str) -> pd.DataFrame:
        """id, day and the named columns (ours = theirs) of the chosen lines."""
        table = {"id": self.frame["ID"], "day": self.days()}
        table |= {ours: self.frame[theirs] for ours, theirs in columns.items()}
        return pd.DataFrame(table)[chosen]

    def shown(self, column: str, i: int) -> str:
        """A cell as the user wrote it."""
        return self.frame[column].iloc[i] or "blank" if column in self.frame else "not given"

    def error(self, mask: np.ndarray | pd.Series, text: Callable[[int], tuple[str, str]]) -> None:
        """Record an error for each line where `mask`."""
        self.errors += self._problems(mask, text)

    def warn(self, mask: np.ndarray | pd.Series, text: Callable[[int], tuple[str, str]]) -> None:
        """Record a warning for each line where `mask`."""
        self.warnings += self._problems(mask, text)

    def note(self, message: str, remedy: str) -> None:
        """Record a warning about the file as a whole."""
        self.warnings.append(Problem(message, remedy, file=self.file))

    def _problems(
        self, mask: np.ndarray | pd.Series, text: Callable[[int], tuple[str, str]]
    ) -> list[Problem]:
        problems = []
        for i in np.flatnonzero(np.asarray(mask, dtype=bool)).tolist():
            message, remedy = text(i)
            patient = self.frame["ID"].iloc[i] or None
            problems.append(Problem(message, remedy, self.file, int(self.frame.index[i]), patient))
        return problems

    def _parsed(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        if column not in self._numbers:
            n_lines = len(self.frame)
            values, bad = np.full(n_lines, np.nan), np.zeros(n_lines, dtype=bool)
            if column in self.frame:
                values, bad = cells.to_numbers(self.frame[column])
                bad |= np.isinf(values)
                values[np.isinf(values)] = np.nan
            # these go on as text into a table, whose own checks report them
            if column not in ("TIME", "DV", "AMT"):
                self.error(
                    bad, lambda i: (f"{column} is {self.shown(column, i)!r}, not a number", "Give a number")
                )
            self._numbers[column] = values, bad
        return self._numbers[column]

    def _find_kind(self) -> np.ndarray:
        evid = self.number("EVID").copy()
        dosed = (self.number("AMT") > 0) | self.unreadable("AMT")
        evid = np.where(np.isnan(evid), dosed.astype(float), evid)
        resets = np.isin(evid, [3, 4])
        remedy = "A reset has no meaning here: use 1 for a dose, 0 for an observation"
        self.error(resets, lambda i: (f"EVID is {evid[i]:g}, a reset", remedy))
        unknown = ~np.isin(evid, [0, 1, 2, 3, 4])
        self.error(unknown, lambda i: (f"EVID is {evid[i]:g}", "Use 0, 1 or 2"))
        contradicted = (evid == 0) & (self.number("AMT") > 0)
        self.error(
            contradicted, lambda i: ("AMT is given but EVID is 0", "Set EVID to 1 for a dose, or AMT to 0")
        )
        return np.select([evid == 0, evid == 1], ["observation", "dose"], "other")


def read_records(file: Path, names: Mapping[str, str]) -> tuple[pd.DataFrame, list[str], list[Problem]]:
    """The lines of the file as text, under our column names; the header as written; what is wrong with it."""
    text, problems = read_text(file)
    lines = [(i, line) for i, line in enumerate(text.splitlines(), start=1) if not _is_comment(line)]
    if problems or not lines:
        if not problems:
            problems = [Problem("holds comments only", "Give a header line and data", file=file.name)]
        return pd.DataFrame(), [], problems
    separator = next((mark for mark in ",;\t" if mark in lines[0][1]), None)
    header = [name.strip() for name in _split(lines[0][1], separator)]
    rows, index = [], []
    for i, line in lines[1:]:
        fields = [cell.strip() for cell in _split(line, separator)]
        if _is_left_out(line, fields, header):
            continue
        if len(fields) != len(header):
            message = f"has {len(fields)} fields where the header has {len(header)}"
            problems.append(Problem(message, "Use '.' for a missing value", file.name, i))
        fields = [*fields, *[""] * len(header)][: len(header)]
        rows.append(fields)
        index.append(i)
    columns = [standard_name(name, names) for name in header]
    frame = pd.DataFrame(rows, columns=columns, index=pd.Index(index, name="row", dtype=int), dtype=object)
    if "ID" in frame:
        frame["ID"] = frame["ID"].replace(".", "")
    return frame, header, problems


def _is_comment(line: str) -> bool:
    bare = line.strip()
    return not bare or bare[0] in "#@"


def _is_left_out(line: str, fields: list[str], header: list[str]) -> bool:
    """A repeated header, a line that starts with the field C, or one marked in a first column named C."""
    marked = header[0].upper() == "C" and fields[0].lower() not in cells.MISSING
    return fields == header or marked or (fields[0] == "C" and not line.lstrip().startswith('"'))


def _split(line: str, separator: str | None) -> list[str]:
    return line.split() if separator is None else next(csv.reader([line], delimiter=separator))
