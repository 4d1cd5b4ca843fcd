"""A trial with every arm of the study and every awkward record, for the tests and benchmarks of the kernel."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayes_isa.data import Trial, trial_from_tables
from bayes_isa.data.population import assign_arms, draw_population
from bayes_isa.pk import PK_PARAMETERS, draw_parameters, typical_parameters
from bayes_isa.regimens import Regimen

LLOQ = 0.5  # g/L
MONTHS_20 = 608.0


def awkward_trial(n: int = 201, *, seed: int = 7) -> Trial:
    """`n` virtual patients in the arms of the study with individual pharmacokinetics and arbitrary outcomes.

    M-protein falls by up to 97 % and comes back, with values on day 0, after the PFS time (a third of the patients, on
    treatment up to then) and below the LLOQ. PFS days fall on dosing days, within infusions, hours after
    dexamethasone and at odd times.
    """
    rng = np.random.default_rng([seed, 1])
    patients = assign_arms(draw_population(n, seed=seed), seed=seed)
    covariates = patients[["weight_kg", "b2m_mg_per_l", "igg", "female", "asian"]].to_numpy(dtype=float).T
    pk = draw_parameters(typical_parameters(*covariates), rng)
    patients = patients.assign(**{f"pk_{name}": pk[:, j] for j, name in enumerate(PK_PARAMETERS)})
    patients = patients.drop(columns="dexamethasone")
    event_day = _event_days(n, rng)
    visits = [_visits(day, rng) for day in event_day]
    last = np.array([max(day, visit[-1]) for day, visit in zip(event_day, visits, strict=True)])
    doses = pd.concat(
        [
            Regimen.parse(str(arm)).doses(
                rows.index, rows["weight_kg"], rows["age_years"], last[patients.index.get_indexer(rows.index)]
            )
            for arm, rows in patients.groupby("arm", sort=False)
        ]
    )
    mprotein = pd.concat([_measured(i, days, rng) for i, days in zip(patients.index, visits, strict=True)])
    pfs = pd.DataFrame({"id": patients.index, "day": event_day, "event": (rng.random(n) < 0.7).astype(int)})
    return trial_from_tables(patients.reset_index(), doses, mprotein, pfs, name="awkward")


def _event_days(n: int, rng: np.random.Generator) -> np.ndarray:
    """From 5 days to 20 months: at any time, on a dosing day, 2 hours (in an infusion, near a peak) or 12 h later."""
    day = np.clip(rng.exponential(200.0, n), 5.0, MONTHS_20)
    dosing = 14.0 * np.ceil(day / 14.0)
    shift = np.array([np.nan, 0.0, 1.0 / 24.0, 0.5])[rng.integers(4, size=n)]
    return np.round(np.where(np.isnan(shift), day, dosing + shift), 3)


def _visits(event_day: float, rng: np.random.Generator) -> np.ndarray:
    """Baseline, every 4 weeks up to the event, after it for some, and one at an odd time."""
    after = 28.0 * rng.integers(1, 4) if rng.random() < 0.35 else 0.0
    regular = np.arange(0.0, event_day + after, 28.0)
    odd = np.round(rng.uniform(1.0, max(event_day, 2.0), 1), 2)
    return np.unique(np.concatenate([regular, odd, [event_day]]))


def _measured(patient: str, day: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """M-protein that falls with time towards a nadir and grows back, with residual error."""
    fall, regrowth = rng.uniform(0.0, 3.5), rng.uniform(0.0, 0.008)
    time = np.maximum(day, 0.0)
    m = np.exp(
        np.log(27.0) + 0.6 * rng.standard_normal() - fall * (1.0 - np.exp(-time / 60.0)) + regrowth * time
    )
    value = np.round(m + np.hypot(0.4, 0.07 * m) * rng.standard_normal(day.size), 2)
    below = (value < LLOQ) & (day > 0.0)
    return pd.DataFrame(
        {
            "id": patient,
            "day": day,
            "value_g_per_l": np.where(below, LLOQ, np.maximum(value, LLOQ)),
            "lloq_g_per_l": LLOQ,
            "below_lloq": below.astype(int),
        }
    )
