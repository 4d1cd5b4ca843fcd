"""What a user sees: errors and warnings without tracebacks on stderr, results on stdout, exit codes."""

from __future__ import annotations

import json
import math
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from bayes_isa.errors import BayesIsaError, Problem, by_kind

EXIT_FAILED = 1  # the data, the fit or a check is at fault
EXIT_USAGE = 2  # the command line is at fault
EXIT_INTERRUPTED = 130  # what shells report for Ctrl-C
_COLOURS = {
    "Error:": "red",
    "DIAGNOSTICS FAILED": "red",
    "Diagnostics passed": "green",
    "Note:": "yellow",
}
_LISTED = 10  # problems of one kind named by verbs that only need the data; `check` names all


class VerbGroup(TyperGroup):
    """Verbs whose errors end in a message and an exit code, and whose warnings are notes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings_as_notes():
                return super().invoke(ctx)
        except BayesIsaError as error:
            say(error_text(error))
            raise typer.Exit(EXIT_FAILED) from None
        except BrokenPipeError:
            raise  # the reader of a pipe has had enough: typer ends quietly
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            say(f"Error: {place}{error.strerror or error}")
            raise typer.Exit(EXIT_FAILED) from None
        except KeyboardInterrupt:
            say("Interrupted.")
            raise typer.Exit(EXIT_INTERRUPTED) from None


def say(text: str) -> None:
    """Print to stderr: all that is not a result. On a terminal what begins the line says how bad it is, in colour."""
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb":
        for start, colour in _COLOURS.items():
            if text.startswith(start):
                text = typer.style(start, fg=colour, bold=True) + text.removeprefix(start)
    print(text, file=sys.stderr, flush=True)


@contextmanager
def usage() -> Iterator[None]:
    """Errors within are the command line's fault: exit code 2 instead of 1."""
    try:
        yield
    except BayesIsaError as error:
        say(error_text(error))
        raise typer.Exit(EXIT_USAGE) from None


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Warnings meant for users become one line on stderr each, once; numerical and deprecation ones are dropped."""
    told: set[str] = set()

    def tell(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if issubclass(category, UserWarning) and text not in told:
            told.add(text)
            say(f"Note: {text}")

    # `simplefilter` makes every warning reach `tell`; without it Python would drop repeats of other modules too.
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = tell
        yield


def error_text(error: BayesIsaError) -> str:
    """The message of an error and its problems, the first few of each kind."""
    return "\n".join([f"Error: {error.message}", *grouped(error.problems, listed=_LISTED)])


def grouped(problems: Iterable[Problem], *, listed: int | None = None) -> list[str]:
    """Lines for problems: those of one kind together, each with file, row and patient, their remedy once.

    `listed` limits how many of one kind are named; the last line of a longer group says how many more there are.
    """
    lines = []
    for kind in by_kind(problems):
        places = kind.places()
        lines += [f"  {place}" for place in places[:listed]]
        if listed is not None and len(places) > listed:
            lines.append(f"  ... and {len(places) - listed} more of this kind; `bayes-isa check` lists all")
        if kind.remedy:
            lines.append(f"      {kind.remedy}" + ("" if kind.remedy.endswith("?") else "."))
    return lines


def print_json(result: Mapping[str, Any]) -> None:
    """Print a result as JSON on stdout; NaN and infinities, which JSON lacks, become null."""
    print(json.dumps(_plain(result), indent=2))


def problem_dict(problem: Problem) -> dict[str, Any]:
    """JSON-ready form of a problem."""
    return {
        "file": problem.file,
        "row": problem.row,
        "patient": problem.patient,
        "message": problem.message,
        "remedy": problem.remedy,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # NumPy scalars
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
