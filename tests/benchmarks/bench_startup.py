"""Time from the start of a process until its chains start, for the built-in trial, fitted before by another process.

PYTHONPATH=tests python -m benchmarks.bench_startup

In turn: a script, the command `bayes-isa fit`, and a process that only imports PyMC, as a measure of the machine. The
first process, which finds what later ones load, is reported by itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bayes_isa

_TRIAL = Path(bayes_isa.__file__).parent / "data" / "virtual_rrmm"
_STARTED = 17  # exit code
_UNTIL_CHAINS_START = f"""
import os, sys
from bayes_isa.inference import chains
chains._start = lambda *_: os._exit({_STARTED})
"""
_SCRIPT = """
import bayes_isa as bi
bi.fit(bi.build_model(bi.load_example("virtual_rrmm")), seed=1, progressbar=False)
"""
_COMMAND = """
from bayes_isa.cli import main
sys.argv = ["bayes-isa", "fit", *sys.argv[1:]]
main()
"""


def seconds(code: str, *arguments: str, cache: Path, expected: int = _STARTED) -> float:
    """Wall time of a process that runs `code`. Raises RuntimeError when it ends otherwise than expected."""
    environment = os.environ | {"BAYES_ISA_CACHE": str(cache)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True
    )
    taken = time.perf_counter() - start
    if done.returncode != expected:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr}")
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=8)
    repeats = parser.parse_args().repeats
    script, command = (_UNTIL_CHAINS_START + code for code in (_SCRIPT, _COMMAND))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        cache = place / "cache"
        first = seconds(script, cache=cache)
        taken: dict[str, list[float]] = {"import pymc": [], "script": [], "bayes-isa fit": []}
        for turn in range(repeats):
            out = str(place / f"{turn}.nc")
            taken["import pymc"].append(seconds("import pymc", cache=cache, expected=0))
            taken["script"].append(seconds(script, cache=cache))
            taken["bayes-isa fit"].append(
                seconds(command, str(_TRIAL), "--out", out, "--seed", "1", cache=cache)
            )
    print(f"{'':16}{'shortest, s':>12}{'median, s':>12}{'x import pymc':>16}")
    yardstick = statistics.median(taken["import pymc"])
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"{name:16}{min(times):12.2f}{median:12.2f}{median / yardstick:16.1f}")
    print(f"{'first process':16}{first:12.2f}")


if __name__ == "__main__":
    main()
