"""Covariates and individual PK parameters of the patients."""

from __future__ import annotations

import pandas as pd

from bayes_isa.data.checks.check import Check, error, warning
from bayes_isa.data.schema import PK_COLUMNS, POSITIVE_COVARIATES
from bayes_isa.data.tables import Tables
from bayes_isa.errors import Problem

_MANY = 10  # ids listed in a message before "and n more"


@error("patients.id")
def non_positive_covariates(tables: Tables) -> list[Problem]:
    patients = tables.patients
    problems = []
    for column in POSITIVE_COVARIATES:
        if column in patients.frame:
            message = f"{column} is {{{column}:g}}, not positive"
            remedy = "Leave the cell blank if the value is missing: the model takes its logarithm"
            problems += patients.report(patients.frame[column] <= 0, message, remedy)
    return problems


@warning("patients.id")
def missing_covariates(tables: Tables) -> list[Problem]:
    patients = tables.patients
    problems = []
    for column in patients.frame.columns.difference(["id", "study", "arm", *PK_COLUMNS], sort=False):
        missing = patients.frame[column].isna()
        if missing.any():
            ids = patients.frame.loc[missing, "id"]
            message = f"{column} is missing for {missing.sum()} of {len(missing)} patients ({_listed(ids)})"
            remedy = "As a covariate: the median stands in for a number, a level of its own for a category"
            problems.append(patients.problem(message, remedy))
    return problems


@error("patients.id")
def incomplete_pk(tables: Tables) -> list[Problem]:
    patients = tables.patients
    given = [column for column in PK_COLUMNS if column in patients.frame]
    if not given:
        return []
    problems = []
    absent = [column for column in PK_COLUMNS if column not in given]
    remedy = "Give all nine individual PK parameters for every patient, or none"
    if absent:
        problems.append(
            patients.problem(f"no column {', '.join(absent)}, though {given[0]} is there", remedy)
        )
    for column in given:
        blank = patients.frame[column].isna() & ~patients.unreadable[column]
        problems += patients.report(blank, f"{column} is missing", remedy)
    return problems


@error("patients.id")
def non_positive_pk(tables: Tables) -> list[Problem]:
    patients = tables.patients
    problems = []
    for column in PK_COLUMNS:
        # CLm is the one parameter distributed normally: clearance may also rise with time
        if column in patients.frame and column != "pk_CLm":
            message = f"{column} is {{{column}:g}}, not positive"
            problems += patients.report(patients.frame[column] <= 0, message, "Correct the PK parameter")
    return problems


CHECKS: tuple[Check, ...] = (non_positive_covariates, missing_covariates, incomplete_pk, non_positive_pk)


def _listed(ids: pd.Series) -> str:
    shown = ", ".join(ids.iloc[:_MANY])
    return shown if len(ids) <= _MANY else f"{shown} and {len(ids) - _MANY} more"
