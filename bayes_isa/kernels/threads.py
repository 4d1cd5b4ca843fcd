"""Compiled work in threads: Numba's code lets other threads run while it does not touch Python."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np

# More gain little: each has memory of its own to fill, and some work is not divided.
THREADS = min(os.cpu_count() or 1, 8)


def in_threads(function: Callable[[int, int], None], bounds: np.ndarray) -> None:
    """Call compiled code on each part, from one of the bounds to the next."""
    parts = [(int(first), int(last)) for first, last in pairwise(bounds) if last > first]
    others = [_pool().submit(function, *part) for part in parts[1:]]
    for part in parts[:1]:
        function(*part)
    for other in others:
        other.result()


def in_turn[T](function: Callable[[int], T], count: int) -> Iterator[T]:
    """What a function that is mostly compiled code returns for 0 to count - 1, one after the other.

    Each thread is one ahead of whom the results are for: few are in memory at a time.
    """
    ahead = deque(_pool().submit(function, number) for number in range(min(count, THREADS)))
    for number in range(count):
        result = ahead.popleft().result()
        if number + THREADS < count:
            ahead.append(_pool().submit(function, number + THREADS))
        yield result


def even_parts(size: int) -> np.ndarray:
    """Bounds of as many parts as there are threads."""
    return np.linspace(0, size, THREADS + 1).round().astype(int)


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads that stay: to start one takes as long as half an evaluation of all densities."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="bayes_isa")


# A forked process has none of them.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
