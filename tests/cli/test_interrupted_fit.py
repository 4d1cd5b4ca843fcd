"""`bayes-isa fit` cut short: what it says, what it leaves, and `--resume`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from bayes_isa.errors import BayesIsaWarning
from bayes_isa.inference.run_store import RunStore
from bayes_isa.inference.storage import load_fit

from .conftest import Cli

DRAWS = 2000


def test_an_unfinished_run_is_not_forgotten(cli: Cli, data: Path, tmp_path: Path) -> None:
    (tmp_path / "fit.nc.partial.zarr").mkdir()
    for verb in (("fit", data, "--out", tmp_path / "fit.nc"), ("quickstart", "--out", tmp_path)):
        result = cli(*verb)
        assert result.exit_code == 1
        assert "--resume" in result.stderr
    result = cli("fit", data, "--out", tmp_path / "fit.nc", "--exposure", "constant", "--resume")
    assert result.exit_code == 1
    assert "expected a run that `fit` was writing" in result.stderr


def begin(arguments: list[object]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bayes_isa", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_when_written(
    process: subprocess.Popen[str], chains: list[tuple[Path, int]], how: signal.Signals
) -> tuple[int, str]:
    """Send a signal once these chains of segments have three chunks of draws; exit code and what was said on stderr."""
    until = time.monotonic() + 900
    third = [segment / "sample_stats" / "logp" / "c" / str(chain) / "2" for segment, chain in chains]
    while not all(file.is_file() for file in third):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(how)
    return process.wait(timeout=300), process.communicate()[1]


def same_beginning(later: xr.DataTree, earlier: xr.DataTree) -> bool:
    n = earlier["posterior"].sizes["draw"]
    return n > 0 and all(
        np.array_equal(values, later["posterior"][name].sel(chain=values["chain"]).isel(draw=slice(0, n)))
        for name, values in earlier["posterior"].to_dataset().data_vars.items()
    )


@pytest.mark.slow
def test_killed_then_interrupted_then_finished_then_extended(cli: Cli, tmp_path: Path) -> None:
    """Six patients through SIGKILL, Ctrl-C, the end and an extension: no draw is lost or changed on the way."""
    assert cli("virtual-trial", "--out", tmp_path / "data", "--n", 6, "--seed", 3).exit_code == 0
    out, store = tmp_path / "fit.nc", tmp_path / "fit.nc.partial.zarr"
    fit = ["fit", tmp_path / "data", "--out", out, "--chains", 2, "--tune", 200, "--exposure", "constant"]
    code, _ = end_when_written(
        begin([*fit, "--draws", DRAWS]),
        [(store / "segment_000", chain) for chain in range(2)],
        signal.SIGKILL,
    )
    assert code == -signal.SIGKILL
    assert not out.exists()
    with pytest.warns(BayesIsaWarning, match="a run with"):
        killed = load_fit(store).load()
    # An unfinished run can be looked at, and is not that of another seed.
    looked = cli("diagnose", store)
    assert looked.exit_code == 1
    assert "KL_pop" in looked.stdout
    refused = cli(*fit, "--resume", "--seed", 2)
    assert refused.exit_code == 1
    assert "seed was 1, now 2" in refused.stderr

    code, said = end_when_written(
        begin([*fit, "--resume"]), [(store / "segment_001", 0), (store / "segment_002", 0)], signal.SIGINT
    )
    assert code == 130
    assert "the same command with --resume goes on" in said
    assert "Traceback" not in said
    assert all(segment.closed for segment in RunStore.open(store).segments[1:])
    with pytest.warns(BayesIsaWarning, match="a run with"):
        interrupted = load_fit(store).load()
    assert same_beginning(interrupted, killed)
    assert interrupted["posterior"].sizes["draw"] > killed["posterior"].sizes["draw"]

    finished = cli(*fit, "--resume", "--json")  # as many draws as it was begun with
    assert finished.exit_code == 0, finished.output
    assert "re-tuning" in finished.stderr
    origins = [[s["origin"] for s in chain] for chain in json.loads(finished.stdout)["segments"]]
    assert origins == [["started", "continued", "continued"]] * 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data", "fit.nc"]
    whole = load_fit(out)
    assert whole["posterior"].sizes["draw"] == DRAWS
    assert same_beginning(whole, interrupted)

    longer = cli(*fit, "--resume", "--draws", DRAWS + 100)
    assert longer.exit_code == 0, longer.output
    assert same_beginning(load_fit(out), whole)
    again = cli(*fit, "--resume")
    assert again.exit_code == 0
    assert "nothing was left to sample" in again.stderr
    assert load_fit(out)["posterior"].sizes["draw"] == DRAWS + 100
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data", "fit.nc"]
