"""Values that look like another unit.

A value is an error when it is impossible in the unit of its column and becomes usual after a known
conversion (albumin 3.5 g/L is impossible, 3.5 g/dL is common); an odd value that no conversion explains is a
warning. Where half of a column or more (two values at least) shows the same mix-up, it is reported once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayes_isa.data.checks.check import Check, error, warning
from bayes_isa.data.tables import Tables
from bayes_isa.errors import Problem


@dataclass(frozen=True)
class UnitRule:
    """What a covariate can be, what it usually is, and the factors that take other units to its own."""

    column: str
    possible: tuple[float, float]
    usual: tuple[float, float]
    others: tuple[tuple[str, float], ...]
    highest_median: float = np.inf  # a median above it, in five patients or more, is the first other unit


# The ranges of the isatuximab studies, widened until only another unit can explain a value.
RULES = (
    UnitRule("albumin_g_per_l", (10, 70), (15, 60), (("g/dL", 10.0), ("µmol/L", 0.0665))),
    UnitRule("weight_kg", (25, 250), (30, 250), (("lb", 0.4536), ("g", 0.001)), highest_median=130),
    UnitRule("b2m_mg_per_l", (0.5, 100), (0.8, 70), (("mg/dL", 10.0), ("µg/L", 0.001), ("nmol/L", 0.0118))),
    UnitRule("age_years", (16, 110), (18, 105), (("months", 1 / 12), ("days", 1 / 365.25))),
    UnitRule("alp_uln_ratio", (0.02, 20), (0.1, 20), (("U/L, not a ratio", 1 / 120),)),
    UnitRule(
        "albumin_uln_ratio",
        (0.1, 2),
        (0.2, 1.5),
        (("g/L, not a ratio", 1 / 50), ("g/dL, not a ratio", 1 / 5)),
    ),
    UnitRule("prior_lines", (0, 30), (1, 30), ()),
)
_MIN_COLUMN = 5  # patients needed before a median says anything about a unit


@error("patients.id")
def covariate_units(tables: Tables) -> list[Problem]:
    patients = tables.patients
    problems = []
    for rule in _present(tables):
        values = patients.frame[rule.column]
        unit = _likely_unit(rule, values)
        n_values = int(values.notna().sum())
        column_says = f"{rule.column} has median {_median(values):g}"
        counts = {name: int((unit == name).sum()) for name, _ in rule.others}
        whole = [name for name, n in counts.items() if n >= max(2, 0.5 * n_values)]
        for name in whole:
            text = f"{column_says}: {counts[name]} of {n_values} values look like {name}"
            problems.append(patients.problem(text, _conversion(rule, name)))
        for name in [other for other in counts if other not in whole]:
            message = f"{rule.column} is {{{rule.column}:g}}, which looks like {name}"
            problems += patients.report(unit == name, message, _conversion(rule, name))
        if not whole and n_values >= _MIN_COLUMN and _median(values) > rule.highest_median:
            name = rule.others[0][0]
            problems.append(
                patients.problem(f"{column_says}, which looks like {name}", _conversion(rule, name))
            )
    return problems


@warning("patients.id")
def odd_covariates(tables: Tables) -> list[Problem]:
    patients = tables.patients
    problems = []
    for rule in _present(tables):
        values = patients.frame[rule.column]
        odd = _impossible(rule, values) & _likely_unit(rule, values).isna() & (values > 0)
        low, high = rule.possible
        message = f"{rule.column} is {{{rule.column}:g}}, outside {low:g} to {high:g}"
        problems += patients.report(odd, message, "Check the value and its unit")
    return problems


@error("mprotein.id", "mprotein.day", "mprotein.value_g_per_l")
def mprotein_in_mg_per_dl(tables: Tables) -> list[Problem]:
    """A median baseline above 150 g/L, or one value above 150 g/L and 20 times its neighbours."""
    rows = tables.mprotein.frame
    first = _first_values(rows)
    if _median(first) > 150:
        text = f"value_g_per_l has median {_median(first):g} at the first measurement, which looks like mg/dL"
        return [tables.mprotein.problem(text, "Multiply value and limit by 0.01 to get g/L")]
    before, after = _neighbours(rows)
    highest = pd.concat([before, after], axis=1).max(axis=1)
    # a lone high value may be progression; one that is 20 times both neighbours is not
    odd = (rows["value_g_per_l"] > 150) & (rows["value_g_per_l"] > 20 * highest)
    message = "value_g_per_l is {value_g_per_l:g} where its neighbours are at most {highest:g}: mg/dL?"
    return tables.mprotein.report(odd, message, "Multiply by 0.01 to get g/L", highest=highest)


@warning("mprotein.id", "mprotein.day", "mprotein.value_g_per_l")
def mprotein_in_g_per_dl(tables: Tables) -> list[Problem]:
    """Baselines below 6 and nothing above 15 in five patients or more, or a tenth of both neighbours."""
    rows = tables.mprotein.frame
    values = rows["value_g_per_l"]
    first = _first_values(rows)
    remedy = "Multiply by 10 if it is in g/dL"
    if len(first) >= _MIN_COLUMN and _median(first) < 6 and values.max() < 15:
        text = f"value_g_per_l has median {_median(first):g} at the first measurement, low for g/L"
        return [tables.mprotein.problem(text, remedy)]
    before, after = _neighbours(rows)
    tenth = (
        values.gt(0.07 * before)
        & values.lt(0.14 * before)
        & values.gt(0.07 * after)
        & values.lt(0.14 * after)
    )
    message = "value_g_per_l is {value_g_per_l:g} between {before:g} and {after:g}: g/dL?"
    return tables.mprotein.report(tenth, message, remedy, before=before, after=after)


@error("mprotein.id", "mprotein.day")
def times_in_hours(tables: Tables) -> list[Problem]:
    """A median gap between measurements above 300 days, in five patients or more."""
    gap, n_patients = _measurement_gap(tables)
    if n_patients < _MIN_COLUMN or not gap > 300:
        return []
    text = f"measurements are {gap:g} days apart in the median, which looks like hours"
    return [tables.mprotein.problem(text, "Divide all times by 24 to get days")]


@warning("mprotein.id", "mprotein.day")
def times_in_weeks(tables: Tables) -> list[Problem]:
    """A median gap between measurements below 5 days, in five patients or more."""
    gap, n_patients = _measurement_gap(tables)
    if n_patients < _MIN_COLUMN or not gap < 5:
        return []
    text = f"measurements are {gap:g} days apart in the median: weeks or months?"
    return [tables.mprotein.problem(text, "Multiply all times by 7 if they are weeks, by 30.44 if months")]


@error("pfs.day")
def pfs_in_hours(tables: Tables) -> list[Problem]:
    """A median PFS time above ten years."""
    median = _median(tables.pfs.frame["day"])
    if not median > 3650:
        return []
    text = f"day has median {median:g}, more than ten years, which looks like hours"
    return [tables.pfs.problem(text, "Divide all times by 24 to get days")]


@error("doses.drug", "doses.amount_mg")
def isatuximab_per_kg(tables: Tables) -> list[Problem]:
    """A median isatuximab dose below 60 mg: 3 mg/kg of a patient of 40 kg is 120 mg."""
    amount = _of(tables, "isatuximab", "amount_mg")
    if not 0 < _median(amount) < 60:
        return []
    text = f"amount_mg of isatuximab has median {_median(amount):g}, which looks like mg/kg (or g)"
    return [tables.doses.problem(text, "Multiply mg/kg by the body weight, g by 1000, to get mg")]


@warning("doses.drug", "doses.amount_mg")
def dexamethasone_amounts(tables: Tables) -> list[Problem]:
    """A median dexamethasone dose outside 1 to 80 mg; usual are 20 and 40 mg."""
    amount = _of(tables, "dexamethasone", "amount_mg")
    if not (_median(amount) > 80 or 0 < _median(amount) < 1):
        return []
    text = f"amount_mg of dexamethasone has median {_median(amount):g}; 20 and 40 mg are usual"
    return [tables.doses.problem(text, "Give mg: divide µmol by 2.548, multiply g by 1000")]


@error("doses.drug", "doses.duration_h")
def durations_in_minutes(tables: Tables) -> list[Problem]:
    """A median isatuximab infusion above 24 h."""
    duration = _of(tables, "isatuximab", "duration_h")
    if not _median(duration) > 24:
        return []
    text = f"duration_h of isatuximab has median {_median(duration):g}, which looks like minutes"
    return [tables.doses.problem(text, "Divide by 60 to get hours")]


CHECKS: tuple[Check, ...] = (
    covariate_units,
    odd_covariates,
    mprotein_in_mg_per_dl,
    mprotein_in_g_per_dl,
    times_in_hours,
    times_in_weeks,
    pfs_in_hours,
    isatuximab_per_kg,
    dexamethasone_amounts,
    durations_in_minutes,
)


def _present(tables: Tables) -> list[UnitRule]:
    return [rule for rule in RULES if rule.column in tables.patients.frame]


def _impossible(rule: UnitRule, values: pd.Series) -> pd.Series:
    low, high = rule.possible
    return values.notna() & ((values < low) | (values > high))


def _likely_unit(rule: UnitRule, values: pd.Series) -> pd.Series:
    """The first other unit that makes an impossible value usual; None elsewhere."""
    unit = pd.Series(None, index=values.index, dtype=object)
    impossible = _impossible(rule, values)
    low, high = rule.usual
    for name, factor in rule.others:
        usual = (values * factor >= low) & (values * factor <= high)
        unit[impossible & usual & unit.isna()] = name
    return unit


def _conversion(rule: UnitRule, name: str) -> str:
    if "ratio" in name:
        return "Divide by the upper limit of normal of the laboratory, in the same unit"
    return f"Multiply by {dict(rule.others)[name]:.4g}"


def _first_values(rows: pd.DataFrame) -> pd.Series:
    return rows.sort_values("day", kind="stable").groupby("id")["value_g_per_l"].first()


def _neighbours(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    # positions, not lines, are unique: one line of an event file can stand for several rows
    ordered = rows.reset_index(drop=True).sort_values("day", kind="stable")
    by_patient = ordered.groupby("id")["value_g_per_l"]
    before, after = by_patient.shift(1).sort_index(), by_patient.shift(-1).sort_index()
    return before.set_axis(rows.index), after.set_axis(rows.index)


def _measurement_gap(tables: Tables) -> tuple[float, int]:
    rows = tables.mprotein.frame.sort_values("day", kind="stable")
    gap = rows.groupby("id")["day"].diff()
    return _median(gap), int(rows.loc[gap.notna(), "id"].nunique())


def _of(tables: Tables, drug: str, column: str) -> pd.Series:
    rows = tables.doses.frame
    return rows.loc[rows["drug"] == drug, column]


def _median(values: pd.Series) -> float:
    """NaN, without a warning, where there is nothing to take a median of."""
    given = values.dropna()
    return float(given.median()) if len(given) else np.nan
