"""Chunks, workers and stores change nothing: same seed, same trials; what is interrupted resumes."""

from __future__ import annotations

import shutil
import threading

import dask.array
import numpy as np
import pytest
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.simulation import chunks
from bayes_isa.simulation.chunks import open_trials
from bayes_isa.simulation.compare import compare_regimens

ISA, LOW = "20 mg/kg QW-Q2W", "10 mg/kg QW-Q2W"
OPTIONS = {"n_trials": 7, "horizon_day": 200.0, "population": "new", "observed": True}


@pytest.fixture(scope="module")
def expected(run):
    return run([LOW, ISA], **OPTIONS)


def same(tree: xr.DataTree, expected: xr.DataTree) -> None:
    """Every number and coordinate, not the notes on how it was stored."""
    for group in ("/", "/marginal"):
        found = tree[group].to_dataset().load()
        wanted = expected[group].to_dataset()
        xr.testing.assert_equal(
            found, wanted.assign_coords({n: wanted[n].astype(found[n].dtype) for n in found.coords})
        )
        for name in wanted.variables:
            assert found[name].attrs == wanted[name].attrs


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_chunks_in_memory(run, expected, size):
    xr.testing.assert_identical(run([LOW, ISA], chunk_trials=size, **OPTIONS), expected)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_store_holds_the_same(run, expected, tmp_path, size):
    out = tmp_path / "sims.zarr"
    tree = run([LOW, ISA], out=out, chunk_trials=size, **OPTIONS)
    assert isinstance(tree["m_protein"].data, dask.array.Array)
    assert tree["m_protein"].chunks[0][0] == min(size, 7)
    same(tree, expected)
    same(open_trials(out), expected)
    assert tree.attrs.items() >= expected.attrs.items()


def test_what_is_summed_up_is_the_same(run, expected, tmp_path):
    tree = run([LOW, ISA], out=tmp_path / "sims.zarr", **OPTIONS)
    ours, theirs = (compare_regimens(sims, reference=ISA) for sims in (tree, expected))
    assert ours.equals(theirs)


def test_an_interrupted_study_resumes(run, expected, tmp_path, monkeypatch):
    """A failure in the third of four chunks; the second attempt simulates only what is missing."""
    monkeypatch.setattr(chunks, "_processors", lambda: 1)
    out = tmp_path / "sims.zarr"
    real, simulated, lock = chunks.simulate_stretch, [], threading.Lock()

    def failing(study, first, last):
        if first == 4:
            raise KeyboardInterrupt
        return real(study, first, last)

    monkeypatch.setattr(chunks, "simulate_stretch", failing)
    with pytest.raises(KeyboardInterrupt):
        run([LOW, ISA], out=out, chunk_trials=2, **OPTIONS)
    with pytest.raises(
        ModelError, match="of 7 trials are simulated; call simulate_trials with the same arguments"
    ):
        open_trials(out)

    done = xr.open_zarr(out, consolidated=False)["simulated"].to_numpy()
    pending = [
        (first, last) for first, last in ((0, 2), (2, 4), (4, 6), (6, 7)) if not done[first:last].all()
    ]
    assert (4, 6) in pending
    assert len(pending) < 4

    def counting(study, first, last):
        with lock:
            simulated.append((first, last))
        return real(study, first, last)

    monkeypatch.setattr(chunks, "simulate_stretch", counting)
    tree = run([LOW, ISA], out=out, chunk_trials=5, **OPTIONS)  # the store's own chunks count
    assert sorted(simulated) == pending
    same(tree, expected)
    simulated.clear()
    same(run([LOW, ISA], out=out, **OPTIONS), expected)
    assert simulated == []


def test_a_store_of_something_else_is_left_alone(run, expected, tmp_path):
    out = tmp_path / "sims.zarr"
    run([LOW, ISA], out=out, **OPTIONS)
    for other in ({"seed": 2}, {"n_trials": 8}, {"vary": ["events"]}):
        with pytest.raises(ModelError, match="simulated with other arguments"):
            run([LOW, ISA], out=out, **(OPTIONS | other))
    with pytest.raises(ModelError, match="simulated with other arguments"):
        run([ISA, LOW], out=out, **OPTIONS)
    same(open_trials(out), expected)
    (tmp_path / "notes").mkdir()
    with pytest.raises(ModelError, match="expected a Zarr store of simulated trials"):
        run([LOW, ISA], out=tmp_path / "notes", **OPTIONS)
    shutil.rmtree(out)
    xr.Dataset({"a": 1}).to_zarr(out, zarr_format=2, consolidated=False)
    with pytest.raises(ModelError, match="not of simulated trials"):
        open_trials(out)


def test_results_that_do_not_fit_memory(run, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_free_memory", lambda: 1e4)
    with pytest.raises(ModelError, match="to stream them to disk"):
        run([LOW, ISA], **OPTIONS)
    with pytest.raises(ModelError, match="give a smaller chunk_trials"):
        run([LOW, ISA], out=tmp_path / "sims.zarr", **OPTIONS)
    with pytest.raises(ModelError, match="chunk_trials is 0"):
        run([LOW, ISA], chunk_trials=0, **OPTIONS)


@pytest.fixture(scope="module")
def client():
    """A cluster of two processes on this machine."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_a_cluster_of_processes_simulates_the_same(run, expected, client, tmp_path):
    seen = []
    options = {
        "client": client,
        "chunk_trials": 2,
        "progress": lambda done, total: seen.append((done, total)),
    }
    xr.testing.assert_identical(run([LOW, ISA], **options, **OPTIONS), expected)
    assert seen[-1] == (7, 7)
    assert len(seen) == 4
    out = tmp_path / "sims.zarr"
    same(run([LOW, ISA], **options, out=out, **OPTIONS), expected)
    assert len(client.scheduler_info()["workers"]) == 2
    assert np.isfinite(open_trials(out)["pfs_day"].to_numpy()).all()
