"""What the columns of a NONMEM or Monolix event file mean here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bayes_isa.data.schema import SCHEMA, nearest
from bayes_isa.errors import DataError, Problem

CODES = {"isatuximab": 1, "dexamethasone": 2, "mprotein": 1, "pfs": 2}
RESERVED = (
    "ID", "TIME", "EVID", "AMT", "RATE", "DUR", "II", "ADDL", "SS", "CMT", "ADM",
    "DV", "DVID", "YTYPE", "CENS", "LIMIT", "MDV", "LLOQ", "ENTRY", "C",
)  # fmt: skip
REQUIRED = {
    "ID": "patient",
    "TIME": "time since the first dose",
    "DV": "the measured value, or 1/0 for a PFS event",
}
_OURS = {column.name.lower(): column.name for column in SCHEMA["patients"] if column.name != "id"}


@dataclass(frozen=True)
class Mapped:
    """Names (the file's column to ours) and codes (of drugs and outcomes) of one file."""

    names: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=lambda: dict(CODES))


def read_mapping(mapping: Mapping[str, str | int] | None) -> Mapped:
    """Split a user's mapping into column names (text values) and codes (whole numbers).

    Raises DataError for an unknown code, and for a code that is no whole number.
    """
    codes = dict(CODES)
    names: dict[str, str] = {}
    problems = []
    for key, value in (mapping or {}).items():
        if key in CODES and isinstance(value, int) and not isinstance(value, bool):
            codes[key] = value
        elif key in CODES:
            problems.append(Problem(f"{key} is {value!r}", "Give the whole number that codes it in the file"))
        elif isinstance(value, str):
            names[value] = key
        else:
            close = nearest(key, CODES)
            hint = f"Did you mean {close!r}?" if close else f"The codes are {', '.join(CODES)}"
            problems.append(Problem(f"unknown code {key!r}", hint))
    if codes["isatuximab"] == codes["dexamethasone"] or codes["mprotein"] == codes["pfs"]:
        problems.append(Problem("two drugs or two outcomes share a code", "Give each its own"))
    if problems:
        raise DataError("The mapping cannot be used", problems)
    return Mapped(names, codes)


def standard_name(column: str, names: Mapping[str, str]) -> str:
    """Our name of a column of the file: as mapped, a reserved name or one of ours in any case, or unchanged."""
    column = column.strip()
    in_any_case = {name.upper(): ours for name, ours in names.items()}
    mapped = names.get(column) or in_any_case.get(column.upper())
    if mapped is not None:
        return mapped
    return column.upper() if column.upper() in RESERVED else _OURS.get(column.lower(), column)


def header_problems(
    header: list[str], original: list[str], names: Mapping[str, str], file: str
) -> list[Problem]:
    """Columns that must be there and are not, that appear twice, or that a mapping names in vain."""
    spare = [column for column in original if standard_name(column, names) not in RESERVED]
    problems = [
        Problem(f"column {name!r} appears {header.count(name)} times", "Keep one of them", file)
        for name in dict.fromkeys(header)
        if header.count(name) > 1
    ]
    required = dict(REQUIRED)
    if "YTYPE" not in header:
        required["DVID"] = "1: M-protein, 2: progression-free survival"
    for name, description in required.items():
        if name not in header:
            close = nearest(name, spare)
            hint = (
                f"Rename it or map it: mapping={{{name!r}: {close!r}}}, on the command line --column {name}={close}"
                if close
                else f"Add it ({description}), or map the column that holds it: mapping={{{name!r}: ...}}, on the "
                f"command line --column {name}=..."
            )
            found = f"column {name!r} is missing" + (f" (there is {close!r})" if close else "")
            problems.append(Problem(found, hint, file))
    for column, name in names.items():
        if column.upper() not in (name.upper() for name in original):
            close = nearest(column, original)
            hint = f"Did you mean {close!r}?" if close else f"The columns are {', '.join(original)}"
            problems.append(Problem(f"column {column!r}, mapped to {name!r}, is not there", hint, file))
    return problems
