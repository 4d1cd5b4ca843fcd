"""A trial as one NONMEM or Monolix event file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bayes_isa.data.cells import MISSING, cell_text
from bayes_isa.data.nonmem_format import CODES, RESERVED
from bayes_isa.data.trial import Trial
from bayes_isa.errors import DataError, Problem

COLUMNS = (
    "ID", "TIME", "EVID", "AMT", "RATE", "DUR", "CMT", "DV", "DVID", "CENS", "LIMIT", "MDV", "LLOQ", "ENTRY",
)  # fmt: skip


def write_nonmem(trial: Trial, path: str | Path) -> None:
    """Write a trial as an event file with the conventions of `read_nonmem`, which gives it back.

    Comma-separated, time in days, RATE in mg/day beside DUR in hours, "." for missing, one block per patient
    in time order (a measurement before a dose of the same time), covariates on every line. Raises DataError
    for a covariate with a reserved name and for text that does not fit on one line.
    """
    _refuse(trial)
    covariates = trial.patients
    events = pd.concat([_measurements(trial), _doses(trial), _pfs(trial)], ignore_index=True)
    rank = pd.Series(np.arange(trial.n_patients), index=covariates.index)
    events = events.assign(rank=events["ID"].map(rank)).sort_values(["rank", "TIME", "order"], kind="stable")
    columns = [name for name in COLUMNS if name != "ENTRY" or bool(trial.entry_day.any())]
    header = [*columns, *covariates.columns]
    constant = {
        str(row[0]): [_field(cell) for cell in row[1:]]
        for row in covariates.itertuples(index=True, name=None)
    }
    lines = [",".join(_field(name) for name in header)]
    for row in events.loc[:, columns].itertuples(index=False, name=None):
        lines.append(",".join([_field(row[0]), *(_field(cell) for cell in row[1:]), *constant[row[0]]]))
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _doses(trial: Trial) -> pd.DataFrame:
    doses = trial.doses
    days = doses["duration_h"] / 24.0
    return pd.DataFrame(
        {
            "ID": doses["id"],
            "TIME": doses["day"],
            "EVID": 1,
            "AMT": doses["amount_mg"],
            "RATE": (doses["amount_mg"] / days.where(days > 0)).fillna(0.0),
            "DUR": doses["duration_h"],
            "CMT": doses["drug"].map(CODES),
            "MDV": 1,
            "order": 1,
        }
    )


def _measurements(trial: Trial) -> pd.DataFrame:
    rows = trial.mprotein
    return pd.DataFrame(
        {
            "ID": rows["id"],
            "TIME": rows["day"],
            "EVID": 0,
            "DV": rows["value_g_per_l"],
            "DVID": CODES["mprotein"],
            "CENS": rows["below_lloq"].astype(int),
            "LIMIT": np.where(rows["below_lloq"], 0.0, np.nan),
            "MDV": 0,
            "LLOQ": rows["lloq_g_per_l"],
            "order": 0,
        }
    )


def _pfs(trial: Trial) -> pd.DataFrame:
    """PFS lines; an event between two visits has the start of observation and the earlier visit before it."""
    ids, event = trial.pfs.index.to_numpy(), trial.pfs["event"].to_numpy().astype(float)
    between = trial.interval_censored
    lines = [
        (ids, trial.pfs["day"].to_numpy(dtype=float), event, trial.entry_day),
        (ids[between], np.zeros(between.sum()), np.zeros(between.sum()), trial.entry_day[between]),
        (
            ids[between],
            trial.progression_free_day[between],
            np.zeros(between.sum()),
            trial.entry_day[between],
        ),
    ]
    patient, time, value, entry = (np.concatenate(column) for column in zip(*lines, strict=True))
    return pd.DataFrame(
        {
            "ID": patient,
            "TIME": time,
            "EVID": 0,
            "DV": value,
            "DVID": CODES["pfs"],
            "CENS": 0,
            "MDV": 0,
            "ENTRY": np.where(entry > 0.0, entry, np.nan),
            "order": 2,
        }
    )


def _refuse(trial: Trial) -> None:
    problems = [
        Problem(f"covariate {column!r} has a name the event file reserves", "Rename the column")
        for column in trial.patients.columns
        if column.upper() in RESERVED
    ]
    for patient in trial.patients.index:
        if len(patient.splitlines()) != 1 or patient != patient.strip() or patient.lower() in MISSING:
            remedy = "Use one word that is not a mark for missing"
            problems.append(Problem(f"id {patient!r} cannot be written", remedy, patient=patient))
    for column in trial.patients.select_dtypes(exclude="number").columns:
        for patient, text in trial.patients[column].items():
            if isinstance(text, str) and len(text.splitlines()) > 1:
                problems.append(Problem(f"{column} spans several lines", "Shorten it", patient=str(patient)))
    if problems:
        raise DataError("The trial cannot be written as an event file", problems)


def _field(cell: object) -> str:
    text = cell_text(cell) or "."
    # quotes keep an id such as "#1" or "C" from being read as a comment
    if text[0] in "#@" or text == "C" or any(mark in text for mark in ',"'):
        return '"' + text.replace('"', '""') + '"'
    return text
