"""PFS curves of simulated trials: the share of patients without an event over time, with its spread over trials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.simulation.trials import Sims, trial_data

_DAYS_APART = 7.0


def pfs_curves(
    sims: Sims, *, days: Sequence[float] | np.ndarray | None = None, level: float = 0.9
) -> xr.Dataset:
    """Probability of PFS beyond each day, by regimen: median and central interval over simulated trials.

    sims    what `simulate_trials` returns: `pfs_day` and `event` (trial, regimen, patient), censored at one horizon
            only, so that the share of patients without an event is the Kaplan-Meier estimate.
    days    where to evaluate; weekly from 0 to the horizon by default.
    level   probability of the interval between `low` and `high`, each point by itself.

    Returns `median`, `low` and `high` (regimen, day), probabilities. Raises ModelError when `sims` lacks these
    variables, `level` is no probability, or a day lies beyond the horizon.
    """
    root = trial_data(sims, "pfs_day", "event")
    if not 0.0 < level < 1.0:
        raise ModelError(f"level: expected a probability between 0 and 1, found {level!r}")
    pfs_day, event = root["pfs_day"].to_numpy(), root["event"].to_numpy()
    horizon = float(pfs_day.max())
    at = np.arange(0.0, horizon + 1e-9, _DAYS_APART) if days is None else np.asarray(days, dtype=float)
    if at.size and (at.min() < 0.0 or at.max() > horizon):
        raise ModelError(f"days: expected days from 0 to {horizon:g}, the end of the simulation")
    event_day = np.where(event, pfs_day, np.inf)
    # Day by day: all at once would take trials x regimens x patients x days.
    surviving = np.stack([(event_day > day).mean(axis=2) for day in at], axis=-1)
    tail = (1.0 - level) / 2.0
    low, median, high = np.quantile(surviving, [tail, 0.5, 1.0 - tail], axis=0)
    dims = ("regimen", "day")
    return xr.Dataset(
        {"median": (dims, median), "low": (dims, low), "high": (dims, high)},
        coords={"regimen": root["regimen"].to_numpy(), "day": ("day", at, {"units": "day"})},
        attrs={"level": level, "n_trials": root.sizes["trial"], "n_patients": root.sizes["patient"]},
    )
