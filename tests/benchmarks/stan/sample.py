"""Samples a Stan program with PyStan; run by the Python of the Stan environment, which has no bayes_isa.

python sample.py JOB RESULT: JOB a JSON file (program, data, init, chains, draws, tune, delta, seed), RESULT an .npz
file with every population parameter (chain, draw, ...), the sampler's statistics and, per chain, Stan's own elapsed
seconds.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import stan

_ELAPSED = re.compile(r"([0-9.eE+-]+) seconds \((Warm-up|Sampling)\)")
_STATISTICS = ("divergent__", "n_leapfrog__", "treedepth__")


def main(job_file: str, result_file: str) -> None:
    """Sample and write."""
    job = json.loads(Path(job_file).read_text())
    start = time.perf_counter()
    posterior = stan.build(job["program"], data=job["data"], random_seed=job["seed"])
    built = time.perf_counter()
    fit = posterior.sample(
        num_chains=job["chains"],
        num_samples=job["draws"],
        num_warmup=job["tune"],
        delta=job["delta"],
        init=[job["init"]] * job["chains"],
    )
    done = time.perf_counter()
    arrays = {}
    for name, dims in zip(fit.param_names, fit.dims, strict=True):
        if name not in ("eta", "phi") and 0 not in dims:
            arrays[name] = by_chain(fit[name], job["draws"], job["chains"], scalar=not dims)
    for name in _STATISTICS:
        arrays[name] = by_chain(fit[name], job["draws"], job["chains"], scalar=True)
    elapsed = [elapsed_seconds(output) for output in fit.stan_outputs]
    np.savez(
        result_file,
        **arrays,
        warmup_seconds=[e["Warm-up"] for e in elapsed],
        sampling_seconds=[e["Sampling"] for e in elapsed],
        build_seconds=built - start,
        wall_seconds=done - built,
    )


def by_chain(draws: np.ndarray, n_draws: int, n_chains: int, *, scalar: bool) -> np.ndarray:
    """(chain, draw, ...) from PyStan's (..., draw x chain), chains varying fastest."""
    flat = np.asarray(draws, dtype=float)
    split = np.moveaxis(flat.reshape(*flat.shape[:-1], n_draws, n_chains), (-1, -2), (0, 1))
    return split[..., 0] if scalar else split


def elapsed_seconds(output: bytes) -> dict[str, float]:
    """Seconds of "Warm-up" and "Sampling" that Stan reports among a chain's messages."""
    found = {}
    for line in output.splitlines():
        if b'"logger"' in line:
            for text in json.loads(line)["values"]:
                found |= {phase: float(seconds) for seconds, phase in _ELAPSED.findall(str(text))}
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
