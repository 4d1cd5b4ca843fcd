"""Functions called by name give what they give when called directly."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit, types
from numba.core.errors import TypingError

from bayes_isa.model.compiled import INTEGERS, NUMBER, VECTOR, by_name, named


def scaled_sum(values, factor, into):
    into[0] = factor * values.sum()


SIGNATURE = types.none(VECTOR, NUMBER, VECTOR)


def test_called_from_python_and_from_compiled_code() -> None:
    call = by_name("test_scaled_sum", SIGNATURE, scaled_sum)

    @njit
    def compiled(values, factor):
        into = np.empty(1)
        call((values, factor, into))
        return into[0]

    values = np.arange(5.0)
    assert compiled(values, 3.0) == 30.0
    assert compiled(values, 3) == 30.0  # numbers are converted
    into = np.empty(1)
    call((values, 3.0, into))
    assert into[0] == 30.0


def test_read_only_arrays_are_taken() -> None:
    call = by_name("test_read_only", SIGNATURE, scaled_sum)

    @njit
    def compiled(values):
        into = np.empty(1)
        call((values, 1.0, into))
        return into[0]

    values = np.arange(4.0)
    values.flags.writeable = False
    assert compiled(values) == 6.0


@pytest.mark.parametrize("values", [np.arange(6.0)[::2], np.arange(3), np.zeros((2, 2)), 1.0])
def test_other_arrays_are_refused(values: object) -> None:
    call = by_name("test_refused", SIGNATURE, scaled_sum)

    @njit
    def compiled(values):
        call((values, 1.0, np.empty(1)))

    with pytest.raises(TypingError, match="test_refused"):
        compiled(values)


def test_values_and_errors_come_back() -> None:
    @njit
    def picked(*arguments):
        values, places = arguments
        if places[0] < 0:
            raise ValueError("negative")
        return values[places[0]], values

    call = named("test_picked", (VECTOR, INTEGERS), picked)

    @njit
    def compiled(values, place):
        return call((values, np.array([place])))

    @njit
    def caught(values, place):
        try:
            return call((values, np.array([place])))[0]
        except Exception:
            return -1.0

    values = np.array([5.0, 6.0])
    number, same = compiled(values, 1)
    assert number == 6.0
    np.testing.assert_array_equal(same, values)
    with pytest.raises(ValueError, match="negative"):
        compiled(values, -1)
    assert caught(values, 0) == 5.0
    assert caught(values, -1) == -1.0
