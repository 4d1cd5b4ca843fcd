"""Assurance: the probability that a planned two-arm trial succeeds, over all uncertainty about its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from bayes_isa.data.schema import nearest
from bayes_isa.errors import ModelError
from bayes_isa.regimens import AnyRegimen
from bayes_isa.simulation.decisions import wilson
from bayes_isa.simulation.pfs_endpoints import MONTH_DAYS
from bayes_isa.simulation.simulate import simulate_trials
from bayes_isa.simulation.survival import cox_hazard_ratio, log_rank, median_time

_WEEK_DAYS = 7.0
_YEAR_DAYS = 365.25
ANALYSES = ("log_rank", "hazard_ratio_below")


@dataclass(frozen=True)
class TwoArmTrial:
    """Design of a trial of two arms on PFS.

    n_per_arm         patients in either arm.
    accrual_months    patients enter at a constant rate over this time.
    follow_up_months  from the last entry to the analysis, unless `events` comes first.
    events            analyse when this many events have occurred in both arms together; None: at the end of
    follow-up. dropout_per_year  constant rate at which patients are lost, independent of everything. analysis
    "log_rank": success if the one-sided log-rank test favours the new arm at level `alpha`;
                      "hazard_ratio_below": if the Cox hazard ratio is below `hazard_ratio_below`.
    alpha             one-sided; 0.025 is the convention of confirmatory trials (ICH E9).

    A month has 30.4 days here. Raises ModelError for a design that cannot be.
    """

    n_per_arm: int
    accrual_months: float
    follow_up_months: float
    events: int | None = None
    dropout_per_year: float = 0.0
    analysis: str = "log_rank"
    alpha: float = 0.025
    hazard_ratio_below: float = 1.0

    def __post_init__(self) -> None:
        wrong = []
        if self.n_per_arm < 1:
            wrong.append(f"n_per_arm: expected at least 1, found {self.n_per_arm}")
        if not 0.0 <= self.accrual_months < np.inf:
            wrong.append(f"accrual_months: expected 0 or more, found {self.accrual_months}")
        if not 0.0 < self.follow_up_months < np.inf:
            wrong.append(f"follow_up_months: expected more than 0, found {self.follow_up_months}")
        if self.events is not None and not 1 <= self.events <= 2 * self.n_per_arm:
            wrong.append(
                f"events: expected 1 to {2 * self.n_per_arm}, the number of patients, found {self.events}"
            )
        if not 0.0 <= self.dropout_per_year < np.inf:
            wrong.append(f"dropout_per_year: expected 0 or more, found {self.dropout_per_year}")
        if self.analysis not in ANALYSES:
            close = nearest(str(self.analysis), ANALYSES)
            hint = f" (did you mean {close!r}?)" if close else ""
            wrong.append(f"analysis: expected one of {', '.join(ANALYSES)}, found {self.analysis!r}{hint}")
        if not 0.0 < self.alpha < 1.0:
            wrong.append(f"alpha: expected a probability between 0 and 1, found {self.alpha}")
        if not 0.0 < self.hazard_ratio_below < np.inf:
            wrong.append(f"hazard_ratio_below: expected a positive number, found {self.hazard_ratio_below}")
        if wrong:
            raise ModelError("; ".join(wrong))

    @property
    def longest_day(self) -> float:
        """Longest follow-up of any patient, days."""
        return (self.accrual_months + self.follow_up_months) * MONTH_DAYS


def assurance(
    fit: xr.DataTree,
    regimen: str | AnyRegimen,
    reference: str | AnyRegimen,
    design: TwoArmTrial,
    *,
    n_trials: int = 1000,
    seed: int,
    population: str | pd.DataFrame = "new",
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Simulated trials of `design` that compare `regimen` with `reference`, each at one posterior draw of `fit`.

    Unlike in `simulate_trials` the arms hold different patients with events of their own, so that the trials vary as
    real ones would. `population`: where the 2 n_per_arm patients come from ("new", "resampled", "virtual" or a
    table); `options` go to `simulate_trials` (`vary`, `weights`, `dexamethasone_hazard` by the labels "regimen" and
    "reference", `trial`, `spec`, `allow_unconverged`, ...): with vary=["patients", "events"] the result is power at
    the posterior mean.

    Returns a Dataset. Dims (trial, arm), arms "regimen" and "reference": `median_pfs` (weeks, Kaplan-Meier, infinite
    where not reached), `events`. Dim (trial): `success` (bool), `hazard_ratio` (Cox; NaN without bound),
    `log_rank_z`, `p_value` (one-sided), `analysis_day` (since the first entry). attrs: `assurance`, the share of
    trials that succeed, its 90 % Monte Carlo interval `assurance_p5`, `assurance_p95`, and the design. A trial
    whose test does not exist (no events) does not succeed; one that never reaches its number of events is analysed
    at the end of follow-up: `n_short_of_events` counts those. Raises what `simulate_trials` raises.
    """
    if isinstance(population, str) and population in ("fitted", "redrawn"):
        raise ModelError(
            f"population {population!r} has every patient once, but the arms of a trial hold different patients: "
            "use 'new', 'resampled' or 'virtual'"
        )
    sims = simulate_trials(
        fit,
        {"regimen": regimen, "reference": reference},
        n_trials=n_trials,
        seed=seed,
        population=population,
        n_patients=2 * design.n_per_arm,
        horizon_day=design.longest_day,
        progress=progress,
        **options,
    ).to_dataset()
    n = design.n_per_arm
    # Half of the patients are the one arm's, the others the other's.
    halves = ((0, slice(0, n)), (1, slice(n, None)))
    progression = np.where(sims["event"], sims["pfs_day"], np.inf)
    arms = np.stack([progression[:, column, half] for column, half in halves], axis=1)
    # A stream of its own, apart from those of the simulation.
    streams = np.random.SeedSequence(seed, spawn_key=(2**16,)).spawn(n_trials)
    analysed = [_analysed(design, arms[i], np.random.default_rng(streams[i])) for i in range(n_trials)]
    result = xr.Dataset(
        {
            "median_pfs": (
                ("trial", "arm"),
                np.array([a["median_pfs"] for a in analysed]),
                {"units": "week"},
            ),
            "events": (("trial", "arm"), np.array([a["events"] for a in analysed])),
            **{
                name: ("trial", np.array([a[name] for a in analysed]))
                for name in ("success", "hazard_ratio", "log_rank_z", "p_value", "analysis_day")
            },
        },
        {
            "trial": sims["trial"],
            "arm": ["regimen", "reference"],
            "chain": sims["chain"],
            "draw": sims["draw"],
        },
    )
    return result.assign_attrs(_summary(result, design, regimen, reference))


def _analysed(design: TwoArmTrial, progression: np.ndarray, rng: np.random.Generator) -> Mapping[str, Any]:
    """One trial from its days of progression (arm, patient)."""
    entry = rng.uniform(0.0, design.accrual_months * MONTH_DAYS, progression.shape)
    lost = rng.exponential(size=progression.shape)
    if design.dropout_per_year > 0.0:
        lost *= _YEAR_DAYS / design.dropout_per_year
    else:
        lost[:] = np.inf
    seen = np.where(progression <= lost, entry + progression, np.inf)  # calendar days of events
    close = design.longest_day
    if design.events is not None:
        close = min(close, float(np.sort(seen, axis=None)[design.events - 1]))
    # A patient who would enter after the analysis is not in it.
    followed = np.maximum(close - entry, 0.0)
    event = seen <= close
    day = np.minimum(np.minimum(progression, lost), followed)
    entered = followed > 0.0
    new, old = ((day[arm][entered[arm]], event[arm][entered[arm]]) for arm in (0, 1))
    if new[0].size and old[0].size:
        z, ratio = log_rank(*new, *old), cox_hazard_ratio(*new, *old)
    else:
        z = ratio = np.nan
    p_value = float(stats.norm.cdf(z))
    success = p_value < design.alpha if design.analysis == "log_rank" else ratio < design.hazard_ratio_below
    return {
        "median_pfs": [median_time(*arm) / _WEEK_DAYS for arm in (new, old)],
        "events": [int(arm[1].sum()) for arm in (new, old)],
        "success": bool(success),
        "hazard_ratio": ratio,
        "log_rank_z": z,
        "p_value": p_value,
        "analysis_day": close,
    }


def _summary(
    result: xr.Dataset,
    design: TwoArmTrial,
    regimen: str | AnyRegimen,
    reference: str | AnyRegimen,
) -> dict[str, Any]:
    share, n = float(result["success"].mean()), result.sizes["trial"]
    low, high = wilson(share, n)
    summary: dict[str, Any] = {
        "assurance": share,
        "assurance_p5": low,
        "assurance_p95": high,
        "regimen": str(regimen),
        "reference": str(reference),
        "n_per_arm": design.n_per_arm,
        "analysis": design.analysis,
    }
    if design.events is not None:
        short = result["events"].sum("arm") < design.events
        summary["n_short_of_events"] = int(short.sum())
    return summary
