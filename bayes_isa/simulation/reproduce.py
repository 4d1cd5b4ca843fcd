"""The published trial simulations run again, each number beside the printed one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.data.examples import load_example, load_example_truth
from bayes_isa.data.trial import Trial
from bayes_isa.errors import DataError, Problem
from bayes_isa.model.spec import ModelSpec
from bayes_isa.regimens import SIMULATED_ARMS
from bayes_isa.simulation.endpoints import endpoints
from bayes_isa.simulation.parameters import fit_at_truth
from bayes_isa.simulation.pool import fitted_data
from bayes_isa.simulation.published_results import (
    DEX_3,
    DEX_6,
    GAIN,
    LOW,
    MEDIAN,
    PUBLISHED_RESULTS,
    RATIO,
    STANDARD,
    WEEK_8,
)
from bayes_isa.simulation.simulate import simulate_trials
from bayes_isa.simulation.trials import trial_data

_EXAMPLE = "virtual_rrmm"
_MODES = {"held": "fitted", "fresh": "redrawn"}
_ENDPOINT = {
    WEEK_8: "week8_change",
    MEDIAN: "median_pfs",
    GAIN: "median_pfs_difference",
    RATIO: "hazard_ratio",
}
# The printed intervals leave the effect of stopped dexamethasone to M-protein alone: with the covariate on, 0-6 months
# could not differ from full dexamethasone before week 24, which it does.
_HAZARD_OFF = {DEX_3: False, DEX_6: False}


def reproduce(
    fit: xr.DataTree | None = None,
    *,
    n_trials: int = 1000,
    seed: int = 1,
    allow_unconverged: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """The published trial simulations (CPT:PSP 2023) run again: the regimens, 20 months, 201 patients and their 31
    Japanese ones, a row for each printed number and mode.

    fit  None: the published estimates and the individual parameters of the built-in virtual patients, the same in all
         trials, so that trials differ in event sampling (and, in mode "fresh", in individual parameters). A posterior
         fitted to `virtual_rrmm` or other data: its patients and draws, so that the intervals hold the uncertainty of
         the parameters as well.

    Columns: population ("all", "japanese"); regimen; quantity: "week8_fall_percent" (median over patients of the fall
    of M-protein by the model, progressed or not), "median_pfs_weeks", "gain_median_pfs_weeks" (over 20 mg/kg QW-Q2W),
    "hazard_ratio" (Cox, against 20 mg/kg QW-Q2W; in the row of 10 mg/kg, as printed, of 20 against 10 mg/kg); mode
    "held" (each patient keeps its individual parameters, as the authors did) or "fresh" (drawn anew from the
    population in every trial, covariates and pharmacokinetics kept); simulated, p5, p95: median and percentiles
    over trials; published, published_p5, published_p95 (NaN where not printed).

    As in the publication the hazard's covariate dexamethasone is off where dexamethasone stops after 3 or 6 months.
    No constant is tuned: what differs from the publication is who the patients are (`bayes_isa.data.population`),
    their individual parameters, and the constants of dexamethasone's kinetics, none of which are public.

    Raises what `simulate_trials` raises, and DataError when the fitted patients have no column japanese_study.
    """
    if fit is None:
        fit = fit_at_truth(load_example_truth(_EXAMPLE))
        trial, spec = load_example(_EXAMPLE), ModelSpec()
    else:
        trial, spec = fitted_data(fit, None, None)
    populations = _populations(trial)
    rows = []
    for number, (mode, population) in enumerate(_MODES.items()):
        told = None if progress is None else partial(_tell, progress, number * n_trials, 2 * n_trials)
        sims = simulate_trials(
            fit,
            SIMULATED_ARMS,
            n_trials=n_trials,
            seed=seed,
            population=population,
            dexamethasone_hazard=_HAZARD_OFF,
            trial=trial,
            spec=spec,
            allow_unconverged=allow_unconverged,
            progress=told,
        )
        for name, members in populations.items():
            rows += _rows(trial_data(sims).isel(patient=members), name, mode)
    return pd.DataFrame(rows)


def _tell(progress: Callable[[int, int], None], before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


def _populations(trial: Trial) -> dict[str, np.ndarray]:
    """Positions of the patients of either population."""
    if "japanese_study" not in trial.patients:
        remedy = "The publication reports Japanese patients apart; fit to data that say who they are"
        raise DataError(
            "The trials cannot be reproduced", [Problem("there is no column 'japanese_study'", remedy)]
        )
    japanese = trial.patients["japanese_study"].to_numpy(dtype=float) == 1.0
    return {"all": np.arange(trial.n_patients), "japanese": np.flatnonzero(japanese)}


def _rows(sims: xr.Dataset, population: str, mode: str) -> list[dict[str, object]]:
    wanted = [printed for printed in PUBLISHED_RESULTS if printed.population == population]
    if not (wanted and sims.sizes["patient"]):
        return []
    values = endpoints(sims, list(_ENDPOINT.values()), reference=STANDARD)
    against_low = endpoints(sims.sel(regimen=[LOW, STANDARD]), ["hazard_ratio"], reference=LOW)[
        "hazard_ratio"
    ]
    rows = []
    for printed in wanted:
        simulated = values[_ENDPOINT[printed.quantity]].sel(regimen=printed.regimen)
        if printed.quantity == RATIO and printed.regimen == LOW:
            simulated = against_low.sel(regimen=STANDARD)
        fall = -1.0 if printed.quantity == WEEK_8 else 1.0
        low, middle, high = np.quantile(fall * simulated.to_numpy(), [0.05, 0.5, 0.95], method="inverted_cdf")
        rows.append(
            {
                "population": population,
                "regimen": printed.regimen,
                "quantity": printed.quantity,
                "mode": mode,
                "simulated": float(middle),
                "p5": float(low),
                "p95": float(high),
                "published": printed.value,
                "published_p5": np.nan if printed.p5 is None else printed.p5,
                "published_p95": np.nan if printed.p95 is None else printed.p95,
            }
        )
    return rows
