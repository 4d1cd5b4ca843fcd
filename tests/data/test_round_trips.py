"""Any trial written, as CSV files or as an event file, reads back the same."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_isa.data import Trial, read_nonmem, read_trial, trial_from_tables, write_nonmem, write_trial
from bayes_isa.data.cells import MISSING

TABLES = ("patients", "doses", "mprotein", "pfs")

words = (
    st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=("C", "Z")), min_size=1)
    .map(lambda text: text[:8])
    .filter(lambda text: text.lower() not in MISSING)
)
ids = st.lists(st.sampled_from(["001", "01", "1", "C", "#1", "a,b", '"x"', "é-7", "ID"]) | words, unique=True)


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    """A sound trial of one to four patients with awkward ids, text and numbers."""
    names = draw(ids.filter(lambda found: 1 <= len(found) <= 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = len(names)
    patients = pd.DataFrame(
        {
            "id": names,
            "arm": draw(st.lists(words | st.none(), min_size=n, max_size=n)),
            "albumin_g_per_l": np.where(rng.random(n) < 0.3, np.nan, rng.uniform(20, 50, n)),
            "ldh": rng.lognormal(5, 1, n),
            "igg": rng.choice([0.0, 1.0, np.nan], n),
        }
    )
    doses, mprotein = [], []
    for name in names:
        for day in np.cumsum(rng.uniform(5, 10, rng.integers(0, 4))):
            doses.append((name, "isatuximab", day, rng.uniform(300, 2000), rng.uniform(1, 5)))
            doses.append((name, "dexamethasone", day, rng.choice([20.0, 40.0]), 0.0))
        for day in (0.0, *np.cumsum(rng.uniform(7, 40, rng.integers(0, 4)))):
            below = bool(day > 0 and rng.random() < 0.3)
            mprotein.append((name, day, 0.5 if below else rng.uniform(20, 60), 0.5, below))
    pfs = pd.DataFrame({"id": names, "day": rng.uniform(20, 500, n), "event": rng.random(n) < 0.5})
    return trial_from_tables(
        patients,
        pd.DataFrame(doses, columns=["id", "drug", "day", "amount_mg", "duration_h"]),
        pd.DataFrame(mprotein, columns=["id", "day", "value_g_per_l", "lloq_g_per_l", "below_lloq"]),
        pfs,
    )


def assert_same(one: Trial, other: Trial) -> None:
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), check_exact=True)


@settings(max_examples=25, deadline=None)
@given(trial=trials())
def test_csv_files(trial) -> None:
    with tempfile.TemporaryDirectory() as directory:
        write_trial(trial, directory)
        assert_same(read_trial(directory), trial)


@settings(max_examples=25, deadline=None)
@given(trial=trials())
def test_event_file(trial) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "events.csv"
        write_nonmem(trial, file)
        assert_same(read_nonmem(file), trial)
