"""From tables as given to a checked Trial."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from bayes_isa.data.checks import find_problems
from bayes_isa.data.checks.measurements import patients_with_follow_up
from bayes_isa.data.schema import SCHEMA
from bayes_isa.data.tables import Table, Tables, number_lines, parse_table
from bayes_isa.data.trial import Trial, sort_by_patient
from bayes_isa.errors import DataError, Problem


def trial_from_tables(
    patients: pd.DataFrame,
    doses: pd.DataFrame,
    mprotein: pd.DataFrame,
    pfs: pd.DataFrame,
    *,
    name: str = "trial",
    exclude_without_followup: bool = False,
) -> Trial:
    """A checked Trial from four DataFrames with the columns of the CSV files (days, g/L, mg, hours).

    "id" is a column or the index. The row in a message is the line it would have in a CSV file (header = 1).
    `exclude_without_followup` leaves out patients without a measurement after baseline, with a warning.
    Raises DataError that lists every problem.
    """
    given = {"patients": patients, "doses": doses, "mprotein": mprotein, "pfs": pfs}
    parsed = {key: parse_table(key, number_lines(frame), file=key) for key, frame in given.items()}
    return build_trial(Tables(**parsed), name=name, exclude_without_followup=exclude_without_followup)


def build_trial(
    tables: Tables,
    *,
    name: str,
    exclude_without_followup: bool,
    errors: Iterable[Problem] = (),
    warnings: Iterable[Problem] = (),
) -> Trial:
    """The Trial of parsed tables; `errors` and `warnings` are what the reader met before.

    Raises DataError that lists every problem.
    """
    tables = replace(tables, pfs=_with_days(tables.pfs))
    found_errors, found_warnings = find_problems(tables)
    all_errors = (*errors, *found_errors)
    if all_errors:
        count = f"{len(all_errors)} problem{'s' if len(all_errors) > 1 else ''}"
        raise DataError(f"The data set {name!r} cannot be used ({count})", all_errors)
    all_warnings = (*warnings, *found_warnings)
    trial = _assemble(tables, name, all_warnings)
    return _without_unfollowed(trial, tables) if exclude_without_followup else trial


def _with_days(pfs: Table) -> Table:
    """`day` of an event seen at a visit is that visit, day_upper, where it is left blank."""
    rows = pfs.frame
    if not {"day", "day_upper"} <= set(rows.columns):
        return pfs
    # A cell that could not be read has been told so and stays missing.
    blank = rows["day"].isna() & ~pfs.unreadable["day"]
    return replace(pfs, frame=rows.assign(day=rows["day"].where(~blank, rows["day_upper"])))


def _assemble(tables: Tables, name: str, warnings: tuple[Problem, ...]) -> Trial:
    patients = tables.patients.frame.set_index("id")
    ids = patients.index
    doses = tables.doses.frame.loc[:, [column.name for column in SCHEMA["doses"]]]
    doses = doses.assign(duration_h=doses["duration_h"].fillna(0.0))  # blank is an oral dose
    mprotein = tables.mprotein.frame.loc[:, [column.name for column in SCHEMA["mprotein"]]]
    below = mprotein["below_lloq"] == 1
    mprotein = mprotein.assign(
        value_g_per_l=np.where(below, mprotein["lloq_g_per_l"], mprotein["value_g_per_l"]), below_lloq=below
    )
    pfs = tables.pfs.frame.set_index("id").loc[ids]
    pfs = pfs[[column.name for column in SCHEMA["pfs"] if column.name in pfs and column.name != "id"]]
    if "entry_day" in pfs:
        pfs = pfs.assign(entry_day=pfs["entry_day"].fillna(0.0))
    return Trial(
        patients=patients,
        doses=sort_by_patient(doses, ids),
        mprotein=sort_by_patient(mprotein, ids),
        pfs=pfs.assign(event=pfs["event"] == 1),
        name=name,
        warnings=warnings,
    )


def _without_unfollowed(trial: Trial, tables: Tables) -> Trial:
    followed = patients_with_follow_up(tables)
    kept = [i for i in trial.patients.index if i in followed]
    left_out = [i for i in trial.patients.index if i not in followed]
    if not left_out:
        return trial
    if not kept:
        message = "no patient has an M-protein measurement after baseline"
        remedy = "Add the measurements or set exclude_without_followup=False"
        raise DataError("Nothing is left", [tables.mprotein.problem(message, remedy)])
    message = (
        f"{len(left_out)} patients without a measurement after baseline are left out: {', '.join(left_out)}"
    )
    remedy = "Set exclude_without_followup=False to keep them"
    smaller = trial.subset(kept)
    note = tables.mprotein.problem(message, remedy)
    return Trial(
        smaller.patients, smaller.doses, smaller.mprotein, smaller.pfs, trial.name, (*smaller.warnings, note)
    )
