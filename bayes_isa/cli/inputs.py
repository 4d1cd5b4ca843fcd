"""What stands on the command line, turned into objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bayes_isa.cli.console import usage
from bayes_isa.data import read_nonmem, read_trial
from bayes_isa.data.candidates import all_covariates
from bayes_isa.errors import DataError, Problem

if TYPE_CHECKING:
    from bayes_isa.data import Trial
    from bayes_isa.model.spec import ModelSpec

_PICTURES = (".png", ".pdf", ".svg")


def read_data(
    path: Path, *, time_unit: Literal["day", "hour"] = "day", columns: list[str] | None = None
) -> Trial:
    """The trial in a directory of four CSV files, or in one NONMEM or Monolix event file.

    `time_unit` and `columns` ("DV=CONC": our name, the file's name) are for event files. Raises DataError; typer.Exit
    for options that make no sense.
    """
    with usage():
        mapping = _mapping(columns or [])
        if path.is_dir() and (mapping or time_unit != "day"):
            raise DataError(f"{path} is a directory: --column and --time-unit are for event files")
    if path.is_dir():
        return read_trial(path)
    if not path.exists():
        message = f"{path} does not exist"
        remedy = "Give a directory with patients.csv, doses.csv, mprotein.csv and pfs.csv, or one event file"
        raise DataError(message, [Problem("no such file or directory", remedy, file=str(path))])
    return read_nonmem(path, mapping=mapping, time_unit=time_unit)


def with_covariates(spec: ModelSpec, trial: Trial, which: Literal["published", "all", "none"]) -> ModelSpec:
    """`spec` with the published covariates, all that the trial has, or none."""
    if which == "published":
        return spec
    return replace(spec, covariates=all_covariates(trial) if which == "all" else {})


def require_directory(path: Path) -> None:
    """Make the directory `path` if need be and see that files can be written there; raises OSError otherwise."""
    path.mkdir(parents=True, exist_ok=True)
    probe = path / ".bayes_isa_probe"
    probe.touch()
    probe.unlink()


def require_picture(path: Path | None) -> None:
    """Raise DataError unless `path` ends as a picture that can be written, or is None."""
    if path is not None and path.suffix.lower() not in _PICTURES:
        raise DataError(f"{path}: a picture's file name ends in {', '.join(_PICTURES)}")


def _mapping(columns: list[str]) -> dict[str, str | int]:
    mapping: dict[str, str | int] = {}
    for text in columns:
        ours, equals, theirs = text.partition("=")
        if not (equals and ours.strip() and theirs.strip()):
            raise DataError(f"--column {text!r}: expected our name and the file's name, as in DV=CONC")
        code = theirs.strip()
        mapping[ours.strip()] = int(code) if code.isdigit() else code
    return mapping
