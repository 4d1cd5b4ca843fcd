"""Cells of a table, as text or as Python values, turned into ids, numbers and 0/1 flags, and back to text."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

MISSING = frozenset({"", ".", "na", "nan", "n/a", "null", "none", "<na>"})
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)", re.IGNORECASE)
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|.*\d{1,2}:\d{2}.*")
_FLAGS = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}


def is_missing(cells: pd.Series) -> np.ndarray:
    """Whether each cell is blank: None, NaN, ".", "NA" and the like."""
    if pd.api.types.is_numeric_dtype(cells):
        return cells.isna().to_numpy(dtype=bool)
    return np.array([_is_blank(cell) for cell in cells], dtype=bool)


def to_numbers(cells: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Float values (NaN where blank or unreadable) and the mask of the unreadable cells."""
    if pd.api.types.is_numeric_dtype(cells):
        # a copy: callers blank out cells, and the table is the user's
        values = np.array(cells.to_numpy(dtype=float, na_value=np.nan))
        return values, np.zeros(len(cells), dtype=bool)
    values = np.full(len(cells), np.nan)
    unreadable = np.zeros(len(cells), dtype=bool)
    for i, cell in enumerate(cells):
        if _is_blank(cell):
            continue
        text = str(cell).strip()
        # float() alone would also take "1_000" and "nan"
        if _NUMBER.fullmatch(text):
            values[i] = float(text)
        else:
            unreadable[i] = True
    return values, unreadable


def to_flags(cells: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """0.0 or 1.0 (NaN where blank or unreadable; True and False count) and the mask of the unreadable."""
    if not pd.api.types.is_numeric_dtype(cells):
        cells = cells.astype(object).map(lambda cell: _FLAGS.get(str(cell).strip().lower(), cell))
    values, unreadable = to_numbers(cells)
    neither = ~np.isnan(values) & (values != 0) & (values != 1)
    values[neither] = np.nan
    return values, unreadable | neither


def to_ids(cells: pd.Series) -> np.ndarray:
    """Ids as text, verbatim ("001" stays "001", the number 7 or 7.0 becomes "7"); "" where missing."""
    return np.array([_id_text(cell) for cell in cells], dtype=object)


def to_text(cells: pd.Series) -> np.ndarray:
    """Text stripped of surrounding blanks; None where missing."""
    return np.array([None if _is_blank(cell) else str(cell).strip() for cell in cells], dtype=object)


def cell_text(cell: object) -> str:
    """One value as text: flags as 0/1, whole numbers without a decimal point, blank where missing."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool | np.bool_):
        return str(int(cell))
    if cell is None or cell != cell:  # NaN
        return ""
    text = repr(float(cell)) if isinstance(cell, float | np.floating) else str(cell)
    return text.removesuffix(".0")


def number_remedy(cell: object) -> str:
    """What to do about a cell that should hold a number and does not."""
    text = str(cell).strip()
    if text.startswith(("<", ">")):
        return "For a value below its limit of quantification give the limit and set below_lloq to 1"
    if re.fullmatch(r"[+-]?\d*,\d+", text):
        return "Use a decimal point, not a comma"
    if _DATE.fullmatch(text):
        return "Give a time as a number of days since the first dose, not as a date"
    return "Give a number"


def _is_blank(cell: object) -> bool:
    if isinstance(cell, str):
        return cell.strip().lower() in MISSING
    return bool(pd.isna(cell))  # type: ignore[call-overload]


def _id_text(cell: object) -> str:
    if isinstance(cell, str):
        return cell if cell.strip() else ""
    if pd.isna(cell):  # type: ignore[call-overload]
        return ""
    # a column of whole numbers with a gap reaches us as floats
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    return str(cell)
