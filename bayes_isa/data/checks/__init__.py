"""Every check of a data set; `find_problems` runs them all."""

from __future__ import annotations

from bayes_isa.data.checks import events, identity, measurements, patients, treatment, units
from bayes_isa.data.checks.check import Check
from bayes_isa.data.tables import Tables
from bayes_isa.errors import Problem

CHECKS: tuple[Check, ...] = (
    identity.CHECKS + patients.CHECKS + treatment.CHECKS + events.CHECKS + measurements.CHECKS + units.CHECKS
)


def find_problems(tables: Tables) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Errors and warnings of a data set: those met in reading it, then those of every check that can run."""
    parts = (tables.patients, tables.doses, tables.mprotein, tables.pfs)
    errors = [problem for part in parts for problem in part.errors]
    warnings = [problem for part in parts for problem in part.warnings]
    for check in CHECKS:
        (errors if check.severity == "error" else warnings).extend(check(tables))
    return tuple(errors), tuple(warnings)
