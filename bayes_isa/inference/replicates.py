"""Replicates of a calibration on disk: one small file each, so that a killed run loses only what was under way."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bayes_isa.errors import ModelError

_SETTINGS = "settings.json"


@dataclass(frozen=True)
class Replicate:
    """One data set drawn and fitted: ranks by quantity, what the fit was like, or why it failed."""

    number: int
    ranks: dict[str, int]
    facts: dict[str, float]  # e.g. smallest ESS, largest R-hat, divergences
    failure: str = ""


@dataclass(frozen=True)
class ReplicateStore:
    """A directory with a file of settings and a file for each replicate."""

    path: Path

    @classmethod
    def open(cls, path: Path, settings: dict[str, Any]) -> ReplicateStore:
        """Make the store or continue one. Raises ModelError when it holds replicates made with other settings."""
        plain = json.loads(json.dumps(settings))
        file = path / _SETTINGS
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                if any(path.iterdir()):
                    raise ModelError(
                        f"{path} holds other files: give a new directory for the replicates, or that of an "
                        "interrupted run"
                    )
                _write(file, plain)
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise ModelError(f"{path}: cannot hold replicates ({error})") from error
        if found != plain:
            differing = sorted(n for n in {*found, *plain} if found.get(n) != plain.get(n))
            raise ModelError(
                f"{path} holds replicates made with other settings ({', '.join(differing)}): give another directory"
            )
        return cls(path)

    def add(self, replicate: Replicate) -> None:
        """Write one replicate: the file is there whole or not at all."""
        _write(self._file(replicate.number), asdict(replicate))

    def has(self, number: int) -> bool:
        return self._file(number).exists()

    def read(self, n: int) -> list[Replicate]:
        """Those of the first `n` that are there, in order."""
        files = [self._file(number) for number in range(n)]
        return [Replicate(**json.loads(f.read_text(encoding="utf-8"))) for f in files if f.exists()]

    def _file(self, number: int) -> Path:
        return self.path / f"replicate-{number:05d}.json"


def _write(file: Path, content: dict[str, Any]) -> None:
    growing = file.with_name(f"{file.name}.{os.getpid()}.partial")
    growing.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    growing.replace(file)
