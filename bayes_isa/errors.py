"""Every error of the package, each a `BayesIsaError`.

An error that can have several causes at once carries them all in `problems`, so that a user mends a data set
in one go instead of one row a run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input: where it is, what was found, how to mend it."""

    message: str
    remedy: str = ""
    file: str | None = None
    row: int | None = None  # line of the file as an editor counts, header = 1
    patient: str | None = None

    def __str__(self) -> str:
        where = [
            self.file or "",
            f"row {self.row}" if self.row is not None else "",
            f"patient {self.patient}" if self.patient is not None else "",
        ]
        prefix = ", ".join(part for part in where if part)
        text = f"{prefix}: {self.message}" if prefix else self.message
        return f"{text}. {self.remedy}" if self.remedy else text


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """Problems that differ in numbers and quoted text alone, with the remedy they share."""

    members: tuple[Problem, ...]
    remedy: str

    def places(self) -> list[str]:
        """A line for each member without the remedy."""
        return [str(Problem(p.message, "", p.file, p.row, p.patient)) for p in self.members]


def by_kind(problems: Iterable[Problem]) -> list[ProblemKind]:
    """Problems of one kind together, in the order in which kinds first appear."""
    kinds: dict[tuple[str | None, str, str], list[Problem]] = {}
    for problem in problems:
        pattern = re.sub(r"'[^']*'|-?\d+(\.\d+)?(e[+-]?\d+)?", "#", problem.message)
        kinds.setdefault((problem.file, pattern, problem.remedy), []).append(problem)
    return [ProblemKind(tuple(members), remedy) for (_, _, remedy), members in kinds.items()]


class BayesIsaWarning(UserWarning):
    """Something a user should know that does not stop the work."""


class BayesIsaError(Exception):
    """Base of every error the package raises for a user's mistake or a failed check."""

    def __init__(self, message: str, problems: Iterable[Problem] = ()) -> None:
        self.message = message
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join([message, *(f"  - {problem}" for problem in self.problems)]))


class DataError(BayesIsaError):
    """A data set that cannot be read as a trial; `problems` lists every reason."""


class RegimenError(BayesIsaError):
    """A dosing regimen that does not parse or makes no sense."""


class PriorError(BayesIsaError):
    """A prior set that misses a parameter, names an unknown one or has an impossible value."""


class ModelError(BayesIsaError):
    """A model specification that does not fit the data or itself."""


class ConvergenceError(BayesIsaError):
    """A fit that failed its diagnostics."""
