"""Question and data."""

from __future__ import annotations

from collections.abc import Sequence

from bayes_isa.data import Trial
from bayes_isa.data.summary import arm_table, baseline_table
from bayes_isa.errors import by_kind
from bayes_isa.plots.plot_mprotein import plot_mprotein
from bayes_isa.report.document import Block, Bullets, Section, Table, Text
from bayes_isa.report.images import picture
from bayes_isa.report.words import number, span

_NAMED = 5  # places of one kind of warning; `bayes-isa check` lists all


def data_section(trial: Trial, regimens: Sequence[str], left_out: dict[str, str]) -> Section:
    """What is asked, and of which data."""
    asked = (
        f"How do {_listed(regimens)} compare in progression-free survival (PFS) and response, and how sure are we?"
        if regimens
        else "What do the data say of growth and kill of serum M-protein and of the hazard of progression or death?"
    )
    events = int(trial.pfs["event"].sum())
    below = int(trial.mprotein["below_lloq"].sum())
    blocks: list[Block] = [
        Text(asked),
        Text(
            f"Data: {trial.name}, {trial.n_patients} patients, {trial.n_measurements} measurements of serum "
            "M-protein "
            f"({below} below the limit of quantification, LLOQ), {events} progressions or deaths. Time counts "
            "from each "
            "patient's first dose."
        ),
        _arms(trial),
        picture(
            plot_mprotein(trial),
            name="mprotein",
            caption="Measured serum M-protein by arm, one line per patient.",
            alt="Serum M-protein in g/L on a log scale against weeks since first dose, a panel per arm, a line per "
            "patient; triangles are values below the limit of quantification, crosses progression or death.",
        ),
        _baseline(trial),
    ]
    if left_out:
        blocks.append(
            Text("Covariates of the published model left out, because these data cannot inform them:")
        )
        blocks.append(Bullets([f"{name}: {reason}" for name, reason in left_out.items()]))
    if trial.warnings:
        blocks.append(Text("Checks of the data warned of:"))
        blocks.append(Bullets(_warnings(trial)))
    return Section("data", "Question and data", blocks)


def _warnings(trial: Trial) -> list[str]:
    """A line for each kind of problem: where it is found, at most so many places by name, and what to do."""
    lines = []
    for kind in by_kind(trial.warnings):
        places = kind.places()
        more = f"; and {len(places) - _NAMED} more of this kind" if len(places) > _NAMED else ""
        lines.append("; ".join(places[:_NAMED]) + more + (f". {kind.remedy}" if kind.remedy else ""))
    return lines


def _arms(trial: Trial) -> Table:
    rows = [
        [
            str(row["arm"]),
            *(str(row[name]) for name in ("patients", "events", "censored", "measurements")),
            f"{row['below_lloq_percent']:.1f}",
            f"{row['last_day_median'] / 7.0:.0f}",
        ]
        for row in arm_table(trial).to_dict(orient="records")
    ]
    columns = (
        "Arm",
        "Patients",
        "Events",
        "Censored",
        "Measurements",
        "Below LLOQ, %",
        "Median follow-up, weeks",
    )
    return Table("Arms, events and measurements", columns, rows)


def _baseline(trial: Trial) -> Table:
    rows = [
        [
            str(row["covariate"]),
            f"{100 * row['median']:.0f} %" if row["flag"] else number(row["median"]),
            "–" if row["flag"] else span(row["low"], row["high"]),
            str(row["missing"]),
        ]
        for row in baseline_table(trial).to_dict(orient="records")
    ]
    note = "Units are in the names; 0/1 columns show the share of 1."
    return Table("Patients at baseline", ("Covariate", "Median or share", "Range", "Missing"), rows, note)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
