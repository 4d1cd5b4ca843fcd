"""A check: a function from the tables to problems, with what it needs and how grave it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from bayes_isa.data.tables import Tables
from bayes_isa.errors import Problem

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Check:
    """`find` runs only when every "table.column" in `needs` exists; its problems share one severity."""

    find: Callable[[Tables], Iterable[Problem]]
    severity: Severity
    needs: tuple[str, ...]

    def __call__(self, tables: Tables) -> list[Problem]:
        return list(self.find(tables)) if tables.has(self.needs) else []


def error(*needs: str) -> Callable[[Callable[[Tables], Iterable[Problem]]], Check]:
    """Mark a function as a check whose problems stop the reading."""
    return lambda find: Check(find, "error", needs)


def warning(*needs: str) -> Callable[[Callable[[Tables], Iterable[Problem]]], Check]:
    """Mark a function as a check whose problems are told and lived with."""
    return lambda find: Check(find, "warning", needs)
