"""A run that compiles everything gives the same draws as one that loads what an earlier one compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FIT = """
import sys
import numpy as np
import bayes_isa as bi
from bayes_isa.simulation.virtual_trial import draw_virtual_trial

model = bi.build_model(draw_virtual_trial(12, seed=1).trial)
fit = bi.fit(model, draws=20, tune=40, chains=2, seed=1, progressbar=False)
np.save(sys.argv[1], fit["posterior"]["phi"].to_numpy())
"""


def phi_of_a_run(cache: Path, file: Path) -> bytes:
    """The individual parameters drawn by a process of its own, whose compiled code is kept in `cache`."""
    caches = {
        "NUMBA_CACHE_DIR": str(cache / "numba"),
        "PYTENSOR_FLAGS": f"base_compiledir={cache / 'pytensor'}",
    }
    subprocess.run([sys.executable, "-c", FIT, str(file)], check=True, env=os.environ | caches)
    return file.read_bytes()


@pytest.mark.slow  # compiling everything takes two minutes
def test_the_first_run_draws_what_later_runs_draw(tmp_path: Path) -> None:
    first, second, third = (phi_of_a_run(tmp_path, tmp_path / f"{run}.npy") for run in range(3))
    assert second == third
    assert first == second
