"""`response_summary`: shares of patients by best response, and how deep each regimen's responses go."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.simulation.mprotein_endpoints import best_response
from bayes_isa.simulation.response import CATEGORIES
from bayes_isa.simulation.trials import Sims, trial_blocks, trial_data

_POINTS = 101  # percentages of patients at which the best change is given


def response_summary(sims: Sims, *, level: float = 0.9) -> xr.Dataset:
    """Best response by serum M-protein, summed up over simulated trials.

    Rules of response: `bayes_isa.simulation.response`. Visits until PFS count, by the model's M-protein without
    residual error. level: of the central intervals over trials.

    Returns a Dataset: `share_median`, `share_low`, `share_high` (regimen, category) in % of all patients, categories
    from VGPR to NE (not evaluable); `best_change_median`, `best_change_low`, `best_change_high` (regimen, patients):
    the largest fall (or least rise) of M-protein from baseline in %, sorted over the evaluable patients of each trial
    from the largest rise on, coordinate `patients` in %; `not_evaluable` (regimen): median % of patients without a
    visit after baseline, left out of the sorted changes. attrs "level", "n_trials", "n_patients". Raises ModelError for
    anything but simulated trials.
    """
    if not 0.0 < level < 1.0:
        raise ModelError(f"level: expected a probability between 0 and 1, found {level!r}")
    root = trial_data(sims, "pfs_day", "event", "m_protein")
    shares, changes, lacking = [], [], []
    percent = np.linspace(0.0, 100.0, _POINTS)
    for block in trial_blocks(sims):
        best = best_response(block)["best_response"].to_numpy()
        codes = np.arange(len(CATEGORIES))[::-1]
        shares.append(100.0 * (best[..., None] == codes).mean(axis=2))
        change = _best_change(trial_data(block))
        lacking.append(100.0 * np.isnan(change).mean(axis=-1))
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "All-NaN slice", RuntimeWarning
            )  # nobody evaluable: NaN says so
            changes.append(np.moveaxis(np.nanpercentile(change, 100.0 - percent, axis=-1), 0, -1))
    ends = [(1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0]
    share = np.quantile(np.concatenate(shares), ends, axis=0)
    best_change = np.nanquantile(np.concatenate(changes), ends, axis=0)
    units = {"units": "%"}
    bounds = ("low", "median", "high")
    return xr.Dataset(
        {f"share_{name}": (("regimen", "category"), share[n], units) for n, name in enumerate(bounds)}
        | {
            f"best_change_{name}": (("regimen", "patients"), best_change[n], units)
            for n, name in enumerate(bounds)
        }
        | {"not_evaluable": ("regimen", np.median(np.concatenate(lacking), axis=0), units)},
        coords={
            "regimen": root["regimen"].to_numpy(),
            "category": np.array(CATEGORIES[::-1], dtype=object),
            "patients": ("patients", percent, units),
        },
        attrs={"level": level, "n_trials": root.sizes["trial"], "n_patients": root.sizes["patient"]},
    )


def _best_change(root: xr.Dataset) -> np.ndarray:
    """Least M-protein after baseline, until PFS, against baseline, % (trial, regimen, patient); NaN without visits."""
    m = root["m_protein"].to_numpy().astype(float)
    seen = root["visit_day"].to_numpy() <= root["pfs_day"].to_numpy()[..., None]
    after = np.where(seen, m, np.inf)[..., 1:].min(axis=-1)
    change = 100.0 * (after / m[..., 0] - 1.0)
    return np.where(np.isfinite(change), change, np.nan)
