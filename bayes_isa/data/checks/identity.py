"""Who is in the data: every id known, once, and with all its parts."""

from __future__ import annotations

import pandas as pd

from bayes_isa.data.checks.check import Check, error, warning
from bayes_isa.data.schema import nearest
from bayes_isa.data.tables import Table, Tables
from bayes_isa.errors import Problem


@error("patients.id")
def empty(tables: Tables) -> list[Problem]:
    if len(tables.patients.frame):
        return []
    return [tables.patients.problem("holds no patients", "Give one row per patient")]


@error("mprotein.id")
def no_measurements_at_all(tables: Tables) -> list[Problem]:
    if len(tables.mprotein.frame):
        return []
    return [tables.mprotein.problem("holds no measurements", "Give one row per M-protein measurement")]


@error("patients.id")
def duplicate_patients(tables: Tables) -> list[Problem]:
    return _duplicates(tables.patients)


@error("pfs.id")
def duplicate_pfs(tables: Tables) -> list[Problem]:
    return _duplicates(tables.pfs)


@error("patients.id", "doses.id")
def unknown_in_doses(tables: Tables) -> list[Problem]:
    return _unknown(tables.doses, tables.patients)


@error("patients.id", "mprotein.id")
def unknown_in_mprotein(tables: Tables) -> list[Problem]:
    return _unknown(tables.mprotein, tables.patients)


@error("patients.id", "pfs.id")
def unknown_in_pfs(tables: Tables) -> list[Problem]:
    return _unknown(tables.pfs, tables.patients)


@error("patients.id", "mprotein.id")
def patients_without_measurements(tables: Tables) -> list[Problem]:
    return _absent(tables.patients, tables.mprotein, "no M-protein measurement")


@error("patients.id", "pfs.id")
def patients_without_pfs(tables: Tables) -> list[Problem]:
    return _absent(tables.patients, tables.pfs, "no progression-free survival time")


@warning("patients.id")
def single_patient(tables: Tables) -> list[Problem]:
    if len(set(tables.patients.frame["id"])) != 1:
        return []
    message = "one patient only: the variability between patients cannot be estimated"
    return [
        tables.patients.problem(message, "Fit several patients, or rely on the prior for the variability")
    ]


CHECKS: tuple[Check, ...] = (
    empty,
    no_measurements_at_all,
    duplicate_patients,
    duplicate_pfs,
    unknown_in_doses,
    unknown_in_mprotein,
    unknown_in_pfs,
    patients_without_measurements,
    patients_without_pfs,
    single_patient,
)


def _duplicates(table: Table) -> list[Problem]:
    ids = table.frame["id"]
    first = pd.Series(table.frame.index, index=table.frame.index).groupby(ids.to_numpy()).transform("first")
    again = ids.duplicated() & (ids != "")
    message = "id {id!r} was already given in row {first_row}"
    return table.report(again, message, "Keep one row per patient", first_row=first)


def _unknown(table: Table, patients: Table) -> list[Problem]:
    known = patients.frame["id"]
    if known.empty:
        return []  # reported once as an empty table
    ids = table.frame["id"]
    stray = ~ids.isin(known) & (ids != "")
    hints = {name: _hint(name, known, patients.file) for name in ids[stray].unique()}
    return table.report(stray, "id {id!r} is not in " + patients.file, "{hint}", hint=ids.map(hints))


def _hint(name: str, known: pd.Series, file: str) -> str:
    close = nearest(name, known, cutoff=0.75)
    # "1" and "001" are not alike as text, yet the usual cause is lost leading zeros
    bare = name.strip().lstrip("0")
    same = [other for other in known if other.strip().lstrip("0") == bare]
    close = same[0] if same else close
    add = f"add the patient to {file} or remove the row"
    return f"Did you mean {close!r}? Otherwise {add}" if close else add.capitalize()


def _absent(patients: Table, table: Table, what: str) -> list[Problem]:
    if table.frame.empty and table.name == "mprotein":
        return []  # reported once as an empty table
    lacking = ~patients.frame["id"].isin(table.frame["id"]) & (patients.frame["id"] != "")
    return patients.report(lacking, f"{what} in {table.file}", "Add it there or remove the patient")
