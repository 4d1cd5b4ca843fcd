"""Results of compiled work in threads come one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bayes_isa.kernels.threads import THREADS, in_turn


@pytest.mark.parametrize("count", [0, 1, THREADS, 10 * THREADS])
def test_results_are_in_turn(count: int) -> None:
    assert list(in_turn(lambda number: number**2, count)) == [number**2 for number in range(count)]


def test_few_are_done_ahead() -> None:
    begun: list[int] = []
    results: Iterator[None] = in_turn(begun.append, 100 * THREADS)
    for taken in range(1, 5):
        next(results)
        assert len(begun) <= taken + THREADS


def test_an_error_reaches_whom_the_result_was_for() -> None:
    results = in_turn(lambda number: 1 // (number - 2), 5)
    assert [next(results), next(results)] == [-1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
