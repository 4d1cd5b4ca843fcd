"""A trial from one NONMEM or Monolix event file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from bayes_isa.data import cells
from bayes_isa.data.build import build_trial
from bayes_isa.data.nonmem_doses import dose_rows
from bayes_isa.data.nonmem_format import RESERVED, header_problems, read_mapping
from bayes_isa.data.nonmem_records import Records, read_records
from bayes_isa.data.schema import DEFAULT_LLOQ
from bayes_isa.data.tables import Table, Tables, parse_table
from bayes_isa.data.trial import Trial
from bayes_isa.errors import DataError

_DAYS = {"day": 1.0, "hour": 24.0}


def read_nonmem(
    path: str | Path,
    *,
    mapping: Mapping[str, str | int] | None = None,
    time_unit: Literal["day", "hour"] = "day",
    name: str | None = None,
    exclude_without_followup: bool = False,
) -> Trial:
    """A checked Trial from one event file, one line per dose, measurement or PFS time.

    Separated by commas, semicolons, tabs or blanks; the first line that is no comment is the header. "." and
    blank are missing. Lines beginning with "#" or "@", lines whose first field is "C", and repeated headers
    are comments. Column names are taken in any case; `mapping` renames (`{"DV": "CONC"}`: our name, the
    file's name) and sets the codes of `isatuximab` (1), `dexamethasone` (2), `mprotein` (1), `pfs` (2).

    ID      patient, kept as written.
    TIME    time since the first dose, in `time_unit`; stored in days.
    EVID    0 observation, 1 dose, 2 neither (its covariates count); 3 and 4 (resets) are refused. Without the
            column, or where it is blank, a line with a positive AMT is a dose.
    AMT     amount, mg.
    DUR     duration of the infusion in hours, whatever `time_unit`; RATE, where DUR is blank: mg per
            `time_unit`, as in NONMEM. Neither, or RATE 0: no infusion. RATE below 0 (modelled) is refused.
    ADDL    number of further doses, every II (in `time_unit`); expanded into doses.
    SS      anything but 0 is refused: the model starts at the first dose, with no drug in the body.
    ADM     drug of a dose; CMT where there is no ADM.
    DVID    outcome of an observation: M-protein or PFS; YTYPE is the same.
    DV      M-protein in g/L; for PFS, 1 at the time of the event, 0 at the time of censoring. A PFS line
            with DV 0 at time 0 beside another one is the start of observation, as Monolix wants it: not used. One
            more with DV 0 before that with DV 1 is the last visit without progression: the event lies between the
            two (Monolix's interval-censored events), which is said in a warning.
    CENS    1: below the limit of quantification, which is DV unless LLOQ gives it; -1 is refused.
    LIMIT   lower bound of a value with CENS 1: the value is taken as anywhere from 0 to the limit, which is
            said in a warning if LIMIT is above 0.
    ENTRY   start of observation for PFS (delayed entry) in `time_unit`, on the PFS lines; blank for the first dose.
    LLOQ    limit of quantification of the line, g/L; without it, the lowest DV of the lines with CENS 1,
            else 0.5.
    MDV     1 on an observation: the line is left out, with a warning.
    other   covariates, constant within a patient (blank lines aside), under the names of patients.csv.

    `name` is the name of the file by default. Raises DataError that lists every problem with its line.
    """
    file = Path(path)
    mapped = read_mapping(mapping)
    if time_unit not in _DAYS:
        raise DataError(f"time_unit is {time_unit!r}; it must be one of {', '.join(_DAYS)}")
    if not file.is_file():
        raise DataError(f"{file} is not a file; read_trial reads a directory of CSV files")
    frame, header, problems = read_records(file, mapped.names)
    if not problems:
        problems = header_problems(list(frame.columns), header, mapped.names, file.name)
    if problems:
        raise DataError(f"The event file {file.name} cannot be read", problems)
    records = Records(frame, file.name, 1.0 / _DAYS[time_unit])
    raw = {
        "patients": _patients(records),
        "doses": dose_rows(records, mapped.codes),
        **_observations(records, mapped.codes),
    }
    parsed: dict[str, Table] = {table: parse_table(table, rows, file.name) for table, rows in raw.items()}
    return build_trial(
        Tables(**parsed),
        name=name or file.stem,
        exclude_without_followup=exclude_without_followup,
        errors=records.errors,
        warnings=records.warnings,
    )


def _patients(records: Records) -> pd.DataFrame:
    """One row per patient: the first value given of every covariate."""
    frame = records.frame
    ids = pd.Series(cells.to_ids(frame["ID"]), index=frame.index)
    first_line = ~ids.duplicated().to_numpy()
    patients = pd.DataFrame({"id": ids[first_line].to_numpy(dtype=object)}, index=frame.index[first_line])
    for column in frame.columns:
        if column in RESERVED:
            continue
        given = frame[column].where(~cells.is_missing(frame[column]))
        first = given.groupby(ids).transform("first")
        _require_constant(records, column, given, first)
        patients[column] = first.to_numpy(dtype=object)[first_line]
    return patients


def _require_constant(records: Records, column: str, given: pd.Series, first: pd.Series) -> None:
    number, first_number = cells.to_numbers(given)[0], cells.to_numbers(first)[0]
    # 70 and 70.0 are the same number, though not the same text
    same = (given == first) | (number == first_number)
    remedy = "A covariate must be constant within a patient: give its baseline value on every line"
    records.error(
        given.notna() & ~same,
        lambda i: (f"{column} is {given.iloc[i]!r} but was {first.iloc[i]!r} before", remedy),
    )


def _observations(records: Records, codes: Mapping[str, int]) -> dict[str, pd.DataFrame]:
    outcome = "DVID" if "DVID" in records.frame else "YTYPE"
    code = records.number(outcome)
    observed = records.kind() == "observation"
    known = np.isin(code, [codes["mprotein"], codes["pfs"]])
    remedy = f"Give {codes['mprotein']} for M-protein or {codes['pfs']} for progression-free survival"
    records.error(
        observed & ~known & ~records.unreadable(outcome),
        lambda i: (f"{outcome} is {records.shown(outcome, i)}", remedy),
    )
    left_out = observed & (records.number("MDV") == 1)
    records.warn(left_out, lambda i: ("the observation is left out: MDV is 1", "Set MDV to 0 if it counts"))
    observed &= ~left_out
    return {
        "mprotein": _mprotein(records, observed & (code == codes["mprotein"])),
        "pfs": _pfs(records, observed & (code == codes["pfs"])),
    }


def _mprotein(records: Records, chosen: np.ndarray) -> pd.DataFrame:
    cens = records.number("CENS")
    refused = chosen & ~np.isnan(cens) & ~np.isin(cens, [0, 1])
    remedy = "Only values below the limit of quantification (CENS 1) can be censored"
    records.error(refused, lambda i: (f"CENS is {records.shown('CENS', i)}", remedy))
    below = chosen & (cens == 1)
    bounded = below & (records.number("LIMIT") > 0)
    told = "The value is taken as anywhere between 0 and the limit of quantification"
    records.warn(bounded, lambda i: (f"LIMIT is {records.shown('LIMIT', i)}, above 0, and is not used", told))
    dv = records.number("DV")
    lloq = records.number("LLOQ").copy()
    lloq = np.where(np.isnan(lloq) & below, dv, lloq)
    limits = dv[below & ~np.isnan(dv)]
    fallback = limits.min() if limits.size else DEFAULT_LLOQ
    # a limit that is text stays out of the way of the default: its own error is already told
    assumed = chosen & np.isnan(lloq) & ~records.unreadable("LLOQ")
    if assumed.any():
        origin = "the lowest limit of the lines with CENS 1" if limits.size else "the default"
        message = f"no LLOQ for {assumed.sum()} measurements: {fallback:g} g/L, {origin}, is used"
        records.note(message, "Give a column LLOQ if that is wrong")
    lloq = np.where(np.isnan(lloq), fallback, lloq)
    rows = records.rows(chosen, value_g_per_l="DV")
    return rows.assign(lloq_g_per_l=lloq[chosen], below_lloq=below[chosen].astype(float))


def _pfs(records: Records, chosen: np.ndarray) -> pd.DataFrame:
    rows = records.rows(chosen, event="DV")
    dv = pd.Series(records.number("DV")[chosen], index=rows.index)
    if "ENTRY" in records.frame:
        rows["entry_day"] = _entry(records, chosen)
    day = pd.to_numeric(rows["day"], errors="coerce")
    n_lines = rows.groupby("id")["day"].transform("size")
    start = (day == 0) & (dv == 0) & (n_lines > 1)
    # One start of observation a patient: a second line at time 0 is a visit.
    start &= ~rows["id"].where(start).duplicated()
    rows, day, dv = rows[~start], day[~start], dv[~start]
    return _intervals(records, rows, day, dv)


def _entry(records: Records, chosen: np.ndarray) -> np.ndarray:
    """Days of entry of the chosen lines; one that is no number stays text, for the check of the table."""
    readable = ~records.unreadable("ENTRY") & ~np.isnan(records.number("ENTRY"))
    entry = records.frame["ENTRY"].copy()
    entry[readable] = (records.number("ENTRY") * records.days_per_unit)[readable]
    return entry.to_numpy()[chosen]


def _intervals(records: Records, rows: pd.DataFrame, day: pd.Series, dv: pd.Series) -> pd.DataFrame:
    """Lines with DV 0 before a patient's only line with DV 1 become the start of the event's interval."""
    first_event = day.where(dv == 1).groupby(rows["id"]).transform("min")
    one_event = (dv == 1).groupby(rows["id"]).transform("sum") == 1
    free = one_event & (dv == 0) & (day < first_event)
    if not free.any():
        return rows
    lower = day.where(free).groupby(rows["id"]).transform("max")
    seen = (dv == 1) & lower.notna()
    records.note(
        f"{int(seen.sum())} events come after a visit without progression (DV 0): each lies between the two",
        "For exact times remove the lines with DV 0 before the event",
    )
    rows = rows.assign(day_lower=lower.where(seen).astype(object), day_upper=day.where(seen).astype(object))
    return rows[~free]
