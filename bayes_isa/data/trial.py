"""Trial: the validated data of a clinical trial, as every layer above takes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayes_isa.data.baseline import baseline_rows, first_dose_day
from bayes_isa.data.schema import nearest
from bayes_isa.errors import DataError, Problem

TABLES = ("patients", "doses", "mprotein", "pfs")


@dataclass(frozen=True, eq=False, repr=False)
class Trial:
    """Patients, doses, M-protein measurements and progression-free survival of one trial.

    Make one with `read_trial`, `read_nonmem` or `trial_from_tables`, which check the data; the class itself
    checks nothing. Times are days since a patient's first dose.

    Attributes
    ----------
    patients : index "id" (str, in file order); "study", "arm", covariates with the unit in the column name
        (numbers and 0/1 flags as float, NaN where missing; other columns as text) and, optionally, individual
        PK parameters pk_CLinf, pk_CLm, pk_KCL, pk_g, pk_Vc, pk_Q, pk_Vp, pk_Vm, pk_Km (hours, mg, L).
    doses : id, drug ("isatuximab" or "dexamethasone"), day, amount_mg, duration_h; by patient, then day.
    mprotein : id, day, value_g_per_l, lloq_g_per_l, below_lloq (bool); by patient, then day. The value of a
        row below its limit of quantification is that limit.
    pfs : index "id" as in `patients`; day (float), event (bool: True progression or death, False censored). Where the
        data have them: day_lower, day_upper, between which an event seen at a visit lies (NaN for exact and censored
        times; `day` is then day_upper), and entry_day, before which a patient was not under observation (0: never).
    name : a label for tables and plots.
    warnings : what the checks found that does not stop the work.
    """

    patients: pd.DataFrame
    doses: pd.DataFrame
    mprotein: pd.DataFrame
    pfs: pd.DataFrame
    name: str = "trial"
    warnings: tuple[Problem, ...] = ()

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(self.patients)

    @property
    def n_measurements(self) -> int:
        """Number of M-protein measurements, those below the limit of quantification included."""
        return len(self.mprotein)

    @property
    def baseline_mprotein(self) -> pd.Series:
        """Observed baseline M-protein by id, g/L: the last value at or before the first dose.

        A value below its limit counts as the limit; NaN for a patient without any (checks refuse those).
        """
        start = first_dose_day(self.doses, self.patients.index)
        rows = baseline_rows(self.mprotein, start)
        return rows["value_g_per_l"].reindex(self.patients.index).rename("baseline_mprotein_g_per_l")

    @property
    def last_day(self) -> np.ndarray:
        """Last day of each patient's follow-up, shape (patient,): last measurement or PFS time."""
        measured = self.mprotein.groupby("id")["day"].max().reindex(self.patients.index)
        last = np.fmax(measured.to_numpy(dtype=float), self.pfs["day"].to_numpy(dtype=float))
        return np.asarray(last, dtype=float)

    @property
    def interval_censored(self) -> np.ndarray:
        """Whether an event is only known to lie between two visits, (patient,)."""
        if "day_upper" not in self.pfs:
            return np.zeros(self.n_patients, dtype=bool)
        return self.pfs["day_upper"].notna().to_numpy(dtype=bool)

    @property
    def progression_free_day(self) -> np.ndarray:
        """Last day known free of progression, (patient,): day_lower of an interval, else the PFS day."""
        day = self.pfs["day"].to_numpy(dtype=float)
        if "day_lower" not in self.pfs:
            return day
        return np.where(self.interval_censored, self.pfs["day_lower"].to_numpy(dtype=float), day)

    @property
    def entry_day(self) -> np.ndarray:
        """Day from which progression would have been observed, (patient,); 0 without delayed entry."""
        if "entry_day" not in self.pfs:
            return np.zeros(self.n_patients)
        return self.pfs["entry_day"].to_numpy(dtype=float)

    def subset(self, ids: Iterable[str]) -> Trial:
        """The trial of these patients alone, in the order given.

        Raises DataError for an unknown or repeated id. Warnings about other patients are left out.
        """
        chosen = pd.Index([str(i) for i in ids], name="id", dtype=self.patients.index.dtype)
        problems = _subset_problems(chosen, self.patients.index)
        if problems:
            raise DataError("These patients cannot be selected", problems)
        rank = pd.Series(np.arange(len(chosen)), index=chosen)
        kept = tuple(w for w in self.warnings if w.patient is None or w.patient in rank.index)
        return replace(
            self,
            patients=self.patients.loc[chosen],
            doses=sort_by_patient(self.doses, chosen),
            mprotein=sort_by_patient(self.mprotein, chosen),
            pfs=self.pfs.loc[chosen],
            warnings=kept,
        )

    def __repr__(self) -> str:
        below = int(self.mprotein["below_lloq"].sum())
        events = int(self.pfs["event"].sum())
        drugs = self.doses["drug"].value_counts().sort_index(ascending=False)
        doses = ", ".join(f"{n} {drug}" for drug, n in drugs.items()) or "none"
        warnings = f"{len(self.warnings)} warning{'' if len(self.warnings) == 1 else 's'}"
        return (
            f"Trial {self.name!r}: {self.n_patients} patients, {self.n_measurements} measurements "
            f"({below} below LLOQ), {events} PFS events, doses: {doses}, {warnings}"
        )


def sort_by_patient(rows: pd.DataFrame, ids: pd.Index) -> pd.DataFrame:
    """The rows of these patients, in their order, then by day; remaining columns break ties."""
    order = pd.Series(np.arange(len(ids)), index=ids)
    kept = rows[rows["id"].isin(ids)]
    ties = [column for column in kept.columns if column not in ("id", "day")]
    ranked = kept.assign(_rank=kept["id"].map(order))
    return ranked.sort_values(["_rank", "day", *ties]).drop(columns="_rank").reset_index(drop=True)


def _subset_problems(chosen: pd.Index, known: pd.Index) -> list[Problem]:
    problems = []
    for unknown in chosen[~chosen.isin(known)]:
        close = nearest(str(unknown), known)
        hint = f"Did you mean {close!r}?" if close else ""
        problems.append(Problem("no such patient", hint, patient=str(unknown)))
    for repeated in chosen[chosen.duplicated()].unique():
        problems.append(Problem("asked for more than once", patient=str(repeated)))
    return problems
