"""Single cells: text to numbers, flags and ids, and back."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayes_isa.data import cells


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1.0), (" 2.5 ", 2.5), ("-1e-3", -0.001), (".5", 0.5), ("+3.", 3.0), ("inf", math.inf)],
)
def test_numbers(text, value) -> None:
    values, unreadable = cells.to_numbers(pd.Series([text], dtype=object))
    assert values.tolist() == [value]
    assert not unreadable.any()


@pytest.mark.parametrize("text", ["1_000", "1,5", "abc", "0x10", "1 2", "--1", "True"])
def test_not_numbers(text) -> None:
    assert cells.to_numbers(pd.Series([text], dtype=object))[1].tolist() == [True]


@pytest.mark.parametrize("blank", ["", " ", ".", "NA", "nan", "None", None, np.nan, pd.NA])
def test_blanks(blank) -> None:
    column = pd.Series([blank], dtype=object)
    assert cells.is_missing(column).tolist() == [True]
    values, unreadable = cells.to_numbers(column)
    assert math.isnan(values[0])
    assert not unreadable.any()


def test_flags() -> None:
    values, unreadable = cells.to_flags(
        pd.Series(["0", "1.0", "TRUE", False, 1, "", "yes", "2"], dtype=object)
    )
    assert values[:5].tolist() == [0.0, 1.0, 1.0, 0.0, 1.0]
    assert unreadable.tolist() == [False] * 6 + [True, True]


def test_ids_are_verbatim_and_whole_floats_lose_their_point() -> None:
    found = cells.to_ids(pd.Series(["001", " a", 7, 7.0, np.nan, "", "NA"], dtype=object))
    assert found.tolist() == ["001", " a", "7", "7", "", "", "NA"]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_as_text(value) -> None:
    text = cells.cell_text(value)
    assert cells.to_numbers(pd.Series([text], dtype=object))[0][0] == value
