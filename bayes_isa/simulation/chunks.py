"""Trials simulated in chunks: by dask on threads of this process or on a cluster, into memory or into a Zarr store.

A trial's result depends on the study and the trial's number alone, so chunks and workers change nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array
import numpy as np
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.simulation.study import Study, simulate_stretch
from bayes_isa.simulation.trials import trial_data

if TYPE_CHECKING:
    from distributed import Client

Progress = Callable[[int, int], None]

# A stored chunk: large enough for the disk, small enough that a dozen fit any memory.
_CHUNK_BYTES = 32e6
# In memory more chunks than processors keep all of them busy to the end.
_CHUNKS_A_PROCESSOR = 8
_MOST_TRIALS = 50
_ZARR_FORMAT = 2  # texts of any length are not settled in version 3
_DONE = "simulated"


def compute(
    study: Study,
    attrs: dict[str, object],
    chunk_trials: int | None,
    client: Client | None,
    progress: Progress | None,
) -> xr.DataTree:
    """All trials in memory."""
    count = study.sizes["trial"]
    by_default = max(1, min(_MOST_TRIALS, -(-count // (_CHUNKS_A_PROCESSOR * _processors()))))
    arrays: dict[str, np.ndarray] = {}

    def keep(first: int, last: int, part: dict[str, np.ndarray]) -> None:
        for name, values in part.items():
            arrays.setdefault(name, np.empty((count, *values.shape[1:]), values.dtype))[first:last] = values

    _run(study, _stretches(count, chunk_trials or by_default), simulate_stretch, keep, client, progress)
    return _tree(study, attrs, arrays, slice(0, count))


def stream(
    study: Study,
    attrs: dict[str, object],
    out: Path,
    chunk_trials: int | None,
    client: Client | None,
    progress: Progress | None,
) -> xr.DataTree:
    """All trials in the Zarr store `out`, made or resumed; lazily. Raises ModelError when it holds something else."""
    fingerprint = study.fingerprint()
    size = chunk_trials or int(max(1, min(study.sizes["trial"], _CHUNK_BYTES // study.bytes_per_trial)))
    require_memory(study, size * _processors(), "give a smaller chunk_trials")
    if out.exists():
        size, pending = _resumed(out, fingerprint)
    else:
        _create(study, attrs | {"study": fingerprint, "chunk_trials": size}, out, size)
        pending = list(_stretches(study.sizes["trial"], size))
    where = str(out.absolute())

    def write(study: Study, first: int, last: int) -> None:
        _write(study, first, last, where)

    _run(study, pending, write, lambda *_: None, client, progress)
    return open_trials(out)


def open_trials(path: str | Path) -> xr.DataTree:
    """Simulated trials that `simulate_trials(out=...)` wrote, as dask arrays, or those of a netCDF file.

    Raises ModelError for another directory or file, or for a study that was interrupted.
    """
    if Path(path).is_file():
        return _read_netcdf(Path(path))
    tree = _open(Path(path))
    done = tree[_DONE].to_numpy()
    if not done.all():
        raise ModelError(
            f"{path}: {int(done.sum())} of {done.size} trials are simulated; "
            "call simulate_trials with the same arguments to resume"
        )
    tree.dataset = tree.to_dataset().drop_vars(_DONE)
    return tree


def _read_netcdf(path: Path) -> xr.DataTree:
    try:
        tree = xr.load_datatree(path, engine="h5netcdf")
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{path}: expected simulated trials (.zarr or .nc), found something else ({error})"
        ) from error
    trial_data(tree, "pfs_day", "event", "m_protein")
    return tree


def require_memory(study: Study, n_trials: int, remedy: str) -> None:
    """Raises ModelError when results of `n_trials` trials are larger than the free memory."""
    needed, free = n_trials * study.bytes_per_trial, _free_memory()
    if needed > free:
        raise ModelError(
            f"results of {n_trials} trials take {needed / 1e9:.1f} GB, of which {free / 1e9:.1f} are free: {remedy}"
        )


def _run(
    study: Study,
    stretches: Iterable[tuple[int, int]],
    task: Callable[[Study, int, int], Any],
    keep: Callable[[int, int, Any], None],
    client: Client | None,
    progress: Progress | None,
) -> None:
    """`task` for each stretch of trials, by dask; `keep` takes what it returns."""
    listed = list(stretches)
    total = study.sizes["trial"]
    done = total - sum(last - first for first, last in listed)
    if client is not None:
        from distributed import as_completed

        # Sent once to every worker, instead of with every task.
        sent = client.scatter(study, broadcast=True, hash=False)
        futures = {client.submit(task, sent, *s, pure=False): s for s in listed}
        for future, result in as_completed(futures, with_results=True):
            first, last = futures.pop(future)
            keep(first, last, result)
            future.release()
            done += last - first
            if progress is not None:
                progress(done, total)
        return
    lock = threading.Lock()

    def one(first: int, last: int) -> None:
        nonlocal done
        keep(first, last, task(study, first, last))
        with lock:
            done += last - first
            if progress is not None:
                progress(done, total)

    # Named in order: the first trials first.
    tasks = [dask.delayed(one)(*s, dask_key_name=f"trials-{s[0]:012d}") for s in listed]
    dask.compute(*tasks, scheduler="threads", num_workers=_processors())


def _stretches(count: int, size: int) -> Iterable[tuple[int, int]]:
    return ((first, min(first + size, count)) for first in range(0, count, size))


def _tree(study: Study, attrs: dict[str, object], arrays: dict[str, Any], trials: slice) -> xr.DataTree:
    """The result from its arrays, which may be lazy."""
    pool, dims = study.pool, ("trial", "regimen", "patient")
    chosen = study.chosen[trials]
    ids = pool.patients.index.astype(str).to_numpy(dtype=object)
    regimens = np.array([column.label for column in study.columns], dtype=object)
    coords: dict[str, Any] = {
        "trial": np.arange(trials.start, trials.start + chosen.size),
        "regimen": regimens,
        "patient": np.arange(1, pool.size + 1) if pool.sampled else ids,
        "visit_day": ("visit", study.visits, {"units": "day"}),
        "chain": ("trial", study.draws.chain[chosen]),
        "draw": ("trial", study.draws.draw[chosen]),
    }
    if pool.sampled:
        width = max(map(len, ids))
        names = ids.astype(f"<U{width}")
        source = arrays["source"]
        lazy = isinstance(source, dask.array.Array)
        coords["source_patient"] = (
            dims[::2],
            source.map_blocks(names.take, dtype=names.dtype) if lazy else names[source],
        )
    markers = [name for name in ("m_protein", "m_protein_observed") if name in arrays]
    root = xr.Dataset(
        {
            "pfs_day": (dims, arrays["pfs_day"], {"units": "day"}),
            "event": (dims, arrays["event"]),
            **{name: ((*dims, "visit"), arrays[name], {"units": "g/L"}) for name in markers},
        },
        coords,
        attrs,
    )
    marginal = xr.Dataset(
        {"survival": (("trial", "regimen", "day"), arrays["survival"], {"units": "1"})},
        {
            "trial": root["trial"].to_numpy(),
            "regimen": regimens,
            "day": ("day", study.days, {"units": "day"}),
        },
    )
    return xr.DataTree.from_dict({"/": root, "/marginal": marginal})


def _create(study: Study, attrs: dict[str, object], out: Path, size: int) -> None:
    """A store of the right shape without results: everything but the variables by trial. It appears all at once."""
    growing = out.with_name(f"{out.name}.partial")
    one = simulate_stretch(study, 0, 1)
    count = study.sizes["trial"]
    empty = {
        name: dask.array.zeros(
            (count, *values.shape[1:]), dtype=values.dtype, chunks=(size, *values.shape[1:])
        )
        for name, values in one.items()
    }
    tree = _tree(study, attrs, empty, slice(0, count))
    done = dask.array.zeros(count, dtype=bool, chunks=size)
    root = tree.to_dataset().assign({_DONE: ("trial", done)})
    for group, dataset in (("/", root), ("/marginal", tree.children["marginal"].to_dataset(inherit=False))):
        dataset.to_zarr(
            growing,
            group=group,
            compute=False,
            consolidated=False,
            zarr_format=_ZARR_FORMAT,
            mode="w" if group == "/" else "a",
            write_empty_chunks=False,
        )
    growing.replace(out)


def _write(study: Study, first: int, last: int, where: str) -> None:
    """Simulate a chunk and write it; the mark that it is done comes last."""
    trials = slice(first, last)
    tree = _tree(study, {}, simulate_stretch(study, first, last), trials)
    root = tree.to_dataset()
    marginal = tree.children["marginal"].to_dataset(inherit=False)
    done = xr.Dataset({_DONE: ("trial", np.ones(last - first, dtype=bool))})
    for group, dataset in (("/", root), ("/marginal", marginal), ("/", done)):
        varying = [
            str(name) for name, v in dataset.variables.items() if "trial" in v.dims and name != "trial"
        ]
        dataset = dataset.reset_coords()[varying].drop_vars(
            ("trial", "regimen", "patient", "day"), errors="ignore"
        )
        dataset.to_zarr(
            where, group=group, region={"trial": trials}, consolidated=False, zarr_format=_ZARR_FORMAT
        )


def _open(out: Path) -> xr.DataTree:
    try:
        tree = xr.open_datatree(out, engine="zarr", chunks={}, consolidated=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{out}: expected a Zarr store of simulated trials ({error})") from error
    if "study" not in tree.attrs or _DONE not in tree:
        raise ModelError(f"{out}: a Zarr store, but not of simulated trials")
    return tree


def _resumed(out: Path, fingerprint: str) -> tuple[int, list[tuple[int, int]]]:
    """Chunk size of an existing store and the stretches it lacks."""
    tree = _open(out)
    if tree.attrs["study"] != fingerprint:
        raise ModelError(
            f"{out} holds trials simulated with other arguments: give another place, or delete it first"
        )
    size, done = int(tree.attrs["chunk_trials"]), tree[_DONE].to_numpy()
    return size, [(first, last) for first, last in _stretches(done.size, size) if not done[first:last].all()]


def _processors() -> int:
    return os.process_cpu_count() if hasattr(os, "process_cpu_count") else (os.cpu_count() or 1)


def _free_memory() -> float:
    """Bytes of memory that can be had; all there is where the system does not tell, no bound where it tells nothing."""
    try:
        # Free pages alone would leave out what the system only caches.
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024.0
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
