"""The doses of an event file: rates into durations, additional doses written out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bayes_isa.data.nonmem_records import Records
from bayes_isa.data.schema import DRUGS


def dose_rows(records: Records, codes: Mapping[str, int]) -> pd.DataFrame:
    """The raw table of doses, each with the line it comes from; problems go to the records."""
    dosed = records.kind() == "dose"
    _refuse_steady_state(records, dosed)
    if "AMT" not in records.frame:
        records.error(dosed, lambda i: ("a dose without AMT", "Add the column AMT, mg"))
        return pd.DataFrame(columns=["id", "day", "amount_mg", "drug", "duration_h"], dtype=object)
    rows = records.rows(dosed, amount_mg="AMT")
    rows = rows.assign(drug=_drug(records, dosed, codes), duration_h=_duration(records, dosed))
    return _expand(rows, *_additional(records, dosed))


def _refuse_steady_state(records: Records, dosed: np.ndarray) -> None:
    steady = dosed & ~np.isnan(records.number("SS")) & (records.number("SS") != 0)
    remedy = "The model starts at the first dose with no drug in the body: write the earlier doses out"
    records.error(steady, lambda i: (f"SS is {records.shown('SS', i)}: steady state is refused", remedy))


def _drug(records: Records, dosed: np.ndarray, codes: Mapping[str, int]) -> np.ndarray:
    column = "ADM" if "ADM" in records.frame else "CMT"
    code = records.number(column)
    drug = np.full(len(code), None, dtype=object)
    for name in DRUGS:
        drug[code == codes[name]] = name
    unknown = dosed & np.array([name is None for name in drug], dtype=bool) & ~records.unreadable(column)
    remedy = "Give " + " or ".join(f"{codes[name]} for {name}" for name in DRUGS)
    records.error(unknown, lambda i: (f"{column} of a dose is {records.shown(column, i)}", remedy))
    # an unknown drug was just reported; any valid name keeps the later checks quiet about it
    drug[[name is None for name in drug]] = "dexamethasone"
    return drug[dosed]


def _duration(records: Records, dosed: np.ndarray) -> np.ndarray:
    """Hours: DUR, or AMT over RATE (mg per unit of TIME); 0 where neither is given."""
    rate, duration = records.number("RATE"), records.number("DUR")
    modelled = dosed & np.isnan(duration) & (rate < 0)
    remedy = "A modelled rate or duration is refused: give DUR in hours"
    records.error(modelled, lambda i: (f"RATE is {records.shown('RATE', i)}", remedy))
    hours_per_unit = 24.0 * records.days_per_unit
    with np.errstate(divide="ignore", invalid="ignore"):
        by_rate = np.where(rate > 0, records.number("AMT") / rate * hours_per_unit, 0.0)
    return np.where(np.isnan(duration), by_rate, duration)[dosed]


def _additional(records: Records, dosed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of additional doses and days between them, per dose line."""
    addl = np.nan_to_num(records.number("ADDL"))
    interval = records.number("II")
    broken = dosed & ((addl < 0) | (addl != np.floor(addl)))
    records.error(broken, lambda i: (f"ADDL is {records.shown('ADDL', i)}", "Give a whole number, 0 or more"))
    without = dosed & (addl > 0) & ~(interval > 0) & ~records.unreadable("II")
    remedy = "Give the interval between the additional doses"
    records.error(without, lambda i: (f"ADDL is {addl[i]:g} but II is {records.shown('II', i)}", remedy))
    usable = ~broken & (interval > 0)
    extra = np.where(usable, addl, 0).astype(int)
    return extra[dosed], np.nan_to_num(interval[dosed]) * records.days_per_unit


def _expand(rows: pd.DataFrame, extra: np.ndarray, interval: np.ndarray) -> pd.DataFrame:
    if not extra.any():
        return rows
    repeats = extra + 1
    which = np.repeat(np.arange(len(rows)), repeats)
    nth = np.arange(len(which)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    expanded = rows.iloc[which]
    day = pd.to_numeric(expanded["day"], errors="coerce")
    # a day that is no number stays as it was, to be reported by the check of the doses
    return expanded.assign(
        day=(day + nth * interval[which]).astype(object).where(day.notna(), expanded["day"])
    )
