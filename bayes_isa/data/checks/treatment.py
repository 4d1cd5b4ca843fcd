"""Doses and progression-free survival, each alone and against each other."""

from __future__ import annotations

import pandas as pd

from bayes_isa.data.baseline import first_dose_day
from bayes_isa.data.checks.check import Check, error, warning
from bayes_isa.data.schema import DRUGS, nearest
from bayes_isa.data.tables import Tables
from bayes_isa.errors import Problem

_MINUTE = 1.0 / (24 * 60)  # days


@error("doses.drug")
def unknown_drugs(tables: Tables) -> list[Problem]:
    drug = tables.doses.frame["drug"]
    stray = ~drug.isin(DRUGS) & drug.notna()
    hints = {name: _drug_hint(name) for name in drug[stray].unique()}
    return tables.doses.report(stray, "drug {drug!r} is unknown", "{hint}", hint=drug.map(hints))


@error("doses.day")
def negative_dose_days(tables: Tables) -> list[Problem]:
    remedy = "Time counts from the first dose: the first dose is on day 0"
    return tables.doses.report(tables.doses.frame["day"] < 0, "day is {day:g}, negative", remedy)


@warning("doses.id", "doses.day")
def unsorted_doses(tables: Tables) -> list[Problem]:
    rows = tables.doses.frame
    # two drugs are often listed one after the other; only each drug's own order says anything
    keys = [key for key in ("id", "drug") if key in rows]
    back = rows.groupby(keys)["day"].diff() < 0
    first = back & ~rows["id"].where(back).duplicated()
    message = "the dose days of this patient are not in order (day {day:g} comes late)"
    return tables.doses.report(first, message, "They were sorted; nothing to do if the days are right")


@error("doses.amount_mg")
def non_positive_amounts(tables: Tables) -> list[Problem]:
    message = "amount_mg is {amount_mg:g}, not positive"
    return tables.doses.report(
        tables.doses.frame["amount_mg"] <= 0, message, "Give the amount in mg, or remove a dose not given"
    )


@error("doses.drug", "doses.duration_h")
def infusions_without_duration(tables: Tables) -> list[Problem]:
    rows = tables.doses.frame
    infused = (rows["drug"] == "isatuximab") & ~tables.doses.unreadable["duration_h"]
    remedy = "Isatuximab is infused: give the duration in hours (medians 3.7 first, 1.85 second, 1.25 later)"
    duration = rows["duration_h"]
    zero = tables.doses.report(
        infused & (duration <= 0), "duration_h of an isatuximab dose is {duration_h:g}", remedy
    )
    blank = tables.doses.report(
        infused & duration.isna(), "duration_h of an isatuximab dose is missing", remedy
    )
    return zero + blank


@error("doses.drug", "doses.duration_h")
def negative_durations(tables: Tables) -> list[Problem]:
    rows = tables.doses.frame
    wrong = (rows["drug"] != "isatuximab") & (rows["duration_h"] < 0)
    remedy = "Give 0 for an oral dose or the duration of the infusion in hours"
    return tables.doses.report(wrong, "duration_h is {duration_h:g}, negative", remedy)


@warning("doses.id", "doses.drug", "doses.day")
def repeated_doses(tables: Tables) -> list[Problem]:
    rows = tables.doses.frame
    again = rows.duplicated(["id", "drug", "day"]) & rows["day"].notna()
    return tables.doses.report(
        again, "a second {drug} dose at day {day:g}", "Both count; remove one if it was entered twice"
    )


@warning("patients.id", "doses.id", "doses.day")
def late_first_dose(tables: Tables) -> list[Problem]:
    start = tables.patients.frame["id"].map(first_dose_day(tables.doses.frame, _ids(tables)))
    message = "the first dose is on day {start:g}"
    remedy = (
        "Time counts from the first dose (day 0): subtract this day from all times if it is only numbering"
    )
    return tables.patients.report(start > 0, message, remedy, start=start)


@warning("patients.id", "doses.id")
def patients_without_doses(tables: Tables) -> list[Problem]:
    treated = tables.doses.frame["id"]
    if treated.empty:
        return []  # a data set without doses is fitted with constant exposure
    lacking = ~tables.patients.frame["id"].isin(treated)
    message = f"no dose in {tables.doses.file}"
    return tables.patients.report(
        lacking, message, "The patient counts as untreated; add the doses if not so"
    )


@error("pfs.day")
def non_positive_pfs(tables: Tables) -> list[Problem]:
    remedy = (
        "Give days from the first dose to progression, death or censoring; remove a patient never followed"
    )
    return tables.pfs.report(tables.pfs.frame["day"] <= 0, "day is {day:g}, not after day 0", remedy)


@warning("pfs.day", "pfs.event")
def instant_events(tables: Tables) -> list[Problem]:
    """Events within a minute of day 0: explained by growth that is immense at once, or not at all."""
    rows = tables.pfs.frame
    instant = (rows["event"] == 1) & (rows["day"] > 0) & (rows["day"] < _MINUTE)
    remedy = "Check the unit of day: nobody is assessed as early, and sampling may take thirty times as long"
    return tables.pfs.report(instant, "an event on day {day:g}, within a minute of day 0", remedy)


@warning("pfs.event")
def no_events(tables: Tables) -> list[Problem]:
    events = tables.pfs.frame["event"]
    if events.empty or events.isna().any() or (events == 1).any():
        return []
    message = "no patient has an event: censored times alone do not identify the hazard"
    return [tables.pfs.problem(message, "Check event: 1 is progression or death, 0 is censored")]


@error("patients.id", "doses.id", "doses.day", "pfs.id", "pfs.day")
def event_before_first_dose(tables: Tables) -> list[Problem]:
    rows = tables.pfs.frame
    start = rows["id"].map(first_dose_day(tables.doses.frame, _ids(tables))).astype(float)
    wrong = (rows["day"] < start) & (rows["day"] > 0)
    message = "PFS ends on day {day:g}, before the first dose on day {start:g}"
    return tables.pfs.report(wrong, message, "Correct the times, or remove the patient", start=start)


@warning("doses.id", "doses.day", "pfs.id", "pfs.day", "pfs.event")
def doses_after_event(tables: Tables) -> list[Problem]:
    pfs = tables.pfs.frame.drop_duplicates("id").set_index("id")
    event_day = pfs["day"].where(pfs["event"] == 1)
    rows = tables.doses.frame
    after = rows["day"] > rows["id"].map(event_day).astype(float)
    count = rows["id"].map(after.groupby(rows["id"]).sum())
    first = after & ~rows["id"].where(after).duplicated()
    message = "{count:.0f} of the doses come after the event on day {event_day:g}"
    remedy = "Kept: progression does not always end dosing; check the dates if it should have"
    return tables.doses.report(first, message, remedy, count=count, event_day=rows["id"].map(event_day))


CHECKS: tuple[Check, ...] = (
    unknown_drugs,
    negative_dose_days,
    unsorted_doses,
    non_positive_amounts,
    infusions_without_duration,
    negative_durations,
    repeated_doses,
    late_first_dose,
    patients_without_doses,
    non_positive_pfs,
    instant_events,
    no_events,
    event_before_first_dose,
    doses_after_event,
)


def _ids(tables: Tables) -> pd.Index:
    return pd.Index(tables.patients.frame["id"].unique())


def _drug_hint(name: str) -> str:
    close = nearest(name, DRUGS)
    return f"Did you mean {close!r}?" if close else f"The drugs known are {' and '.join(DRUGS)}"
