"""Files are whole or absent, and what the system says is passed on with a remedy."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.inference.disk import require_space, require_writable, size_text, write_netcdf, write_text


def tree(size: int = 3) -> xr.DataTree:
    return xr.DataTree.from_dict({"posterior": xr.Dataset({"x": ("draw", np.arange(float(size)))})})


def test_a_write_that_fails_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_netcdf(tree(3), tmp_path / "fit.nc")

    def fails(self: xr.DataTree, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fails)
    with pytest.raises(ModelError, match=r"fit\.nc: no room to write it.*free some"):
        write_netcdf(tree(5), tmp_path / "fit.nc")
    assert [file.name for file in tmp_path.iterdir()] == ["fit.nc"]
    assert xr.load_dataset(tmp_path / "fit.nc", group="posterior", engine="h5netcdf").sizes["draw"] == 3


def test_a_real_limit_is_told(tmp_path: Path) -> None:
    """A quota that the system enforces: HDF5 and text files."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(ModelError, match="no room"):
            write_netcdf(tree(100_000), tmp_path / "fit.nc")
        with pytest.raises(ModelError, match="no room"):
            write_text(tmp_path / "text", "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_forbidden_place_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "touch", forbidden)
    with pytest.raises(ModelError, match=r"fit\.nc: cannot be written \(Permission denied\).*another place"):
        require_writable(tmp_path / "fit.nc")


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may write anywhere")
def test_a_read_only_directory_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ModelError, match="cannot be written"):
            require_writable(tmp_path / "fit.nc")
    finally:
        tmp_path.chmod(0o700)


def test_an_error_of_another_kind_is_not_disguised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fails)
    with pytest.raises(RuntimeError, match="a defect"):
        write_netcdf(tree(), tmp_path / "fit.nc")


def test_too_little_space_is_told_with_numbers(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    require_space(tmp_path, free // 2, "this run")
    with pytest.raises(ModelError, match=r"this run takes up to .* GB, of which .* are free.*fewer draws"):
        require_space(tmp_path, free + 10**13, "this run")


@pytest.mark.parametrize(
    ("count", "text"), [(7, "7 B"), (1500, "1.5 kB"), (2e7, "20 MB"), (3.2e12, "3.2e+03 GB")]
)
def test_sizes_read_well(count: float, text: str) -> None:
    assert size_text(count) == text
