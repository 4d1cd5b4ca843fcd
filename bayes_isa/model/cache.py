"""Results on disk under a hash of all that they depend on: data, specification, priors, code and environment.

In the user's own cache directory, or the one that the environment variable BAYES_ISA_CACHE names; "off" keeps nothing.
What is kept are numbers by position, no identifiers of patients; they do derive from patients' data, so that only the
user may read them. The longest unused go first.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pickle
import platform
import tempfile
import warnings
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from llvmlite.binding import get_host_cpu_name
from platformdirs import user_cache_path

from bayes_isa.data import Trial
from bayes_isa.data.trial import TABLES
from bayes_isa.errors import BayesIsaWarning
from bayes_isa.model.priors import PriorSet
from bayes_isa.model.spec import ModelSpec

PLACE = "BAYES_ISA_CACHE"
_OFF = "off"
_MOST_BYTES = 256 * 2**20  # 270 trials of 200 patients, or 11 of 5000
_SUFFIX = ".found"
# What rounds: with another version a search takes another path.
_VERSIONED = ("numpy", "scipy", "pandas", "numba", "llvmlite")


@dataclass(frozen=True)
class Entry:
    """A place for one result; without a path it is never found and never kept."""

    path: Path | None

    def read(self) -> Any:
        """What was written here, or None; a damaged file is as none."""
        if self.path is None:
            return None
        try:
            digest, content = _parted(self.path.read_bytes())
        except OSError:
            return None
        if digest != hashlib.sha256(content).digest():
            return None
        with suppress(OSError):  # a directory that others write to
            os.utime(self.path)  # used
        return pickle.loads(content)

    def write(self, value: Any) -> None:
        """All of it or nothing. Warns (BayesIsaWarning) where the directory takes no file."""
        if self.path is None:
            return
        content = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        directory = self.path.parent
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _replace(self.path, hashlib.sha256(content).digest() + content)
        except OSError as error:
            warnings.warn(
                f"{directory}: what was found for these data cannot be kept there ({error.strerror or error}), the "
                f"next model will search again; set {PLACE} to another directory, or to {_OFF!r} to keep nothing",
                BayesIsaWarning,
                stacklevel=4,
            )
        else:
            _prune(directory)


def entry(trial: Trial, priors: PriorSet, spec: ModelSpec) -> Entry:
    """The place for what follows from these three."""
    place = os.environ.get(PLACE, "")
    if place.lower() == _OFF:
        return Entry(None)
    directory = Path(place).expanduser() if place else user_cache_path("bayes_isa", appauthor=False)
    return Entry(directory / (_key(trial, priors, spec) + _SUFFIX))


def _replace(path: Path, content: bytes) -> None:
    """The file as a whole, readable to its owner."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, delete=False) as file:
        try:
            file.write(content)
            file.close()
            os.replace(file.name, path)
        finally:
            Path(file.name).unlink(missing_ok=True)


def _parted(content: bytes) -> tuple[bytes, bytes]:
    size = hashlib.sha256().digest_size
    return content[:size], content[size:]


def _key(trial: Trial, priors: PriorSet, spec: ModelSpec) -> str:
    digest = hashlib.sha256(_surroundings())
    for name in TABLES:
        table = getattr(trial, name)
        digest.update(json.dumps([name, table.dtypes.astype(str).to_dict()]).encode())
        digest.update(pd.util.hash_pandas_object(table).to_numpy().tobytes())
    for choices in (spec.to_dict(), priors.to_dict() | {"path": None}):
        digest.update(json.dumps(choices).encode())
    return digest.hexdigest()


@functools.cache
def _surroundings() -> bytes:
    """Hash of the package's code and of what it computes with."""
    versions = [platform.python_version(), get_host_cpu_name(), *map(version, _VERSIONED)]
    digest = hashlib.sha256(json.dumps(versions).encode())
    package = Path(__file__).parents[1]
    for file in sorted(package.rglob("*.py")):
        digest.update(str(file.relative_to(package)).encode())
        digest.update(file.read_bytes())
    return digest.digest()


def _prune(directory: Path) -> None:
    """Remove the longest unused until what is left has a bounded size."""
    found = []
    for file in directory.glob(f"*{_SUFFIX}"):
        with suppress(OSError):  # another process was faster
            known = file.stat()
            found.append((known.st_mtime, known.st_size, file))
    total = 0
    for _, size, file in sorted(found, reverse=True):
        total += size
        if total > _MOST_BYTES:
            with suppress(OSError):  # another user's
                file.unlink()
