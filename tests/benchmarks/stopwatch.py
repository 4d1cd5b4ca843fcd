"""Wall time of the parts of a longer call, by wrapping functions where the caller looks them up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

_IN_A_TURN = 3


@dataclass
class Lap:
    """Seconds spent in one function, over all its calls, and what the last call returned."""

    seconds: float = 0.0
    calls: int = 0
    result: Any = field(default=None, repr=False)


@contextmanager
def timed(**functions: tuple[Any, str]) -> Iterator[dict[str, Lap]]:
    """Laps by label, of functions given as label=(module, name).

    Raises AttributeError for a function that is not there.
    """
    laps = {label: Lap() for label in functions}
    with ExitStack() as stack:
        for label, (module, name) in functions.items():
            stack.enter_context(mock.patch.object(module, name, _wrapped(getattr(module, name), laps[label])))
        yield laps


def _wrapped(function: Callable[..., Any], lap: Lap) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            lap.result = function(*args, **kwargs)
        finally:
            lap.seconds += time.perf_counter() - start
            lap.calls += 1
        return lap.result

    return call


def shortest_seconds(*functions: Callable[[], object], repeats: int) -> list[float]:
    """Shortest wall time of each function: where the machine is shared, a median is longer the longer the call.

    Called in turn, so that what else the machine does then falls on all alike, and a few times in each turn, the first
    one not counted, so that each finds its own data in the caches, as in a chain.
    """
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for taken, function in zip(times, functions, strict=True):
            function()
            for _ in range(_IN_A_TURN):
                start = time.perf_counter()
                function()
                taken.append(time.perf_counter() - start)
    return [min(taken) for taken in times]
