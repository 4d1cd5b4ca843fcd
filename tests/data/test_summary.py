"""Tables of a trial: counts by hand, arms by amount, flags as shares."""

from __future__ import annotations

import pandas as pd
import pytest

from bayes_isa.data import Trial, trial_from_tables
from bayes_isa.data.summary import arm_table, baseline_table


@pytest.fixture
def trial() -> Trial:
    """Three patients in two arms, one value below its limit, one weight missing."""
    ids = ["1", "2", "3"]
    patients = pd.DataFrame(
        {"id": ids, "arm": ["20 mg/kg Q2W", "20 mg/kg Q2W", "3 mg/kg Q2W"], "igg": [1, 0, 0]}
    ).assign(weight_kg=[70.0, None, 80.0])
    doses = pd.DataFrame({"id": ids, "drug": "isatuximab", "day": 0.0, "amount_mg": 700.0, "duration_h": 3.7})
    mprotein = pd.DataFrame(
        {
            "id": ["1", "1", "2", "2", "3"],
            "day": [0.0, 28.0, 0.0, 28.0, 0.0],
            "value_g_per_l": [30.0, 20.0, 10.0, 0.5, 40.0],
            "lloq_g_per_l": 0.5,
            "below_lloq": [0, 0, 0, 1, 0],
        }
    )
    pfs = pd.DataFrame({"id": ids, "day": [35.0, 84.0, 14.0], "event": [1, 0, 1]})
    return trial_from_tables(patients, doses, mprotein, pfs, name="three")


def test_arms_are_counted_in_order_of_amount(trial: Trial) -> None:
    low, high = arm_table(trial).to_dict(orient="records")
    assert low["arm"] == "3 mg/kg Q2W"
    assert high == {
        "arm": "20 mg/kg Q2W",
        "patients": 2,
        "events": 1,
        "censored": 1,
        "measurements": 4,
        "below_lloq_percent": 25.0,
        "last_day_median": 59.5,
    }


def test_a_trial_without_arms_is_one_row(trial: Trial) -> None:
    bare = Trial(trial.patients.drop(columns="arm"), trial.doses, trial.mprotein, trial.pfs)
    (row,) = arm_table(bare).to_dict(orient="records")
    assert (row["arm"], row["patients"]) == ("all patients", 3)


def test_baseline_has_medians_shares_and_what_is_missing(trial: Trial) -> None:
    table = baseline_table(trial).set_index("covariate")
    assert list(table.index) == ["igg", "weight_kg", "baseline_mprotein_g_per_l"]
    assert table.loc["igg", "flag"]
    assert table.loc["igg", "median"] == pytest.approx(1 / 3)
    assert table.loc["weight_kg", ["median", "low", "high", "missing"]].tolist() == [75.0, 70.0, 80.0, 1]
    assert table.loc["baseline_mprotein_g_per_l", "median"] == 30.0
