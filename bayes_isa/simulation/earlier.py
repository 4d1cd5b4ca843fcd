"""Who would progress earlier, had treatment been switched: the publication's analysis of stopped dexamethasone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.simulation.regimen_names import require_regimen
from bayes_isa.simulation.response import assess
from bayes_isa.simulation.trials import Sims, require_followed, trial_data


def earlier_progression(
    sims: Sims, *, stay: str, switch: str, day: float, confirmed: bool = False
) -> xr.Dataset:
    """Which patients still at risk on `day` would progress earlier by M-protein under `switch` than under `stay`.

    stay, switch  simulated regimens with the same doses before `day`.
    day           of the switch: at risk are patients whose PFS under `stay` is longer.
    confirmed     progression needs two visits in a row; False: the first visit with a rise, as in the publication (at
                  least 25 % and 5 g/L above the nadir).

    Time to progression (TTP) is that of the M-protein curve, visit by visit, as if treatment went on; "earlier"
    needs a visit between, so visits every week (`simulate_trials(visit_days=7)`) say more than every four.

    Returns a Dataset. Dims (trial, patient): `at_risk`, `earlier` (bool), `ttp_stay`, `ttp_switch` (days, infinite
    where not by the horizon); (trial): `n_at_risk`, `n_earlier`, `share_earlier` (%, NaN where nobody is at risk).
    Raises RegimenError for regimens that were not simulated, ModelError when the simulation ends before `day`.
    Source: CPT:PSP 2023 (112 of 160 at 3 months, 61 of 118 at 6).
    """
    root = trial_data(sims, "pfs_day", "event", "m_protein")
    labels = [require_regimen(name, root["regimen"].to_numpy()) for name in (stay, switch)]
    require_followed(root, day, f"a switch on day {day:g}")
    ttp = []
    for label in labels:
        one = root.sel(regimen=label)
        m = one["m_protein"].transpose("trial", "patient", "visit").to_numpy()
        visits = one["visit_day"].to_numpy()
        first = assess(m, np.full(m.shape[:2], visits.size), confirmed=confirmed).progression_visit
        ttp.append(np.where(first >= 0, visits[first], np.inf))
    of_stay = root.sel(regimen=labels[0])
    at_risk = (~of_stay["event"] | (of_stay["pfs_day"] > day)).transpose("trial", "patient").to_numpy()
    earlier = at_risk & (ttp[1] < ttp[0])
    n_at_risk, n_earlier = at_risk.sum(axis=1), earlier.sum(axis=1)
    share = np.where(n_at_risk > 0, 100.0 * n_earlier / np.maximum(n_at_risk, 1), np.nan)
    dims, units = ("trial", "patient"), {"units": "day"}
    kept = [name for name in ("source_patient",) if name in root.coords]
    return xr.Dataset(
        {
            "at_risk": (dims, at_risk),
            "earlier": (dims, earlier),
            "ttp_stay": (dims, ttp[0], units),
            "ttp_switch": (dims, ttp[1], units),
            "n_at_risk": ("trial", n_at_risk),
            "n_earlier": ("trial", n_earlier),
            "share_earlier": ("trial", share, {"units": "%"}),
        },
        {name: root[name] for name in ("trial", "patient", *kept)},
        {"stay": labels[0], "switch": labels[1], "day": float(day)},
    )


def baseline_by_group(progression: xr.Dataset, patients: pd.DataFrame) -> pd.DataFrame:
    """Baseline characteristics of those who would progress earlier and of the others at risk.

    progression  what `earlier_progression` returned.
    patients     columns of patients.csv, index: the patients simulated (or those they were drawn from).

    A row for each numeric column: weighted by the trials in which a patient is in the group, median and quartiles, or
    for 0/1 columns the share in %. Columns: (group, statistic), groups "earlier" and "not earlier"; empty groups are
    NaN. Raises ModelError for patients without a row.
    """
    source = progression["source_patient"] if "source_patient" in progression else progression["patient"]
    who = np.broadcast_to(source.to_numpy().astype(str), progression["at_risk"].shape)
    ids = patients.index.map(str)
    unknown = sorted(set(who.ravel()) - set(ids))
    if unknown:
        raise ModelError(f"patients: expected a row for each simulated patient, found none for {unknown[0]}")
    position = pd.Series(np.arange(len(ids)), index=ids)
    at = position.reindex(who.ravel()).to_numpy().reshape(who.shape)
    earlier, at_risk = progression["earlier"].to_numpy(), progression["at_risk"].to_numpy()
    numeric = [name for name in patients.columns if pd.api.types.is_numeric_dtype(patients[name])]
    groups = {}
    for group, members in (("earlier", earlier), ("not earlier", at_risk & ~earlier)):
        weight = np.bincount(at[members], minlength=len(ids)).astype(float)
        described = {name: _described(patients[name].to_numpy(dtype=float), weight) for name in numeric}
        groups[group] = pd.DataFrame(described).T
    return pd.concat(groups, axis=1)


def _described(values: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    flag = set(np.unique(values[np.isfinite(values)])) <= {0.0, 1.0}
    used = np.isfinite(values) & (weight > 0)
    values, weight = values[used], weight[used]
    if flag:
        return {"share_percent": 100.0 * float(np.average(values, weights=weight)) if values.size else np.nan}
    if not values.size:
        return dict.fromkeys(("median", "p25", "p75"), np.nan)
    middle, low, high = np.quantile(values, [0.5, 0.25, 0.75], weights=weight, method="inverted_cdf")
    return {"median": float(middle), "p25": float(low), "p75": float(high)}
