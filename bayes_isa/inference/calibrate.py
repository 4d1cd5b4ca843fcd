"""Simulation-based calibration of any inference: data sets drawn from the prior, fitted, the truths ranked.

Talts et al. 2018 (arXiv:1804.06788). What is calibrated is an `Experiment`; that of the joint model is in
`bayes_isa.prediction.calibrate`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr

from bayes_isa.errors import BayesIsaError, ModelError
from bayes_isa.inference.ranks import LEAST_REPLICATES, N_RANKED, randomised, uniformity
from bayes_isa.inference.replicates import Replicate, ReplicateStore

Progress = Callable[[int, int], None]
_POLL_SECONDS = 2.0


class Experiment(Protocol):
    """What is repeated: anything that can be pickled."""

    def settings(self) -> dict[str, Any]:
        """Plain values that decide the outcome; a store continues only with the same."""

    def start(self) -> Callable[[int], Replicate]:
        """The experiment of one process, made once in it: from a replicate's number to its outcome."""


def run_calibration(
    experiment: Experiment,
    *,
    n_replicates: int,
    out: Path,
    processes: int = 1,
    progress: Progress | None = None,
) -> xr.DataTree:
    """Run the replicates that the store `out` lacks, and return the ranks of all with tests of their uniformity.

    A replicate depends on its number alone: interrupted runs, longer ones and any number of processes give the same.
    A replicate whose data cannot be drawn or fitted (a `BayesIsaError`) is stored as failed. `progress` receives how
    many are done and how many are wanted. Raises ModelError for a store made with other settings.
    """
    if n_replicates < LEAST_REPLICATES or processes < 1:
        raise ModelError(
            f"expected n_replicates of at least {LEAST_REPLICATES} and processes of at least 1, found "
            f"{n_replicates} and {processes}"
        )
    store = ReplicateStore.open(out, experiment.settings())
    pending = [number for number in range(n_replicates) if not store.has(number)]
    shares = [pending[first::processes] for first in range(min(processes, len(pending)))]
    done = partial(_report, store, n_replicates, progress)
    if len(shares) == 1:
        _run(experiment, store, shares[0], done)
    elif shares:
        # Started afresh: compiled code and threads do not survive a fork.
        with ProcessPoolExecutor(len(shares), mp_context=get_context("spawn")) as pool:
            waiting = {pool.submit(_run, experiment, store, share, None) for share in shares}
            while waiting:
                finished, waiting = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_EXCEPTION)
                done()
                for future in finished:
                    future.result()
    return collect(store, experiment.settings(), n_replicates)


def _run(
    experiment: Experiment, store: ReplicateStore, numbers: list[int], done: Callable[[], None] | None
) -> None:
    """Replicates one after another, each stored when done."""
    replicate = experiment.start()
    for number in numbers:
        try:
            outcome = replicate(number)
        except BayesIsaError as error:
            outcome = Replicate(number, {}, {}, f"{type(error).__name__}: {error}")
        store.add(outcome)
        if done is not None:
            done()


def _report(store: ReplicateStore, n: int, progress: Progress | None) -> None:
    if progress is not None:
        progress(sum(store.has(number) for number in range(n)), n)


def collect(store: ReplicateStore, settings: dict[str, Any], n_replicates: int) -> xr.DataTree:
    """The replicates of a store as a DataTree.

    Root: `rank` (quantity, replicate), one variable for each fact of the fits (replicate,), and in attrs the settings,
    how many of how many are `done` and the numbers and reasons of those that `failed`. "uniformity": see
    `bayes_isa.inference.ranks.uniformity`. "prior_sbc": ranks spread over (0, 1), a variable for each quantity,
    dims (chain, draw), as `arviz.plot_ecdf_pit` takes them. Raises ModelError when fewer than 20 succeeded.
    """
    found = store.read(n_replicates)
    sound = [r for r in found if not r.failure]
    failed = {str(r.number): r.failure for r in found if r.failure}
    if len(sound) < LEAST_REPLICATES:
        raise ModelError(
            f"{len(sound)} of {len(found)} replicates succeeded, {LEAST_REPLICATES} are needed; the first failure: "
            f"{next(iter(failed.values()), 'there is none')}"
        )
    quantities = list(sound[0].ranks)
    rank = np.array([[r.ranks[name] for r in sound] for name in quantities])
    root = xr.Dataset(
        {
            "rank": (("quantity", "replicate"), rank, {"units": "1", "largest": N_RANKED}),
            **{n: ("replicate", np.array([r.facts[n] for r in sound])) for n in sound[0].facts},
        },
        coords={"quantity": quantities, "replicate": [r.number for r in sound]},
        attrs={**settings, "done": len(found), "wanted": n_replicates, "failed": failed},
    )
    pit = root["rank"].copy(data=randomised(rank, N_RANKED, seed=0))
    by_name = {name: (("chain", "draw"), pit.sel(quantity=name).to_numpy()[None]) for name in quantities}
    return xr.DataTree.from_dict(
        {"/": root, "/uniformity": uniformity(pit), "/prior_sbc": xr.Dataset(by_name)}
    )
