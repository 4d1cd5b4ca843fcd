"""NUTS chains in the background, so that they can be watched, stopped in order and kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bayes_isa.errors import ModelError
from bayes_isa.inference.deferred import load
from bayes_isa.inference.disk import disk_trouble
from bayes_isa.inference.settings import SamplerSettings

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class ChainProgress:
    """How far one chain has come; `fit` passes one for each chain to its `progress_callback`."""

    finished_draws: int  # of `total_draws`, warm-up included
    total_draws: int
    divergences: int  # after the warm-up, where they matter


@dataclass(frozen=True)
class Job:
    """Chains that are sampled together, from scattered starts or, a single one, from a given position."""

    chains: int
    draws: int
    tune: int
    seed: int
    position: np.ndarray | None = None  # (dimension,) on the sampler's scale
    initial_step: float | None = None
    store: Path | None = None  # draws stream to a Zarr store in this new directory; None: they stay in memory


def run_jobs(
    compiled: Any,
    jobs: Sequence[Job],
    settings: SamplerSettings,
    *,
    progressbar: bool,
    callback: Callable[[Sequence[ChainProgress]], None] | None,
    closed: Callable[[int], None] = lambda _: None,
) -> tuple[list[Any], BaseException | None]:
    """Sample all jobs, as many at once as `settings.cores` allows.

    `closed` is called with the number of each job that ended in order, all its draws written or in memory. Returns
    the results, None for a job without, and, when sampling was cut short, why: a KeyboardInterrupt, or
    a ModelError for a chain that could not start or could not write. Neither is raised, so that what there is can be
    kept.
    """
    watched = _Watched(jobs, callback)
    results: list[Any] = [None] * len(jobs)
    waiting, running = list(range(len(jobs))), dict[int, Any]()
    cores = settings.cores
    allowed = cores or _processors()
    arguments = {
        "target_accept": settings.target_accept,
        "progress_bar": progressbar,
        "cores": cores,
        **settings.options,
    }
    reason: BaseException | None = None
    try:
        while waiting or running:
            while waiting and (not running or len(running) < allowed):
                index = waiting.pop(0)
                running[index] = _start(compiled, jobs[index], watched.of(index), arguments)
                # A broken installation is found out now, not when draws are to be kept.
                load("arviz")
            for index in list(running):
                try:
                    results[index] = running[index].wait(timeout=_POLL_SECONDS)
                except TimeoutError:
                    continue
                del running[index]
                closed(index)
    except KeyboardInterrupt as interrupt:
        reason = interrupt
    except RuntimeError as error:
        running.pop(index, None)
        reason = _sampler_error(error, jobs[index].store)
    except ModelError as error:  # of `closed`
        reason = error
    for index, sampler in running.items():
        # Its chains finish the draw they are at and write what they hold.
        try:
            results[index] = sampler.abort()
            closed(index)
        except (RuntimeError, ValueError, ModelError):
            continue  # it failed, or had just ended: what is written stays
    return results, reason


def _processors() -> int:
    return (os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()) or 1


def _start(compiled: Any, job: Job, callback: Any, arguments: Mapping[str, Any]) -> Any:
    import nutpie

    extra: dict[str, Any] = {}
    if job.position is not None:
        position = np.ascontiguousarray(job.position, dtype=float)
        compiled = replace(compiled, initial_point_func=lambda seed=None: position.copy())
    if job.initial_step is not None:
        extra["initial_step"] = job.initial_step
    if job.store is not None:
        extra["return_raw_trace"] = True  # a tree would be opened, slowly, and not used
        extra["zarr_store"] = nutpie.zarr_store.LocalStore(str(job.store), mkdir=True)
    return nutpie.sample(
        compiled,
        draws=job.draws,
        tune=job.tune,
        chains=job.chains,
        seed=job.seed,
        save_warmup=False,
        blocking=False,
        progress_callback=callback,
        **{name: value for name, value in {**arguments, **extra}.items() if value is not None},
    )


def _sampler_error(error: RuntimeError, store: Path | None) -> ModelError:
    trouble = disk_trouble(error, store) if store is not None else None
    if trouble is not None:
        found = ModelError(
            f"{trouble}; the draws written so far are kept, `resume` (--resume) continues after them"
        )
    else:
        reason = " ".join(str(error).partition("Stack backtrace")[0].split())
        found = ModelError(
            f"the sampler stopped: {reason}; if no starting point was found, the usual cause is a prior or "
            "a data value that makes curves overflow: look at `bayes_isa.prior_check` and `model.point_logps()`"
        )
    found.__cause__ = error
    return found


class _Watched:
    """Joins the progress of several samplers into one report."""

    def __init__(
        self, jobs: Sequence[Job], callback: Callable[[Sequence[ChainProgress]], None] | None
    ) -> None:
        self.jobs = jobs
        self.callback = callback
        self.states = {
            index: [ChainProgress(0, job.tune + job.draws, 0)] * job.chains for index, job in enumerate(jobs)
        }

    def of(self, index: int) -> Callable[[Sequence[Any]], None] | None:
        callback = self.callback
        if callback is None:
            return None
        tune = self.jobs[index].tune

        def report(states: Sequence[Any]) -> None:
            self.states[index] = [
                ChainProgress(
                    s.finished_draws, s.total_draws, sum(draw >= tune for draw in s.divergent_draws)
                )
                for s in states
            ]
            callback([state for chains in self.states.values() for state in chains])

        return report
