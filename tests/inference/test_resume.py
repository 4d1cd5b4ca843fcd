"""A run that is cut short anywhere keeps its finished draws, unchanged, and goes on; what cannot go on says why."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
import pytest
import xarray as xr

from bayes_isa.errors import BayesIsaWarning, ModelError
from bayes_isa.inference import fit as fit_module
from bayes_isa.inference import resume as resume_module
from bayes_isa.inference.compiled_model import compiled_model
from bayes_isa.inference.diagnose import diagnose
from bayes_isa.inference.fit import fit
from bayes_isa.inference.resume import bytes_needed
from bayes_isa.inference.run_store import RunStore, remove_run
from bayes_isa.inference.settings import SamplerSettings
from bayes_isa.inference.storage import load_fit, save_fit, without_individuals

from . import toy
from .toy import SETTINGS, toy_model

CHUNK = 16  # draws in a chunk of the sampler's store

pytestmark = pytest.mark.filterwarnings(
    "ignore:the model was not made by build_model:bayes_isa.errors.BayesIsaWarning"
)


@pytest.fixture(scope="module")
def model() -> Iterator[pm.Model]:
    """The toy model, compiled once for all tests here."""
    model = toy_model()
    compiled = compiled_model(model)
    with pytest.MonkeyPatch.context() as patch:
        for module in (fit_module, resume_module):
            patch.setattr(module, "compiled_model", lambda _: compiled)
        yield model


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a process that got SIGKILL after some chunks; copy it before changing it."""
    store = tmp_path_factory.mktemp("killed") / "run.zarr"
    process = subprocess.Popen([sys.executable, toy.__file__, str(store), "200000"])
    try:
        wait_for_chunks(store / "segment_000", 4, while_true=lambda: process.poll() is None)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    return store


@pytest.fixture
def store(killed: Path, tmp_path: Path) -> Path:
    """A copy of the killed run, its files as old as they were."""
    return Path(shutil.copytree(killed, tmp_path / "run.zarr"))


def wait_for_chunks(
    segment: Path, count: int, while_true: Callable[[], bool], seconds: float = 120.0
) -> None:
    """Until every chain of a segment has written `count` chunks of draws."""
    chains = [segment / "sample_stats" / "logp" / "c" / str(chain) for chain in range(2)]
    until = time.monotonic() + seconds
    while not all(len(list(chain.glob("*"))) >= count for chain in chains):
        assert while_true(), "sampling ended before enough was written"
        assert time.monotonic() < until
        time.sleep(0.01)


def resumed(model: pm.Model, store: Path, draws: int, **changes: Any) -> xr.DataTree:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesIsaWarning)
        return fit(model, store=store, resume=True, draws=draws, **{**SETTINGS, **changes})


def assert_begins_with(later: xr.DataTree, earlier: xr.DataTree, draws: int) -> None:
    """The first draws of `later` are those of `earlier`, to the last digit, statistics included."""
    for group in ("posterior", "sample_stats"):
        parts = [tree[group].to_dataset().isel(draw=slice(0, draws)) for tree in (later, earlier)]
        assert parts[0].sizes["draw"] == parts[1].sizes["draw"] == draws
        xr.testing.assert_equal(*(part.drop_attrs() for part in parts))


# Without interruption ------------------------------------------------------------------------------------------------


def test_a_store_changes_no_draw(model: pm.Model, tmp_path: Path) -> None:
    plain = fit(model, draws=100, **SETTINGS)
    stored = fit(model, draws=100, store=tmp_path / "run.zarr", **SETTINGS)
    xr.testing.assert_equal(plain["posterior"].to_dataset(), stored["posterior"].to_dataset())
    assert list(plain["posterior"].data_vars) == list(stored["posterior"].data_vars)
    kept = stored["sample_stats"].to_dataset()
    xr.testing.assert_equal(plain["sample_stats"].to_dataset()[list(kept.data_vars)], kept)
    assert set(stored.attrs) - set(plain.attrs) == {"segments"}
    # Individual parameters stay on disk until they are used, and go into a file from there.
    assert stored["posterior"]["phi"].chunks is not None
    assert set(without_individuals(stored)["posterior"].data_vars) == {"mu", "omega", "twice"}
    save_fit(stored, tmp_path / "fit.nc")
    xr.testing.assert_equal(
        load_fit(tmp_path / "fit.nc")["posterior"].to_dataset(), plain["posterior"].to_dataset()
    )


def test_the_state_kept_is_where_the_chains_stand(model: pm.Model, tmp_path: Path) -> None:
    """PyMC's own density at the position is the one the sampler noted at its last draw."""
    fitted = fit(model, draws=40, store=tmp_path / "run.zarr", **SETTINGS)
    log_density = model.compile_logp()
    start = model.initial_point()
    for chain, position in enumerate(fitted["sampler_state"]["position"].to_numpy()):
        parts = np.split(position, np.cumsum([np.size(v) for v in start.values()])[:-1])
        point = {name: part.reshape(np.shape(start[name])) for name, part in zip(start, parts, strict=True)}
        assert log_density(point) == pytest.approx(fitted["sample_stats"]["logp"].to_numpy()[chain, -1])


def test_what_is_needed_bounds_what_is_used(model: pm.Model, tmp_path: Path) -> None:
    fitted = fit(model, draws=100, store=tmp_path / "run.zarr", **SETTINGS)
    save_fit(fitted, tmp_path / "fit.nc")
    used = sum(512 * file.stat().st_blocks for file in tmp_path.rglob("*") if file.is_file())
    assert used < bytes_needed(model, SamplerSettings(100, 100, 2)) < 10 * used


# Killed --------------------------------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_with_its_draws_unchanged(model: pm.Model, store: Path) -> None:
    with pytest.warns(BayesIsaWarning, match=r"a run with \d+ to \d+ of 200000 draws"):
        before = load_fit(store).load()
    have = RunStore.open(store).finished()
    assert min(have) >= 3 * CHUNK
    assert all(count % CHUNK == 0 for count in have)
    asked = max(have) + 100
    with pytest.warns(BayesIsaWarning) as told:
        after = fit(model, store=store, resume=True, draws=asked, **SETTINGS)
    message = next(str(w.message) for w in told if "re-tuning" in str(w.message))
    assert f"0 ({have[0]} draws), 1 ({have[1]} draws)" in message
    assert "after 100 draws of re-tuning" in message
    assert dict(after["posterior"].sizes) | {"chain": 2, "draw": asked} == dict(after["posterior"].sizes)
    assert_begins_with(after, before, min(have))
    # Nothing of the re-tuning, and nothing twice: every draw is finite and none follows itself through.
    mu = after["posterior"]["mu"].to_numpy()
    assert np.isfinite(mu).all()
    assert all(np.unique(chain).size > 0.9 * asked for chain in mu)
    assert not after["sample_stats"]["tuning"].to_numpy().any()
    history = json.loads(after.attrs["segments"])
    for chain in range(2):
        first, second = history[chain]
        assert (first["draws"], first["origin"]) == (have[chain], "started")
        assert (second["draws"], second["origin"], second["tune"]) == (asked - have[chain], "continued", 100)
    assert len({segment["seed"] for chain in history for segment in chain}) == 3
    assert after.attrs["draws"] == asked
    assert diagnose(after).sampler["draws"] == 2 * asked


def test_a_run_killed_while_tuning_is_begun_again_as_it_was(model: pm.Model, tmp_path: Path) -> None:
    """Nothing is lost, so the result is that of a run never interrupted."""
    expected = fit(model, draws=30, **SETTINGS)
    store = tmp_path / "run.zarr"
    fit(model, draws=30, store=store, **SETTINGS)
    for group in ("posterior", "sample_stats"):
        for file in (store / "segment_000" / group).glob("*/c/*/*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    assert RunStore.open(store).finished() == [0, 0]
    xr.testing.assert_equal(
        resumed(model, store, 30)["posterior"].to_dataset(), expected["posterior"].to_dataset()
    )


def test_a_chain_killed_while_tuning_is_begun_again(model: pm.Model, store: Path) -> None:
    for file in (store / "segment_000").glob("*/*/c/1"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    have = RunStore.open(store).finished()
    assert have[0] > 0
    assert have[1] == 0
    with pytest.warns(BayesIsaWarning, match=f"0 \\({have[0]} draws\\).*begun again: 1"):
        after = fit(model, store=store, resume=True, draws=have[0] + 20, **SETTINGS)
    assert [s["origin"] for s in json.loads(after.attrs["segments"])[1]] == ["begun again"]


def test_a_chain_without_draws_is_left_out_of_what_there_is(store: Path) -> None:
    for file in (store / "segment_000").glob("*/*/c/1"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    with pytest.warns(BayesIsaWarning, match=r"a run with 0 to .* of each of 1 chains"):
        assert load_fit(store)["posterior"].sizes["chain"] == 1


def test_draws_end_where_a_variable_ends(store: Path) -> None:
    have = RunStore.open(store).finished()
    chunk = store / "segment_000" / "posterior" / "phi" / "c" / "0" / "1" / "0" / "0"
    chunk.unlink()  # its directory is still there
    assert RunStore.open(store).finished() == [CHUNK, have[1]]


def test_a_last_chunk_cut_off_is_dropped(store: Path) -> None:
    """As a power failure may leave it; a process that is killed leaves whole files only."""
    have = RunStore.open(store).finished()
    last = have[0] // CHUNK - 1
    chunk = store / "segment_000" / "posterior" / "phi" / "c" / "0" / str(last) / "0" / "0"
    for content in (chunk.read_bytes()[:40], b""):
        chunk.write_bytes(content)
        assert RunStore.open(store).finished() == [have[0] - CHUNK, have[1]]


def test_the_last_chunk_counts_once_it_cannot_be_in_the_making(store: Path) -> None:
    """Of some variables an uneventful chunk is never written, so that all files there proves nothing yet."""
    logp = store / "segment_000" / "sample_stats" / "logp" / "c"
    for variable in (store / "segment_000").glob("*/*/c/0"):
        for chunk in variable.glob("[3-9]*") if variable.is_dir() else ():
            shutil.rmtree(chunk) if chunk.is_dir() else chunk.unlink()
    newest = max(file.stat().st_mtime for file in logp.glob("*/*"))
    os.utime(logp / "0" / "2", (newest, newest))
    assert RunStore.open(store).finished()[0] == 2 * CHUNK
    os.utime(logp / "0" / "2", (newest - 60, newest - 60))
    assert RunStore.open(store).finished()[0] == 3 * CHUNK


def test_what_the_writer_left_unnamed_is_ignored(store: Path) -> None:
    have = RunStore.open(store).finished()
    shutil.rmtree(store / "segment_000" / "posterior" / "mu" / "c" / "0" / "never", ignore_errors=True)
    (store / "segment_000" / "posterior" / "mu" / "c" / "0" / "99999#1").write_bytes(b"half")
    (store / ".zarr.json.writing").write_text("{")
    assert RunStore.open(store).finished() == have


# Stopped -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Python as started from a terminal: a shell has what it starts in the background ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_keeps_every_draw_and_the_run_goes_on(model: pm.Model, tmp_path: Path) -> None:
    store = tmp_path / "run.zarr"
    done = threading.Event()

    def press() -> None:
        wait_for_chunks(store / "segment_000", 2, while_true=lambda: not done.is_set())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(model, draws=200_000, store=store, **SETTINGS)
    finally:
        done.set()
        thread.join()
    run = RunStore.open(store)
    assert run.segments[0].closed
    have = run.finished()
    assert min(have) >= 2 * CHUNK
    before = run.fit().load()
    assert_begins_with(resumed(model, store, max(have) + 5), before, min(have))


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_in_memory_keeps_the_draws_that_all_chains_have(model: pm.Model) -> None:
    def press(states: Any) -> None:
        if not pressed.is_set() and min(state.finished_draws for state in states) > 150:
            pressed.set()
            os.kill(os.getpid(), signal.SIGINT)

    pressed = threading.Event()
    with pytest.warns(BayesIsaWarning, match="interrupted: .* of 500000 draws a chain are kept"):
        fitted = fit(model, draws=500_000, progress_callback=press, **SETTINGS)
    assert np.isfinite(fitted["posterior"]["mu"].to_numpy()).all()


def test_a_full_disk_keeps_what_was_written(
    model: pm.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of the system on the size of files, from the moment sampling begins."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    start = resume_module.run_jobs

    def limited(*arguments: Any, **options: Any) -> Any:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        try:
            return start(*arguments, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr(resume_module, "run_jobs", limited)
    with pytest.raises(
        ModelError, match=r"segment_000: no room to write it .*are kept, `resume` .* continues"
    ):
        fit(model, draws=100, store=tmp_path / "run.zarr", **SETTINGS)
    monkeypatch.setattr(resume_module, "run_jobs", start)
    assert resumed(model, tmp_path / "run.zarr", 100)["posterior"].sizes["draw"] == 100


def test_too_small_a_disk_is_told_before_anything_is_compiled(
    model: pm.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiles(_: pm.Model) -> None:
        raise AssertionError("compiled")

    monkeypatch.setattr(resume_module, "compiled_model", compiles)
    with pytest.raises(ModelError, match=r"this run in run\.zarr takes up to .* are free"):
        fit(model, draws=10**12, store=tmp_path / "run.zarr", **SETTINGS)
    with pytest.raises(ModelError, match="no such directory"):
        fit(model, store=tmp_path / "nowhere" / "run.zarr", **SETTINGS)


# Extended ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("from_file", [False, True])
def test_a_finished_run_is_extended(model: pm.Model, tmp_path: Path, from_file: bool) -> None:
    first = fit(model, draws=50, store=tmp_path / "run.zarr", **SETTINGS).load()
    place: dict[str, Any] = {"store": tmp_path / "run.zarr", "resume": True}
    if from_file:
        place["resume"] = save_fit(first, tmp_path / "fit.nc")
        remove_run(tmp_path / "run.zarr")
        assert [file.name for file in tmp_path.iterdir()] == ["fit.nc"]
    with pytest.warns(BayesIsaWarning, match="re-tuning"):
        longer = fit(model, draws=80, **place, **SETTINGS)
    assert_begins_with(longer, first, 50)
    assert [s["draws"] for s in json.loads(longer.attrs["segments"])[0]] == [50, 30]
    # Once more, as a fit that was extended is extended: no random numbers come twice.
    with pytest.warns(BayesIsaWarning, match="re-tuning"):
        longest = fit(model, draws=90, **{**place, "resume": True}, **SETTINGS)
    assert_begins_with(longest, longer.load(), 80)
    seeds = [s["seed"] for chain in json.loads(longest.attrs["segments"]) for s in chain]
    assert len(set(seeds)) == 5


def test_nothing_left_to_do_samples_nothing(
    model: pm.Model, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have = RunStore.open(store).finished()
    first = resumed(model, store, max(have) + 20)
    segments = sorted(file.name for file in store.iterdir())
    monkeypatch.setattr(resume_module, "run_jobs", None)
    again = fit(model, store=store, resume=True, draws=max(have) + 20, **SETTINGS)
    xr.testing.assert_equal(first["posterior"].to_dataset(), again["posterior"].to_dataset())
    assert sorted(file.name for file in store.iterdir()) == segments
    file = save_fit(first, store.parent / "fit.nc")
    unchanged = fit(model, store=store.parent / "new.zarr", resume=file, draws=max(have) + 20, **SETTINGS)
    assert unchanged["posterior"].sizes["draw"] == max(have) + 20
    assert not (store.parent / "new.zarr").exists()


# Refused -------------------------------------------------------------------------------------------------------------


def test_a_run_is_not_overwritten(model: pm.Model, store: Path) -> None:
    with pytest.raises(ModelError, match=r"holds a run of which .* finished; continue it with `resume`"):
        fit(model, store=store, draws=10, **SETTINGS)


def test_a_run_goes_on_only_as_itself(model: pm.Model, store: Path) -> None:
    with pytest.raises(ModelError, match="seed was 3, now 4"):
        resumed(model, store, 10**6, seed=4)
    with pytest.raises(ModelError, match="the data are not the same"):
        resumed(toy_model(shift=1.0), store, 10**6)
    with pytest.raises(ModelError, match=r"has \d+ draws a chain already, 5 were asked for"):
        resumed(model, store, 5)
    assert resumed(model, store, max(RunStore.open(store).finished()), seed=None).attrs["seed"] == 3


def test_a_directory_that_is_no_run_is_refused(model: pm.Model, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for call in (load_fit, lambda place: resumed(model, place, 10)):
        with pytest.raises(ModelError, match="expected a run"):
            call(tmp_path / "photos")
    assert list((tmp_path / "photos").iterdir()) == []


def test_a_fit_without_its_state_is_not_extended(model: pm.Model, tmp_path: Path) -> None:
    file = save_fit(fit(model, draws=20, **SETTINGS), tmp_path / "fit.nc")
    with pytest.raises(ModelError, match="does not say where its chains stood"):
        fit(model, draws=30, store=tmp_path / "run.zarr", resume=file, **SETTINGS)


def test_one_process_at_a_time(model: pm.Model, store: Path) -> None:
    pytest.importorskip("fcntl")
    with RunStore.open(store).locked(), pytest.raises(ModelError, match="another process is sampling"):
        resumed(model, store, 10**6)


def test_resuming_needs_a_store_and_nutpie(model: pm.Model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="give `store`"):
        fit(model, resume=True, **SETTINGS)
    with pytest.raises(ModelError, match="needs the sampler 'nutpie'"):
        fit(model, store=tmp_path / "run.zarr", sampler="pymc", **SETTINGS)
