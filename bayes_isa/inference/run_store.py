"""A run on disk that outlives its process: what it samples, and every draw that is finished."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.inference.chains import Job
from bayes_isa.inference.disk import told_as_model_error, write_netcdf, write_text
from bayes_isa.inference.segments import (
    Layout,
    Origin,
    Segment,
    described,
    finished_draws,
    joined,
    last_position,
    last_step_size,
)

_ABOUT = "about.nc"  # the fit but for its draws
_ROOT = "zarr.json"
# nutpie adapts its mass matrix in windows of 80 draws, between an early phase (30 %) and one for the step size alone
# (15 %): with 200 draws a chain that starts where it stood gets a whole window.
RETUNE = 200


@dataclass(frozen=True)
class Stretch:
    """What is still to sample of some chains: the segment it makes, and how."""

    segment: Segment
    job: Job


@dataclass
class RunStore:
    """The directory of a run. It holds the fit but for its draws, and segments of draws."""

    path: Path
    about: xr.DataTree
    layout: Layout
    segments: list[Segment]
    _counted: dict[Segment, list[int]] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        path: Path,
        about: xr.DataTree,
        layout: Layout,
        *,
        finished_fit: Path | None = None,
    ) -> RunStore:
        """A new run; `finished_fit` is the file of a fit that it extends. The directory appears complete."""
        growing = path.with_name(f".{path.name}.new")
        segments = []
        with told_as_model_error(path):
            shutil.rmtree(growing, ignore_errors=True)
            growing.mkdir()
            write_netcdf(about, growing / _ABOUT)
            if finished_fit is not None:
                name = "segment_000.nc"
                shutil.copyfile(finished_fit, growing / name)
                chains = int(about.attrs["chains"])
                with xr.open_dataset(finished_fit, group="posterior", engine="h5netcdf") as posterior:
                    draws = posterior.sizes["draw"]
                settings = (draws, int(about.attrs["tune"]), int(about.attrs["seed"]))
                segments.append(Segment(name, tuple(range(chains)), *settings, "finished fit", True))
            write_text(growing / _ROOT, described(layout, segments))
            growing.replace(path)
        return cls(path, about, layout, segments)

    @classmethod
    def open(cls, path: Path) -> RunStore:
        """The run that is there; raises ModelError when `path` holds something else."""
        try:
            content = json.loads((path / _ROOT).read_text(encoding="utf-8"))["attributes"]["bayes_isa_run"]
            segments = [Segment.from_dict(stored) for stored in content["segments"]]
            about = xr.load_datatree(path / _ABOUT, engine="h5netcdf")
            return cls(path, about, Layout.from_dict(content["layout"]), segments)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{path}: expected a run that `fit` was writing, found something else ({error}); "
                "give another place or delete it"
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time may sample into a run; raises ModelError when another does."""
        try:
            import fcntl
        except ImportError:  # not on Windows
            yield
            return
        with told_as_model_error(self.path), (self.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ModelError(
                    f"{self.path}: another process is sampling this run; wait for it or stop it"
                ) from error
            # Another process may have sampled since this was read.
            self.segments, self._counted = RunStore.open(self.path).segments, {}
            yield

    def finished(self) -> list[int]:
        """Draws of each chain that nothing can take away."""
        totals = [0] * int(self.about.attrs["chains"])
        for segment, counts in zip(self.segments, self.counts(), strict=True):
            for chain, count in zip(segment.chains, counts, strict=True):
                totals[chain] += count
        return totals

    def counts(self) -> list[list[int]]:
        """Finished draws by segment, of each of its chains."""
        for segment in self.segments:
            if segment not in self._counted:  # one that is closed afterwards is counted anew
                self._counted[segment] = finished_draws(self.path, segment, self.layout)
        return [self._counted[segment] for segment in self.segments]

    def extended(self, draws: int) -> None:
        """From now on the run is to have `draws` draws a chain."""
        if int(self.about.attrs["draws"]) != draws:
            self.about.attrs["draws"] = draws
            write_netcdf(self.about, self.path / _ABOUT)

    def add_seconds(self, seconds: float) -> None:
        """Count time spent on sampling; that of a killed process is not known."""
        self.about.attrs["sampling_seconds"] = self.about.attrs.get("sampling_seconds", 0.0) + seconds
        write_netcdf(self.about, self.path / _ABOUT)

    def remaining(self) -> list[Stretch]:
        """What is to sample so that every chain has its draws: all chains anew when none has any yet."""
        counts, attrs = self.counts(), self.about.attrs
        self._forget([s for s, c in zip(self.segments, counts, strict=True) if not any(c)])
        counts = [c for c in counts if any(c)]
        draws, tune, seed = (int(attrs[name]) for name in ("draws", "tune", "seed"))
        n_chains = int(attrs["chains"])
        if not counts:
            segment = Segment("segment_000", tuple(range(n_chains)), draws, tune, seed, "started")
            return [Stretch(segment, Job(n_chains, draws, tune, seed, store=self.path / segment.name))]
        number = max(int(s.name.removesuffix(".nc").rpartition("_")[2]) for s in self.segments)
        stretches = []
        for chain in range(n_chains):
            had = [
                (segment, segment.chains.index(chain), of_chains[segment.chains.index(chain)])
                for segment, of_chains in zip(self.segments, counts, strict=True)
                if chain in segment.chains and of_chains[segment.chains.index(chain)]
            ]
            left = draws - sum(count for _, _, count in had)
            if left > 0:
                number += 1
                # Of its own for every stretch: a chain must not meet again the random numbers that led to where it
                # stands, in this store or in an earlier one that it was extended from.
                key = (number, chain, draws - left)
                own = int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0])
                stretches.append(self._stretch(number, chain, left, tune, own, had[-1] if had else None))
        return stretches

    def _stretch(
        self,
        number: int,
        chain: int,
        left: int,
        tune: int,
        seed: int,
        last: tuple[Segment, int, int] | None,
    ) -> Stretch:
        name = f"segment_{number:03d}"
        origin: Origin = "continued" if last else "begun again"
        position = last_position(self.path, *last, self.layout) if last else None
        step = last_step_size(self.path, *last) if last else None
        tune = min(tune, RETUNE) if last else tune
        segment = Segment(name, (chain,), left, tune, seed, origin)
        return Stretch(segment, Job(1, left, tune, seed, position, step, self.path / name))

    def begin(self, stretches: Sequence[Stretch]) -> None:
        """Note down what is about to be sampled."""
        self._note([*self.segments, *(stretch.segment for stretch in stretches)])

    def close(self, names: Sequence[str]) -> None:
        """Note down that these segments ended in order."""
        self._note([replace(s, closed=True) if s.name in names else s for s in self.segments])

    def _forget(self, segments: Sequence[Segment]) -> None:
        """Drop segments without finished draws, and what a killed process left of them."""
        self._note([s for s in self.segments if s not in segments])
        for segment in segments:
            shutil.rmtree(self.path / segment.name, ignore_errors=True)
            self._counted.pop(segment, None)  # its name may come again

    def _note(self, segments: list[Segment]) -> None:
        if segments != self.segments:
            write_text(self.path / _ROOT, described(self.layout, segments))
            self.segments = segments

    def fit(self) -> xr.DataTree:
        """The fit with the draws that are finished, as many a chain as the shortest has.

        Variables with a patient dimension are dask arrays that read the store. Raises ModelError without any draws.
        """
        counts = self.counts()
        if not any(any(c) for c in counts):
            raise ModelError(f"{self.path}: this run has no finished draws yet; continue it with `resume`")
        n_chains = int(self.about.attrs["chains"])
        posterior, stats, chains = joined(self.path, self.segments, counts, n_chains, self.layout)
        for name, unit in self.layout.units.items():
            if name in posterior:
                posterior[name].attrs["units"] = unit
        stats.attrs["inference_library"] = "nutpie"
        groups = {"posterior": posterior, "sample_stats": stats, "sampler_state": self._state(counts, chains)}
        tree = xr.DataTree.from_dict(groups)
        for name, child in self.about.children.items():
            tree[name] = child
        tree.attrs = {
            **{name: value for name, value in self.about.attrs.items() if name != "earlier_segments"},
            "draws": posterior.sizes["draw"],
            "segments": json.dumps(self._history(counts)),
        }
        return tree

    def _state(self, counts: Sequence[Sequence[int]], chains: Sequence[int]) -> xr.Dataset:
        """Where each chain stands, so that a fit can be extended once its store is gone."""
        last: dict[int, tuple[Segment, int, int]] = {}
        for segment, of_chains in zip(self.segments, counts, strict=True):
            for index, (chain, count) in enumerate(zip(segment.chains, of_chains, strict=True)):
                if count:
                    last[chain] = (segment, index, count)
        positions = [last_position(self.path, *last[chain], self.layout) for chain in chains]
        steps = [last_step_size(self.path, *last[chain]) for chain in chains]
        return xr.Dataset(
            {"position": (("chain", "dimension"), np.array(positions)), "step_size": ("chain", steps)},
            {"chain": list(chains)},
            {"about": "position of the last draw on the sampler's scale, and the adapted step size"},
        )

    def _history(self, counts: Sequence[Sequence[int]]) -> list[list[dict[str, Any]]]:
        """For each chain its segments: draws kept, warm-up draws not kept, seed, and how it began."""
        history: list[list[dict[str, Any]]] = [[] for _ in range(int(self.about.attrs["chains"]))]
        for segment, of_chains in zip(self.segments, counts, strict=True):
            if segment.is_file:
                for chain, earlier in enumerate(json.loads(self.about.attrs.get("earlier_segments", "[]"))):
                    history[chain] += earlier
                continue
            for chain, count in zip(segment.chains, of_chains, strict=True):
                if count:
                    of_segment = {"tune": segment.tune, "seed": segment.seed, "origin": segment.origin}
                    history[chain].append({"draws": count, **of_segment})
        return history


def remove_run(path: Path) -> None:
    """Delete a run that is no longer needed. Its name goes first: half of it must not pass for a run."""
    going = path.with_name(f".{path.name}.gone")
    shutil.rmtree(going, ignore_errors=True)
    if path.exists():
        path.replace(going)
    shutil.rmtree(going, ignore_errors=True)
