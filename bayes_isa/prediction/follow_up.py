"""How long each patient would have been followed, and when measured, had progression come at another time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayes_isa.data import Trial
from bayes_isa.data.baseline import baseline_rows, first_dose_day
from bayes_isa.errors import DataError, Problem
from bayes_isa.kernels.design import offsets_of
from bayes_isa.model.joint_data import continued_doses
from bayes_isa.prediction.kaplan_meier import kaplan_meier

# Whose last dosing interval, half of it added for delays, reaches the end of follow-up was still on treatment.
_INTERVALS_LATE = 1.5
_FALLBACK_INTERVAL_DAY = 28.0  # between visits in the published studies; used where no patient has two


@dataclass(frozen=True)
class Schedule:
    """Planned measurements, patients one after another in the trial's order.

    Observed rows come first within a patient, then those that follow-up to `horizon_day` would have added at the
    trial's own interval. Rows on or after a patient's progression belong to no schedule and are left out.
    """

    patient: np.ndarray  # (row,) position
    day: np.ndarray  # (row,)
    lloq: np.ndarray  # (row,) g/L
    baseline: np.ndarray  # (row,) bool: the measurement that covariates take as the baseline
    source: np.ndarray  # (row,) row of the trial's measurements, -1 for rows that were only planned
    horizon_day: np.ndarray  # (patient,) longest follow-up

    @property
    def offset(self) -> np.ndarray:
        """(n_patients + 1,) first row of each patient."""
        counts = np.bincount(self.patient, minlength=self.horizon_day.size)
        return offsets_of(counts)


def known_follow_up(trial: Trial, follow_up: pd.Series | None) -> np.ndarray:
    """Potential follow-up in days (n_patients,) where known, NaN where progression hides it.

    A censored patient's is the PFS day. `follow_up` (index: id, days) tells it for the others, such as the days from
    first dose to the data cut-off. Raises DataError where it is shorter than what was observed.
    """
    day = trial.pfs["day"].to_numpy(dtype=float)
    known = np.where(trial.pfs["event"].to_numpy(dtype=bool), np.nan, day)
    if follow_up is None:
        return known
    given = follow_up.reindex(trial.patients.index).to_numpy(dtype=float)
    short = np.flatnonzero(given < day)
    if short.size:
        remedy = "Give the days from first dose to the end of the study"
        raise DataError(
            "follow_up is shorter than observed PFS",
            [
                Problem(
                    f"{given[i]:g} days, PFS {day[i]:g}", remedy, patient=str(trial.patients.index[int(i)])
                )
                for i in short
            ],
        )
    return np.where(np.isfinite(known), known, given)


def draw_follow_up(trial: Trial, known: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Potential follow-up in days (n_patients,): the known one, else a draw of the trial's censoring times beyond PFS.

    The distribution of censoring is its Kaplan-Meier estimate, events taken as censored (Schemper and Smith 1996,
    doi:10.1016/0197-2456(96)00075-X); what it leaves beyond the last censoring time falls on the longest follow-up.
    """
    day = trial.pfs["day"].to_numpy(dtype=float)
    censored = ~trial.pfs["event"].to_numpy(dtype=bool)
    longest = float(np.fmax(day.max(), np.nanmax(known, initial=0.0)))
    times = np.unique(day[censored])
    remaining = kaplan_meier(day[None], censored[None], np.concatenate([[0.0], times]))[0]
    at_own = kaplan_meier(day[None], censored[None], day)[0]
    target = rng.random(day.size) * at_own
    # The first time at which the curve is at or below the target.
    first = np.searchsorted(-remaining, -target, side="left")
    drawn = np.append(np.concatenate([[0.0], times]), longest)[first]
    return np.where(np.isfinite(known), known, np.maximum(drawn, day))


def planned_schedule(trial: Trial, known: np.ndarray) -> Schedule:
    """The measurements of `trial` up to progression and those planned after it, to the longest follow-up possible."""
    rows = trial.mprotein
    day, event = trial.pfs["day"].to_numpy(dtype=float), trial.pfs["event"].to_numpy(dtype=bool)
    longest = float(np.fmax(day.max(), np.nanmax(known, initial=0.0)))
    horizon = np.where(np.isfinite(known), known, longest)
    position = trial.patients.index.get_indexer(pd.Index(rows["id"]))
    at = rows["day"].to_numpy(dtype=float)
    kept = np.flatnonzero((at < day[position]) | ((at <= day[position]) & ~event[position]))
    interval = visit_interval(trial)
    columns: list[list[np.ndarray]] = [[], [], [], []]
    lloq = rows["lloq_g_per_l"].to_numpy(dtype=float)
    for i in range(trial.n_patients):
        own = kept[position[kept] == i]
        last = float(at[own].max()) if own.size else -interval
        later = np.arange(last + interval, horizon[i] + 1e-9, interval) if event[i] else np.empty(0)
        limit = lloq[own][-1] if own.size else float(lloq[position == i][-1])
        columns[0].append(np.full(own.size + later.size, i))
        columns[1].append(np.concatenate([at[own], later]))
        columns[2].append(np.concatenate([lloq[own], np.full(later.size, limit)]))
        columns[3].append(np.concatenate([own, np.full(later.size, -1)]))
    patient, days, limits, source = (np.concatenate(column) for column in columns)
    first_dose = first_dose_day(trial.doses, trial.patients.index)
    baseline = baseline_rows(rows.reset_index(names="_row"), first_dose)["_row"].to_numpy()
    return Schedule(patient, days, limits, np.isin(source, baseline) & (source >= 0), source, horizon)


def visit_interval(trial: Trial) -> float:
    """Median days between successive measurements after the first dose."""
    rows = trial.mprotein[trial.mprotein["day"] >= 0.0]
    gaps = rows.groupby("id")["day"].diff().dropna()
    gaps = gaps[gaps > 0.0]
    return float(gaps.median()) if len(gaps) else _FALLBACK_INTERVAL_DAY


def doses_to(trial: Trial, horizon_day: np.ndarray) -> pd.DataFrame:
    """The trial's doses, those of drugs still being given at the end of follow-up continued to `horizon_day`.

    A drug stopped before the end stays stopped.
    """
    ids, day = trial.patients.index, trial.pfs["day"].to_dict()
    going = []
    for (patient, drug), rows in trial.doses.groupby(["id", "drug"], sort=False):
        if len(rows) > 1:
            step = float(rows["day"].iloc[-1] - rows["day"].iloc[-2])
            if rows["day"].iloc[-1] + _INTERVALS_LATE * step >= day[patient]:
                going.append((patient, drug))
    chosen = pd.MultiIndex.from_frame(trial.doses[["id", "drug"]]).isin(going)
    extended = continued_doses(replace(trial, doses=trial.doses[chosen]), float(horizon_day.max()))
    horizon = pd.Series(horizon_day, index=ids)
    extended = extended[extended["day"] <= extended["id"].map(horizon)]
    return pd.concat([trial.doses[~chosen], extended], ignore_index=True)
