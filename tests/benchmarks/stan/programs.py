"""The Stan programs, `#include` lines resolved: PyStan 3 takes one string and has no include path."""

from __future__ import annotations

from pathlib import Path

_DIRECTORY = Path(__file__).resolve().parent / "programs"
_INCLUDE = "#include "


def program(name: str) -> str:
    """Source of "noncentered", "centered", "reduce_sum" (non-centered) or "rk45"."""
    return "\n".join(_lines(_DIRECTORY / f"{name}.stan")) + "\n"


def _lines(file: Path) -> list[str]:
    resolved: list[str] = []
    for line in file.read_text().splitlines():
        if line.startswith(_INCLUDE):
            resolved += _lines(_DIRECTORY / line.removeprefix(_INCLUDE).strip())
        else:
            resolved.append(line)
    return resolved
