"""Coordinates change the speed of sampling and nothing else: `-m slow`, a quarter of an hour."""

from __future__ import annotations

import arviz as az
import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

import bayes_isa as bi
from bayes_isa.simulation.virtual_trial import draw_virtual_trial

pytestmark = pytest.mark.slow

COORDINATES = ("response", "mixed", "noncentered", "centered")
COVARIATES = {"KL": ("not_lenalidomide_refractory",), "hazard": ("plasmacytoma",)}


@pytest.fixture(scope="module")
def fits() -> dict[str, xr.Dataset]:
    trial = draw_virtual_trial(24, seed=11).trial
    found = {}
    for coordinates in COORDINATES:
        spec = bi.ModelSpec(coordinates=coordinates, covariates=COVARIATES)
        # The prior that says most: textbook coordinates hardly mix under a vaguer one.
        model = bi.build_model(trial, "published_2023", spec)
        draws = 1000 if coordinates == "response" else 4000
        fit = bi.fit(model, seed=5, draws=draws, tune=1000, target_accept=0.95, progressbar=False)
        found[coordinates] = fit["posterior"].to_dataset()
    return found


@pytest.mark.parametrize("other", COORDINATES[1:])
def test_posterior_means_agree(fits: dict[str, xr.Dataset], other: str) -> None:
    """Of all population parameters, within Monte-Carlo error: z-scores, one failure in a thousand over all of them."""
    names = [name for name, values in fits["response"].data_vars.items() if "patient" not in values.dims]
    z = []
    for name in names:
        means = [fits[which][name].mean(("chain", "draw")).to_numpy() for which in ("response", other)]
        errors = [az.mcse(fits[which][name]).to_numpy() for which in ("response", other)]
        z.append(np.ravel((means[0] - means[1]) / np.hypot(*errors)))
    worst = np.abs(np.concatenate(z)).max()
    assert worst < norm.isf(0.5e-3 / np.concatenate(z).size)
