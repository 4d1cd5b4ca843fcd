"""The verb `calibrate`, with stored replicates in place of hours of fitting."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bayes_isa.inference.ranks import N_RANKED
from bayes_isa.inference.replicates import Replicate, ReplicateStore
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.calibrate import JointExperiment, calibration_priors

from .conftest import Cli

_N = 60


def _store(out: Path, bias: float) -> None:
    experiment = JointExperiment(calibration_priors().to_dict(), ModelSpec().to_dict(), 30, 1)
    store = ReplicateStore.open(out, experiment.settings())
    rng = np.random.default_rng(5)
    for number in range(_N - 1):
        u = rng.uniform(size=2) ** [1.0, 1.0 + bias]
        ranks = dict(zip(("KL_pop", "R_pop"), (int(r) for r in u * (N_RANKED + 1)), strict=True))
        store.add(Replicate(number, ranks, {"divergences": 0.0}))
    store.add(Replicate(_N - 1, {}, {}, "ModelError: the sampler stopped"))


@pytest.mark.parametrize("bias", [0.0, 2.0])
def test_verdict_table_and_picture(cli: Cli, tmp_path: Path, bias: float) -> None:
    _store(tmp_path / "store", bias)
    files = [tmp_path / "ranks.png", tmp_path / "ranks.csv"]
    done = cli(
        "calibrate",
        "--out",
        tmp_path / "store",
        "--replicates",
        _N,
        "--plot",
        files[0],
        "--csv",
        files[1],
        "--json",
    )
    told = json.loads(done.stdout)
    assert told["replicates"] == _N - 1
    assert told["failed"] == {str(_N - 1): "ModelError: the sampler stopped"}
    assert told["failing"] == (["R_pop"] if bias else [])
    assert done.exit_code == int(bool(bias))
    assert ("CALIBRATION FAILED" if bias else "Calibrated") in done.stderr
    assert "1 more failed to fit" in done.stderr
    assert all(file.stat().st_size > 0 for file in files)


def test_other_settings_are_refused(cli: Cli, tmp_path: Path) -> None:
    _store(tmp_path, 0.0)
    done = cli("calibrate", "--out", tmp_path, "--replicates", _N, "--seed", 2)
    assert done.exit_code == 1
    assert "made with other settings (seed)" in done.stderr
    assert cli("calibrate", "--out", tmp_path, "--coordinates", "polar").exit_code == 2
