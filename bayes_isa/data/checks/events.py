"""What is known of progression-free survival: exact, censored or between two visits, and since when it was watched."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayes_isa.data.checks.check import Check, error, warning
from bayes_isa.data.tables import Tables
from bayes_isa.errors import Problem

_INTERVAL = ("pfs.day", "pfs.event", "pfs.day_lower", "pfs.day_upper")


@error("pfs.day")
def missing_days(tables: Tables) -> list[Problem]:
    rows = tables.pfs.frame
    upper = rows["day_upper"] if "day_upper" in rows else pd.Series(np.nan, index=rows.index)
    missing = rows["day"].isna() & upper.isna() & ~tables.pfs.unreadable["day"]
    remedy = (
        "Give a value (progression, death or censoring, days since the first dose) or remove the row; "
        "only an event with day_upper may leave it blank"
    )
    return tables.pfs.report(missing, "day is missing", remedy)


@error("pfs.day_lower")
def lower_without_upper(tables: Tables) -> list[Problem]:
    remedy = "Give day_upper, the visit at which progression was seen, or leave both blank"
    return _without(tables, "day_lower", "day_upper", remedy)


@error("pfs.day_upper")
def upper_without_lower(tables: Tables) -> list[Problem]:
    remedy = "Give day_lower, the last visit without progression; 0 if there was none after baseline"
    return _without(tables, "day_upper", "day_lower", remedy)


def _without(tables: Tables, given: str, other: str, remedy: str) -> list[Problem]:
    rows = tables.pfs.frame
    if other not in rows:
        return tables.pfs.report(rows[given].notna(), f"{given} without {other}", f"Add the column {other}")
    alone = rows[given].notna() & rows[other].isna() & ~tables.pfs.unreadable[other]
    return tables.pfs.report(alone, f"{given} is {{{given}:g}} but {other} is missing", remedy)


@error("pfs.event", "pfs.day_upper")
def interval_of_a_censored_patient(tables: Tables) -> list[Problem]:
    rows = tables.pfs.frame
    wrong = rows["day_upper"].notna() & (rows["event"] == 0)
    message = "day_upper is {day_upper:g} but the patient is censored (event 0)"
    remedy = "Set event to 1 if progression was seen then, else leave day_lower and day_upper blank"
    return tables.pfs.report(wrong, message, remedy)


@error(*_INTERVAL)
def empty_intervals(tables: Tables) -> list[Problem]:
    rows = tables.pfs.frame
    wrong = rows["day_lower"] >= rows["day_upper"]
    message = "day_lower is {day_lower:g}, not before day_upper, {day_upper:g}"
    return tables.pfs.report(wrong, message, "Swap them; for an exact day leave both blank and give day")


@error(*_INTERVAL)
def day_is_not_the_visit(tables: Tables) -> list[Problem]:
    rows = tables.pfs.frame
    both = rows["day_lower"].notna() & (rows["day_lower"] < rows["day_upper"]) & (rows["event"] == 1)
    wrong = both & (rows["day"] != rows["day_upper"]) & rows["day"].notna()
    message = "day is {day:g} but progression was seen on day_upper, {day_upper:g}"
    remedy = "Leave day blank; for an exact day leave day_lower and day_upper blank"
    return tables.pfs.report(wrong, message, remedy)


@error("pfs.day_lower")
def negative_lower(tables: Tables) -> list[Problem]:
    wrong = tables.pfs.frame["day_lower"] < 0
    remedy = "Time counts from the first dose: give 0 if nobody looked after it"
    return tables.pfs.report(wrong, "day_lower is {day_lower:g}, negative", remedy)


@error("pfs.entry_day")
def negative_entry(tables: Tables) -> list[Problem]:
    wrong = tables.pfs.frame["entry_day"] < 0
    remedy = "Leave it blank: a patient under observation from the first dose on has no delayed entry"
    return tables.pfs.report(wrong, "entry_day is {entry_day:g}, negative", remedy)


@error("pfs.day", "pfs.entry_day")
def entry_after_the_end(tables: Tables) -> list[Problem]:
    rows = tables.pfs.frame
    wrong = (rows["entry_day"] >= rows["day"]) & (rows["day"] > 0)
    message = "entry_day is {entry_day:g}, not before PFS ends on day {day:g}"
    remedy = "Only patients still free of progression can enter: correct the days or remove the patient"
    return tables.pfs.report(wrong, message, remedy)


@error("pfs.day", "pfs.day_lower", "pfs.entry_day")
def entry_within_an_interval(tables: Tables) -> list[Problem]:
    rows = tables.pfs.frame
    wrong = (rows["entry_day"] > rows["day_lower"]) & (rows["entry_day"] < rows["day"])
    message = "entry_day is {entry_day:g}, after the last visit without progression, {day_lower:g}"
    remedy = "Give day_lower no earlier than entry_day: the patient was free of progression on entry"
    return tables.pfs.report(wrong, message, remedy)


@warning("pfs.entry_day")
def everyone_enters_late(tables: Tables) -> list[Problem]:
    entry = tables.pfs.frame["entry_day"].fillna(0.0)
    if entry.empty or not (entry > 0).all():
        return []
    message = f"every patient enters late, the first on day {entry.min():g}"
    return [
        tables.pfs.problem(message, "Nothing is learnt of the hazard before that day but through the model")
    ]


CHECKS: tuple[Check, ...] = (
    missing_days,
    lower_without_upper,
    upper_without_lower,
    interval_of_a_censored_patient,
    empty_intervals,
    day_is_not_the_visit,
    negative_lower,
    negative_entry,
    entry_after_the_end,
    entry_within_an_interval,
    everyone_enters_late,
)
