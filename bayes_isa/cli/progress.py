"""How far a long step has come: a bar on a terminal, a line now and then elsewhere; always on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bayes_isa.cli.console import say

if TYPE_CHECKING:
    from bayes_isa.inference.chains import ChainProgress

_SECONDS_BETWEEN_LINES = 15.0


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Yields `update(done, remark)`, `done` out of `total`; safe to call from any thread."""
    if sys.stderr.isatty():
        with _bar(label, total) as update:
            yield update
    else:
        yield _lines(label, total)


@contextmanager
def sampling_progress(total: int) -> Iterator[Callable[[Sequence[ChainProgress]], None]]:
    """Yields the `progress_callback` of `bayes_isa.fit`; `total` draws at most, a resumed run has some already."""
    with progress("Sampling", total) as update:

        def callback(states: Sequence[ChainProgress]) -> None:
            earlier = max(0, total - sum(state.total_draws for state in states))
            done = earlier + sum(state.finished_draws for state in states)
            divergences = sum(state.divergences for state in states)
            update(done, f"{divergences} divergences" if divergences else "")

        yield callback


@contextmanager
def _bar(label: str, total: int) -> Iterator[Callable[[int, str], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, remark="")

        def update(done: int, remark: str = "") -> None:
            bar.update(task, completed=done, remark=remark)

        yield update


def _lines(label: str, total: int) -> Callable[[int, str], None]:
    lock = threading.Lock()
    started = last = time.monotonic()

    def update(done: int, remark: str = "") -> None:
        nonlocal last
        with lock:
            now = time.monotonic()
            if now - last < _SECONDS_BETWEEN_LINES:
                return
            last = now
        passed = now - started
        left = f", about {passed * (total - done) / done:.0f} s left" if done else ""
        say(f"{label}: {done} of {total}, {passed:.0f} s{left}{f', {remark}' if remark else ''}")

    return update
