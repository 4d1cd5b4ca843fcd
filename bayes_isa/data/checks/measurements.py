"""The M-protein series: times, limits of quantification, a baseline and what follows it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayes_isa.data.baseline import baseline_rows, first_dose_day
from bayes_isa.data.checks.check import Check, error, warning
from bayes_isa.data.tables import Tables
from bayes_isa.errors import Problem

_VALUE = ("mprotein.id", "mprotein.value_g_per_l", "mprotein.lloq_g_per_l", "mprotein.below_lloq")
_SERIES = ("patients.id", "mprotein.id", "mprotein.day")


@error("mprotein.day")
def negative_days(tables: Tables) -> list[Problem]:
    message = "day is {day:g}, before the start of treatment"
    remedy = "Time counts from the first dose: give the baseline value day 0 and remove earlier ones"
    return tables.mprotein.report(tables.mprotein.frame["day"] < 0, message, remedy)


@error("mprotein.id", "mprotein.day")
def duplicate_days(tables: Tables) -> list[Problem]:
    rows = tables.mprotein.frame
    lines = pd.Series(rows.index, index=rows.index)
    first = lines.groupby([rows["id"].to_numpy(), rows["day"].to_numpy()]).transform("first")
    again = rows.duplicated(["id", "day"]) & rows["day"].notna()
    message = "a second measurement on day {day:g}, the first is in row {first_row:.0f}"
    return tables.mprotein.report(again, message, "Keep one or give their mean", first_row=first)


@warning("mprotein.id", "mprotein.day")
def unsorted_days(tables: Tables) -> list[Problem]:
    rows = tables.mprotein.frame
    back = rows.groupby("id")["day"].diff() < 0
    first = back & ~rows["id"].where(back).duplicated()
    message = "the days of this patient are not in order (day {day:g} comes late)"
    return tables.mprotein.report(first, message, "They were sorted; nothing to do if the days are right")


@error(*_VALUE)
def missing_values(tables: Tables) -> list[Problem]:
    rows = tables.mprotein.frame
    unreadable = tables.mprotein.unreadable["value_g_per_l"]
    missing = rows["value_g_per_l"].isna() & (rows["below_lloq"] != 1) & ~unreadable
    remedy = "Remove the row, or set below_lloq to 1 if the value was below the limit of quantification"
    return tables.mprotein.report(missing, "value_g_per_l is missing", remedy)


@error(*_VALUE)
def non_positive_values(tables: Tables) -> list[Problem]:
    rows = tables.mprotein.frame
    wrong = (rows["value_g_per_l"] <= 0) & (rows["below_lloq"] == 0)
    remedy = "A value that was not measurable is below its limit: set below_lloq to 1"
    return tables.mprotein.report(wrong, "value_g_per_l is {value_g_per_l:g}, not positive", remedy)


@error(*_VALUE)
def unflagged_below_lloq(tables: Tables) -> list[Problem]:
    rows = tables.mprotein.frame
    value, lloq = rows["value_g_per_l"], rows["lloq_g_per_l"]
    wrong = (value > 0) & (value < lloq) & (rows["below_lloq"] == 0)
    message = "value_g_per_l is {value_g_per_l:g}, below its limit {lloq_g_per_l:g}, but below_lloq is 0"
    remedy = "Set below_lloq to 1, or correct lloq_g_per_l if the value was quantified"
    return tables.mprotein.report(wrong, message, remedy)


@error(*_VALUE)
def flagged_above_lloq(tables: Tables) -> list[Problem]:
    rows = tables.mprotein.frame
    wrong = (rows["value_g_per_l"] > rows["lloq_g_per_l"]) & (rows["below_lloq"] == 1)
    message = "below_lloq is 1 but value_g_per_l is {value_g_per_l:g}, above its limit {lloq_g_per_l:g}"
    return tables.mprotein.report(wrong, message, "Set below_lloq to 0, or correct the value or the limit")


@error("mprotein.lloq_g_per_l")
def non_positive_lloq(tables: Tables) -> list[Problem]:
    wrong = tables.mprotein.frame["lloq_g_per_l"] <= 0
    remedy = "Give the limit of quantification of the assay, or leave the cell blank for 0.5 g/L"
    return tables.mprotein.report(wrong, "lloq_g_per_l is {lloq_g_per_l:g}, not positive", remedy)


@error("mprotein.below_lloq")
def everything_below_lloq(tables: Tables) -> list[Problem]:
    flags = tables.mprotein.frame["below_lloq"]
    if flags.empty or not (flags == 1).all():
        return []
    message = f"all {len(flags)} measurements are below the limit of quantification"
    return [tables.mprotein.problem(message, "Check below_lloq: 1 means below the limit, 0 means quantified")]


@warning("patients.id", "mprotein.id", "mprotein.below_lloq")
def patient_below_lloq(tables: Tables) -> list[Problem]:
    flags = tables.mprotein.frame.set_index("id")["below_lloq"]
    always = flags.eq(1).groupby(level=0).all()
    if always.all():
        return []  # an error of the data set
    patients = tables.patients
    message = "every measurement is below the limit of quantification"
    remedy = "The data say little about this patient: check that the disease was measurable at baseline"
    return patients.report(patients.frame["id"].isin(always[always].index), message, remedy)


@error(*_SERIES)
def no_baseline(tables: Tables) -> list[Problem]:
    start = _start(tables)
    rows = tables.mprotein.frame
    series = rows.dropna(subset=["day"])
    unreadable = set(rows.loc[rows["day"].isna(), "id"])
    with_baseline = set(baseline_rows(series, start).index)
    patients = tables.patients
    ids = patients.frame["id"]
    # a patient whose day could not be read has been told so, and may have a baseline after all
    lacking = ids.isin(series["id"]) & ~ids.isin(with_baseline | unreadable)
    first = series.groupby("id")["day"].min()
    return patients.report(
        lacking,
        "no baseline M-protein: first measurement on day {first_day:g}, first dose on day {dose_day:g}",
        f"Give the one before the first dose (day 0) in {tables.mprotein.file}, or remove the patient",
        first_day=ids.map(first),
        dose_day=ids.map(start),
    )


@warning(*_SERIES)
def no_follow_up(tables: Tables) -> list[Problem]:
    followed = patients_with_follow_up(tables)
    patients = tables.patients
    ids = patients.frame["id"]
    lacking = ids.isin(tables.mprotein.frame["id"]) & ~ids.isin(followed)
    remedy = "Kept: it informs the baseline and PFS; exclude_without_followup=True leaves such patients out"
    return patients.report(lacking, "no M-protein measurement after baseline", remedy)


@warning(*_SERIES, "mprotein.below_lloq")
def baseline_below_lloq(tables: Tables) -> list[Problem]:
    rows = tables.mprotein.frame
    series = rows.dropna(subset=["day"]).assign(line=rows.index[rows["day"].notna()])
    baseline = baseline_rows(series, _start(tables))
    lines = baseline.loc[baseline["below_lloq"] == 1, "line"]
    remedy = "The limit stands in where a covariate needs the observed baseline"
    message = "the baseline is below the limit of quantification"
    return tables.mprotein.report(rows.index.isin(lines), message, remedy)


CHECKS: tuple[Check, ...] = (
    negative_days,
    duplicate_days,
    unsorted_days,
    missing_values,
    non_positive_values,
    unflagged_below_lloq,
    flagged_above_lloq,
    non_positive_lloq,
    everything_below_lloq,
    patient_below_lloq,
    no_baseline,
    no_follow_up,
    baseline_below_lloq,
)


def patients_with_follow_up(tables: Tables) -> set[str]:
    """Ids of the patients with a measurement after their first dose."""
    rows = tables.mprotein.frame
    after = rows["day"] > rows["id"].map(_start(tables)).astype(float)
    return set(rows.loc[np.asarray(after, dtype=bool), "id"])


def _start(tables: Tables) -> pd.Series:
    # a negative dose day is an error of its own and must not cost the patient the baseline
    return first_dose_day(tables.doses.frame, pd.Index(tables.patients.frame["id"].unique())).clip(lower=0)
