"""An import that waits until it is used, and what that spares the start of a run."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bayes_isa.inference.deferred import deferred, load

from . import toy

NAME = "imported_for_a_test"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Where the module called NAME says that its code is run."""
    told: list[str] = []
    (tmp_path / f"{NAME}.py").write_text("import sys\nsys.told.append(__name__)\nvalue = 7\n")
    monkeypatch.setattr(sys, "told", told, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield told
    sys.modules.pop(NAME, None)


def imported() -> ModuleType:
    """NAME as an import statement gives it."""
    return importlib.import_module(NAME)


def test_a_module_is_run_when_it_is_used(run: list[str]) -> None:
    with deferred(NAME):
        module = imported()
    assert (run, NAME in sys.modules) == ([], True)
    assert module.value == 7
    assert run == [NAME]
    assert imported() is module
    assert run == [NAME]


def test_a_module_is_run_when_it_is_imported_again(run: list[str]) -> None:
    with deferred(NAME):
        exec(f"import {NAME}")
    assert run == []
    exec(f"import {NAME}")
    assert run == [NAME]


def test_a_module_is_run_on_demand(run: list[str]) -> None:
    with deferred(NAME):
        imported()
    load(NAME)
    assert run == [NAME]
    load(NAME)
    assert run == [NAME]


def test_an_interrupt_leaves_no_module_half_run(tmp_path: Path) -> None:
    """Ctrl-C while the module sleeps: it arrives once the module is whole."""
    (tmp_path / f"{NAME}.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(0.5)\nvalue = 7\n"
    )
    script = f"""
from bayes_isa.inference.deferred import deferred, load
with deferred("{NAME}"):
    import {NAME} as module
try:
    load("{NAME}")
except KeyboardInterrupt:
    print("interrupted", module.value)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout.split() == ["interrupted", "7"]


def test_a_module_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{NAME}.py").write_text("raise OSError('no such library')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with deferred(NAME):
        imported()
    with pytest.raises(OSError, match="no such library"):
        load(NAME)
    del sys.modules[NAME]


def test_nothing_waits_afterwards_or_what_is_there_already(run: list[str]) -> None:
    before = list(sys.meta_path)
    with deferred(NAME):
        pass
    imported()
    assert run == [NAME]
    with deferred(NAME):
        imported()
        importlib.import_module("tomllib")
    assert run == [NAME]
    assert sys.meta_path == before


def test_a_module_that_is_not_there_is_not_found() -> None:
    before = list(sys.meta_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), deferred("no_such_module"):
        importlib.import_module("no_such_module")
    assert sys.meta_path == before


def test_chains_start_before_arviz_is_imported() -> None:
    script = """
import sys
import bayes_isa.cli.fitting
from bayes_isa.inference import chains, fit
from toy import SETTINGS, toy_model

def start(*arguments):
    print(*(name in sys.modules for name in ("arviz_base", "matplotlib.pyplot", "scipy.stats")))
    return started(*arguments)

started, chains._start = chains._start, start
draws = fit.fit(toy_model(), draws=10, **SETTINGS)
print("arviz_base" in sys.modules, draws["posterior"].sizes["draw"])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(toy.__file__).parent,
    )
    assert done.stdout.splitlines() == ["False False False", "True 10"]
