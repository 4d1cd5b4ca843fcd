"""A trial's drug exposure: from its doses and pharmacokinetics, or constant while on treatment."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayes_isa.errors import ModelError
from bayes_isa.model.spec import ModelSpec
from bayes_isa.pk import (
    KPD_HALF_LIFE_DAY,
    PK_PARAMETERS,
    Doses,
    Exposure,
    constant_exposure,
    kpd_exposure,
    pk_exposure,
    typical_parameters,
)

_PK_COLUMNS = [f"pk_{name}" for name in PK_PARAMETERS]


def pk_parameters(patients: pd.DataFrame) -> np.ndarray:
    """Individual PK parameters (n_patients, 9), in the order of `PK_PARAMETERS` (hours, mg, L).

    The columns pk_CLinf ... pk_Km where given, typical values of the published population model given weight, B2M, IgG,
    sex and race for patients without them. Raises ModelError when neither is possible.
    """
    given = patients.reindex(columns=_PK_COLUMNS).to_numpy(dtype=float)
    missing = ~np.isfinite(given).all(axis=1)
    if missing.any():
        given[missing] = _typical(patients.loc[missing])
    return given


def _typical(patients: pd.DataFrame) -> np.ndarray:
    needed = ["weight_kg", "b2m_mg_per_l", "igg", "female", "asian"]
    absent = [name for name in needed if name not in patients]
    if absent:
        raise ModelError(
            f"exposure from pharmacokinetics needs the columns pk_CLinf ... pk_Km, or {', '.join(needed)} to use "
            f"typical values; patients.csv lacks {', '.join(absent)}. Add them, or use exposure='kpd' or 'constant'"
        )
    values = patients[needed]
    incomplete = values.isna().any(axis=1)
    if incomplete.any():
        ids = ", ".join(map(str, values.index[incomplete][:10]))
        raise ModelError(
            f"typical pharmacokinetics need {', '.join(needed)}; {int(incomplete.sum())} patients lack one "
            f"({ids}{', ...' if incomplete.sum() > 10 else ''}). Fill them in, or give pk_ columns"
        )
    weight, b2m, igg, female, asian = values.to_numpy(dtype=float).T
    return typical_parameters(weight, b2m, igg, female, asian)


def _of_drug(doses: pd.DataFrame, ids: pd.Index, drug: str) -> Doses:
    """One drug's doses, patients by position."""
    rows = doses[doses["drug"] == drug]
    patient = ids.get_indexer(pd.Index(rows["id"])).astype(np.int64)
    return Doses(
        patient,
        rows["day"].to_numpy(dtype=float),
        rows["amount_mg"].to_numpy(dtype=float),
        rows["duration_h"].to_numpy(dtype=float),
    )


def trial_exposure(
    kind: str,
    patients: pd.DataFrame,
    doses: pd.DataFrame,
    until_day: np.ndarray,
    *,
    half_life_day: float = KPD_HALF_LIFE_DAY,
) -> Exposure:
    """Exposure of every patient up to `until_day` (n_patients,), kind "pk", "kpd" or "constant".

    half_life_day: of the K-PD model's virtual compartment. Raises ModelError for data without what the kind needs.

    Constant exposure lasts from the first isatuximab dose to the last plus the patient's own dosing interval; a patient
    without recorded isatuximab doses counts as on treatment throughout.
    """
    ids = patients.index
    isatuximab = _of_drug(doses, ids, "isatuximab")
    dexamethasone = _of_drug(doses, ids, "dexamethasone")
    if kind in ("pk", "kpd"):
        if np.size(isatuximab.patient) == 0:
            raise ModelError(
                f"exposure={kind!r} needs isatuximab doses and the data set has none; use exposure='constant'"
            )
        if kind == "kpd":
            return kpd_exposure(len(ids), isatuximab, dexamethasone, until_day, half_life_day=half_life_day)
        return pk_exposure(pk_parameters(patients), isatuximab, dexamethasone, until_day)
    on, off = np.zeros(len(ids)), np.full(len(ids), np.inf)
    patient, day = np.asarray(isatuximab.patient), np.asarray(isatuximab.day)
    for i in np.unique(patient):
        days = np.sort(day[patient == i])
        # After the last dose a patient stays on treatment for one more interval; 14 days where only one dose tells.
        on[i], off[i] = days[0], days[-1] + (days[-1] - days[-2] if days.size > 1 else 14.0)
    return constant_exposure(len(ids), on, off, dexamethasone)


def spec_exposure(
    spec: ModelSpec, patients: pd.DataFrame, doses: pd.DataFrame, until_day: np.ndarray
) -> Exposure:
    """`trial_exposure` as a specification has it."""
    return trial_exposure(spec.exposure, patients, doses, until_day, half_life_day=spec.kpd_half_life_day)
