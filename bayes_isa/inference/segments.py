"""Draws of a run on disk: each stretch of sampling is a segment, and what of it is whole is told by its files alone.

The sampler writes a variable of a chain in chunks of some draws, each to a file that appears at once under its name. So
a killed process leaves whole chunks and, of the last draws, chunks of some variables only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
import zarr

# Of the sampler's statistics, those that are one number a draw.
STATS = (
    "depth",
    "maxdepth_reached",
    "step_size",
    "step_size_bar",
    "mean_tree_accept",
    "mean_tree_accept_sym",
    "n_steps",
    "index_in_trajectory",
    "logp",
    "energy",
    "energy_error",
    "max_energy_error",
    "fisher_distance",
    "transformation_index",
    "tuning",
    "diverging",
)
# A chunk that holds nothing but the fill value is not written: of these that is a NaN, which none of them ever is.
_ALWAYS_WRITTEN = ("logp", "energy", "step_size", "step_size_bar")
# A chunk's files are written together, in milliseconds; the slowest disk gets a thousand times that.
_SETTLED_SECONDS = 2.0
_FILES_AT_ONCE = 64  # read; with Zarr's default, 10, hundreds of small files take twice as long

Origin = Literal["started", "continued", "begun again", "finished fit"]


@dataclass(frozen=True)
class Segment:
    """One stretch of sampling, of one or more chains of the run."""

    name: str
    chains: tuple[int, ...]
    draws: int
    tune: int
    seed: int
    origin: Origin
    closed: bool = False  # ended in order, so that its last chunk is whole, however short

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {**asdict(self), "chains": list(self.chains)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Segment:
        """What `to_dict` gave."""
        return cls(**{**stored, "chains": tuple(stored["chains"])})

    @property
    def is_file(self) -> bool:
        """Whether it is a finished fit, a netCDF file, that the run extends."""
        return self.origin == "finished fit"


@dataclass(frozen=True)
class Layout:
    """What is in the stores of the sampler."""

    variables: tuple[str, ...]  # of the posterior
    position: tuple[str, ...]  # whose values, one after another, are the sampler's position
    units: dict[str, str]

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Layout:
        """What `asdict` gave."""
        return cls(tuple(stored["variables"]), tuple(stored["position"]), dict(stored["units"]))


def finished_draws(run: Path, segment: Segment, layout: Layout) -> list[int]:
    """Draws of each chain of a segment that are whole in every variable."""
    if segment.is_file:
        with xr.open_dataset(run / segment.name, group="posterior", engine="h5netcdf") as posterior:
            return [posterior.sizes["draw"]] * len(segment.chains)
    folder = run / segment.name
    names = [*(f"posterior/{n}" for n in {*layout.variables, *layout.position})]
    names += [f"sample_stats/{n}" for n in _ALWAYS_WRITTEN]
    try:
        arrays = [_Chunks.of(folder / name) for name in names]
    except FileNotFoundError:  # killed while the store was made
        return [0] * len(segment.chains)
    counts = []
    for chain in range(len(segment.chains)):
        whole = min(array.written(chain) for array in arrays)
        if not segment.closed:
            if not _settled(folder / "sample_stats" / "logp" / "c", chain, whole):
                whole -= 1
            whole = min((array.readable(chain, whole) for array in arrays), default=0)
        rows = max(0, min(whole * arrays[0].draws, segment.draws))
        logp = zarr.open_array(folder / "sample_stats" / "logp", mode="r")
        counts.append(int(np.isfinite(np.asarray(logp[chain, :rows])).sum()))
    return counts


@dataclass(frozen=True)
class _Chunks:
    """The chunk files of a variable."""

    folder: Path
    draws: int  # in a chunk
    inner: str  # path from a chunk's number to its file

    @classmethod
    def of(cls, folder: Path) -> _Chunks:
        """Of the Zarr array in `folder`; raises FileNotFoundError when it is not there yet."""
        metadata = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
        shape = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        return cls(folder, int(shape[1]), "/".join("0" for _ in shape[2:]))

    def written(self, chain: int) -> int:
        """How many chunks of a chain, from the first on, are there."""
        place = self.folder / "c" / str(chain)
        there = {entry.name for entry in place.iterdir()} if place.is_dir() else set()
        count = 0
        while str(count) in there and (not self.inner or (place / str(count) / self.inner).is_file()):
            count += 1
        return count

    def readable(self, chain: int, count: int) -> int:
        """How many of the first `count` are whole: a power failure may have cut off the last ones."""
        array = zarr.open_array(self.folder, mode="r")
        while count > 0:
            try:
                array[chain, (count - 1) * self.draws : count * self.draws]
                return count
            except (OSError, RuntimeError, ValueError):
                count -= 1
        return 0


def _settled(logp: Path, chain: int, whole: int) -> bool:
    """Whether all writes of a chain's chunk number `whole - 1` must have ended before the process did.

    Of "diverging" a chunk without any is not written, so its absence tells nothing: it may have been on its way. It
    was not when the chain had begun its next chunk, or when any chain wrote something a good while later.
    """
    if whole == 0 or (logp / str(chain) / str(whole)).exists():
        return True
    newest = max(file.stat().st_mtime for file in logp.glob("*/*"))
    return newest - (logp / str(chain) / str(whole - 1)).stat().st_mtime > _SETTLED_SECONDS


def last_position(run: Path, segment: Segment, chain: int, count: int, layout: Layout) -> np.ndarray:
    """Where a chain of a segment stood at the last of its `count` draws, on the sampler's scale."""
    if segment.is_file:
        with xr.open_dataset(run / segment.name, group="sampler_state", engine="h5netcdf") as state:
            return state["position"].to_numpy()[chain].astype(float)
    folder = run / segment.name / "posterior"
    parts = [zarr.open_array(folder / name, mode="r")[chain, count - 1] for name in layout.position]
    return np.concatenate([np.ravel(np.asarray(part, dtype=float)) for part in parts])


def last_step_size(run: Path, segment: Segment, chain: int, count: int) -> float:
    """The adapted step size of a chain of a segment."""
    if segment.is_file:
        with xr.open_dataset(run / segment.name, group="sampler_state", engine="h5netcdf") as state:
            return float(state["step_size"].to_numpy()[chain])
    array = zarr.open_array(run / segment.name / "sample_stats" / "step_size_bar", mode="r")
    return float(np.asarray(array[chain, count - 1]))


def opened(run: Path, segment: Segment, layout: Layout) -> tuple[xr.Dataset, xr.Dataset]:
    """Posterior and sampler statistics (chain, draw) of a segment, lazily, without coordinates of chain and draw."""
    if segment.is_file:
        datasets = [
            xr.open_dataset(run / segment.name, group=group, engine="h5netcdf", chunks={"draw": 100})
            for group in ("posterior", "sample_stats")
        ]
    else:
        datasets = [_of_store(run / segment.name, group) for group in ("posterior", "sample_stats")]
    posterior, stats = (d.drop_vars(["chain", "draw"], errors="ignore") for d in datasets)
    posterior = posterior[list(layout.variables)]
    # Texts are strings of any length in Zarr and objects elsewhere in this package.
    texts = {
        name: np.array([str(v) for v in c.to_numpy()], dtype=object)
        for name, c in posterior.coords.items()
        if c.dtype.kind not in "iuf"
    }
    return posterior.assign_coords(texts), stats[[name for name in STATS if name in stats]]


def _of_store(folder: Path, group: str) -> xr.Dataset:
    """Lazily: a dask array of the store's chunks where there is a patient dimension, else read in one go when used.

    A small variable has hundreds of small chunks; one by one their reading would take longer than opening them.
    """
    options: dict[str, Any] = {"group": group, "engine": "zarr", "consolidated": False, "zarr_format": 3}
    in_chunks = xr.open_dataset(folder, chunks={}, **options)
    at_once = xr.open_dataset(folder, chunks=None, **options)
    return in_chunks.assign({name: v for name, v in at_once.data_vars.items() if not _of_patients(v)})


def _of_patients(variable: xr.DataArray) -> bool:
    return any(str(dim).startswith("patient") for dim in variable.dims)


def joined(
    run: Path, segments: Sequence[Segment], counts: Sequence[Sequence[int]], n_chains: int, layout: Layout
) -> tuple[xr.Dataset, xr.Dataset, list[int]]:
    """Posterior, statistics and the chains they are of: as many draws as the shortest chain with any has.

    What has a patient dimension stays lazy, a dask array; the rest is in memory.
    """
    pieces: dict[int, list[tuple[xr.Dataset, xr.Dataset]]] = {chain: [] for chain in range(n_chains)}
    for segment, of_chains in zip(segments, counts, strict=True):
        if not any(of_chains):
            continue
        posterior, stats = opened(run, segment, layout)
        for index, (chain, count) in enumerate(zip(segment.chains, of_chains, strict=True)):
            if count:
                taken = {"chain": [index], "draw": slice(0, count)}
                pieces[chain].append((posterior.isel(taken), stats.isel(taken)))
    chains = [chain for chain in pieces if pieces[chain]]
    shortest = min(sum(p.sizes["draw"] for p, _ in pieces[chain]) for chain in chains)
    with zarr.config.set({"async.concurrency": _FILES_AT_ONCE}):
        posterior, stats = (
            _concatenated({chain: [piece[which] for piece in pieces[chain]] for chain in chains}, shortest)
            for which in (0, 1)
        )
    return posterior, stats, chains


def _concatenated(pieces: Mapping[int, Sequence[xr.Dataset]], draws: int) -> xr.Dataset:
    """The pieces of each chain one after another, cut to so many draws, chains side by side."""
    by_chain = [xr.concat(own, "draw").isel(draw=slice(0, draws)) for own in pieces.values()]
    dataset = xr.concat(by_chain, "chain", combine_attrs="drop")
    dataset = dataset.assign_coords(chain=list(pieces), draw=np.arange(draws))
    for name, variable in dataset.data_vars.items():
        if not _of_patients(variable):
            dataset[name] = variable.compute()
        dataset[name].attrs.clear()
        dataset[name].encoding.clear()
    return dataset


def described(layout: Layout, segments: Sequence[Segment]) -> str:
    """The attributes of a run's root group, as a Zarr 3 metadata document."""
    content = {"format": 1, "layout": asdict(layout), "segments": [s.to_dict() for s in segments]}
    return json.dumps(
        {"zarr_format": 3, "node_type": "group", "attributes": {"bayes_isa_run": content}}, indent=1
    )
