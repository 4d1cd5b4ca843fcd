"""A trial in a few tables: arms and their events, baseline values."""

from __future__ import annotations

import math
import re

import pandas as pd

from bayes_isa.data.trial import Trial

_NOT_BASELINE = ("study", "arm")


def by_amount(label: str) -> tuple[float, str]:
    """Order of arms: by the number a label begins with, 3 mg/kg before 10 mg/kg; then by name."""
    number = re.match(r"\d+(\.\d+)?", label)
    return (float(number[0]) if number else math.inf, label)


def arm_table(trial: Trial) -> pd.DataFrame:
    """One row per arm (all patients where the data name none): patients, PFS events, measurements, share below LLOQ.

    Columns: arm, patients, events, censored, measurements, below_lloq_percent, last_day_median (days of follow-up, the
    last measurement or PFS time).
    """
    arms = trial.patients["arm"].fillna("no arm given") if "arm" in trial.patients else None
    label = pd.Series("all patients", index=trial.patients.index) if arms is None else arms.astype(str)
    rows = []
    last_day = pd.Series(trial.last_day, index=trial.patients.index)
    for arm in sorted(label.unique(), key=by_amount):
        ids = label.index[label == arm]
        measured = trial.mprotein[trial.mprotein["id"].isin(ids)]
        events = int(trial.pfs.loc[ids, "event"].sum())
        rows.append(
            {
                "arm": arm,
                "patients": len(ids),
                "events": events,
                "censored": len(ids) - events,
                "measurements": len(measured),
                "below_lloq_percent": 100.0 * float(measured["below_lloq"].mean()) if len(measured) else 0.0,
                "last_day_median": float(last_day[ids].median()),
            }
        )
    return pd.DataFrame(rows)


def baseline_table(trial: Trial) -> pd.DataFrame:
    """One row per numeric column of the patients, PK parameters left out, and the observed baseline M-protein.

    Columns: covariate (the column's name, which ends in its unit), flag (0/1 columns), median, low, high (range; flags:
    the share of 1 as `median`), missing (patients without a value).
    """
    columns = {
        str(name): values
        for name, values in trial.patients.items()
        if not str(name).startswith("pk_") and name not in _NOT_BASELINE
    }
    columns["baseline_mprotein_g_per_l"] = trial.baseline_mprotein
    rows = []
    for name, values in columns.items():
        if not pd.api.types.is_numeric_dtype(values):
            continue
        given = values.dropna().astype(float)
        if given.empty:
            continue
        flag = bool(given.isin([0.0, 1.0]).all())
        middle = given.mean() if flag else given.median()
        rows.append(
            {
                "covariate": name,
                "flag": flag,
                "median": float(middle),
                "low": float(given.min()),
                "high": float(given.max()),
                "missing": int(values.isna().sum()),
            }
        )
    return pd.DataFrame(rows)
