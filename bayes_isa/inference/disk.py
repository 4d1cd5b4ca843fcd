"""Files that are whole or absent, room for them, and what the system says when there is none."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xarray as xr

from bayes_isa.errors import ModelError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
# HDF5 and the Zarr writer of the sampler pass the system's error number on in their texts alone.
_NUMBER = re.compile(r"(?:errno = |os error )(\d+)")

_OVERHEAD_BYTES = 8192  # of HDF5 for a variable or group, generously


def require_writable(target: Path) -> None:
    """Raise ModelError now, not after hours of sampling, when `target` cannot be written."""
    folder = target.parent
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such directory to write {target.name} to; create it first")
    if target.is_dir():
        raise ModelError(f"{target}: expected a file name, found a directory")
    # Written beside it and renamed: the directory must allow it, not only the file.
    probe = folder / f".{target.name}.probe"
    with told_as_model_error(target):
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        probe.touch()
        probe.unlink()


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise ModelError when `folder` has less than `needed` bytes free for `what`."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ModelError(
            f"{folder}: {what} takes up to {size_text(needed)}, of which {size_text(free)} are free: "
            "free some, give another place, or ask for fewer draws"
        )


def size_text(count: float) -> str:
    """Bytes in a unit that suits."""
    for unit in ("B", "kB", "MB"):
        if count < 1000.0:
            return f"{count:.3g} {unit}"
        count /= 1000.0
    return f"{count:.3g} GB"


def write_netcdf(tree: xr.DataTree, target: Path) -> None:
    """Write `tree` to `target`, all of it or, whatever happens, what was there before.

    Raises ModelError when the place is full or cannot be written to.
    """
    growing = target.with_name(f".{target.name}.writing")
    with told_as_model_error(target):
        try:
            _require_room(growing, _netcdf_bytes(tree))
            tree.to_netcdf(growing, engine="h5netcdf")
            with growing.open("rb") as written:
                os.fsync(written.fileno())
            growing.replace(target)
        finally:
            growing.unlink(missing_ok=True)


def _require_room(file: Path, size: int) -> None:
    """Raise OSError unless a file of `size` bytes can be there: HDF5 may crash the process when its writes fail."""
    if hasattr(os, "posix_fallocate"):  # quotas count too
        with file.open("wb") as probe:
            os.posix_fallocate(probe.fileno(), 0, size)
    elif shutil.disk_usage(file.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _netcdf_bytes(tree: xr.DataTree) -> int:
    """Upper bound of the size of a netCDF file: values, texts, attributes, and what HDF5 adds for each variable."""
    size = 0
    for node in tree.subtree:
        size += _OVERHEAD_BYTES + sum(len(str(value)) for value in node.attrs.values())
        for variable in node.to_dataset(inherit=False).variables.values():
            size += _OVERHEAD_BYTES + variable.nbytes
            if variable.dtype.kind not in "biuf":
                size += sum(len(str(text)) for text in variable.to_numpy().ravel())
    return size


def write_text(target: Path, text: str) -> None:
    """Replace the content of `target` at once."""
    growing = target.with_name(f".{target.name}.writing")
    with told_as_model_error(target):
        try:
            with growing.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            growing.replace(target)
        finally:
            growing.unlink(missing_ok=True)


@contextmanager
def told_as_model_error(place: Path) -> Iterator[None]:
    """A full disk or a forbidden place within becomes a ModelError that names `place` and a remedy."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        message = disk_trouble(error, place)
        if message is None:
            raise
        raise ModelError(message) from error


def disk_trouble(error: BaseException, place: Path) -> str | None:
    """What to tell the user when `error` comes from the disk, else None."""
    number = getattr(error, "errno", None)
    if number is None and (found := _NUMBER.search(str(error))):
        number = int(found.group(1))
    if number in _FULL:
        return f"{place}: no room to write it ({os.strerror(number)}); free some or give another place"
    if number in _FORBIDDEN:
        return f"{place}: cannot be written ({os.strerror(number)}); change its permissions or give another place"
    return None
