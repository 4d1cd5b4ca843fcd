"""When treatment starts, and which measurement is the baseline: one definition for checks and model."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def first_dose_day(doses: pd.DataFrame, ids: Sequence[str] | pd.Index) -> pd.Series:
    """Day of the first dose of each patient, of either drug; 0 for a patient without doses."""
    index = pd.Index(ids, name="id")
    if not {"id", "day"} <= set(doses.columns) or doses.empty:
        return pd.Series(0.0, index=index, name="day")
    return doses.groupby("id")["day"].min().reindex(index).fillna(0.0)


def baseline_rows(mprotein: pd.DataFrame, first_dose: pd.Series) -> pd.DataFrame:
    """The last row of each patient at or before the first dose, indexed by id; absent when there is none."""
    start = mprotein["id"].map(first_dose)
    before = mprotein[mprotein["day"] <= start]
    return before.sort_values("day", kind="stable").groupby("id").tail(1).set_index("id")
