"""A small sound data set to spoil, one thing at a time."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from bayes_isa.data import trial_from_tables
from bayes_isa.errors import DataError, Problem

Frames = dict[str, pd.DataFrame]


@pytest.fixture
def frames() -> Frames:
    """Three patients in the input format, without any problem or warning."""
    patients = pd.DataFrame(
        {
            "id": ["001", "002", "003"],
            "arm": ["A", "A", "B"],
            "albumin_g_per_l": [35.0, 40.0, 30.0],
            "weight_kg": [70.0, 80.0, 60.0],
            "igg": [1, 0, 1],
        }
    )
    doses = pd.DataFrame(
        [
            ("001", "isatuximab", 0.0, 700.0, 3.7),
            ("001", "isatuximab", 7.0, 700.0, 1.85),
            ("002", "isatuximab", 0.0, 800.0, 3.7),
            ("002", "dexamethasone", 0.0, 40.0, 0.0),
            ("003", "isatuximab", 0.0, 600.0, 3.7),
        ],
        columns=["id", "drug", "day", "amount_mg", "duration_h"],
    )
    mprotein = pd.DataFrame(
        [
            ("001", 0.0, 30.0, 0.5, 0),
            ("001", 28.0, 20.0, 0.5, 0),
            ("001", 56.0, 18.0, 0.5, 0),
            ("002", 0.0, 25.0, 0.5, 0),
            ("002", 28.0, 0.5, 0.5, 1),
            ("003", 0.0, 40.0, 0.5, 0),
            ("003", 28.0, 45.0, 0.5, 0),
        ],
        columns=["id", "day", "value_g_per_l", "lloq_g_per_l", "below_lloq"],
    )
    pfs = pd.DataFrame({"id": ["001", "002", "003"], "day": [200.0, 160.0, 35.0], "event": [1, 0, 1]})
    return {"patients": patients, "doses": doses, "mprotein": mprotein, "pfs": pfs}


@pytest.fixture
def errors_of() -> Callable[[Frames], list[Problem]]:
    """The problems that stop the reading of the tables; none when they are sound."""

    def find(frames: Frames) -> list[Problem]:
        try:
            trial_from_tables(**frames)
        except DataError as error:
            return list(error.problems)
        return []

    return find
