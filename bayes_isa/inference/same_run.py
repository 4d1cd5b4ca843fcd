"""What makes two runs the same one: only then may draws of one go on in the other."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayes_isa.errors import ModelError

_MUST_AGREE = ("priors", "spec", "seed", "chains", "tune", "target_accept", "sampler", "options", "bayes_isa")


def require_same_run(stored: xr.DataTree, asked: xr.DataTree, place: Path) -> None:
    """Raise ModelError, naming what differs, unless both describe the same posterior sampled in the same way."""
    differences = [
        text
        for name in _MUST_AGREE
        if (text := _difference(name, _plain(stored.attrs.get(name)), _plain(asked.attrs.get(name))))
    ]
    if _data_hash(stored) != _data_hash(asked):
        differences.insert(0, "the data are not the same")
    if differences:
        raise ModelError(
            f"{place} belongs to another run: {'; '.join(differences)}. Repeat the settings it was begun with, "
            "or give another place for this one"
        )


def _plain(value: Any) -> Any:
    """A number as Python has it: netCDF gives those of NumPy."""
    return value.item() if hasattr(value, "item") else value


def _difference(name: str, stored: Any, asked: Any) -> str:
    if stored == asked:
        return ""
    if name in ("priors", "spec", "options") and stored and asked:
        was, now = _flat(json.loads(stored)), _flat(json.loads(asked))
        keys = sorted(key for key in {*was, *now} if was.get(key) != now.get(key))
        if not keys:
            return ""
        shown = ", ".join(f"{key} was {was.get(key)!r}, now {now.get(key)!r}" for key in keys[:5])
        return f"{name}: {shown}{f' and {len(keys) - 5} more' if len(keys) > 5 else ''}"
    label = "version of bayes_isa" if name == "bayes_isa" else name
    return f"{label} was {stored!r}, now {asked!r}"


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested mappings with the path to each leaf as its key."""
    if not isinstance(value, dict):
        return {path: value}
    leaves: dict[str, Any] = {}
    for key, inner in value.items():
        leaves |= _flat(inner, f"{path}.{key}" if path else str(key))
    return leaves


def _data_hash(about: xr.DataTree) -> str:
    """Of the trial's tables; of the observed values when the model carries no trial."""
    digest = hashlib.sha256()
    group = "trial" if "trial" in about.children else "observed_data"
    for name, variable in sorted(about[group].to_dataset().data_vars.items()):
        values = variable.to_numpy()
        digest.update(str(name).encode())
        digest.update(
            str(values.item()).encode() if group == "trial" else np.ascontiguousarray(values).tobytes()
        )
    return digest.hexdigest()
