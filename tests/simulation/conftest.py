"""A small fitted trial: posteriors of a few draws around the truth of a virtual trial of 24 patients."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayes_isa.model.spec import ModelSpec
from bayes_isa.simulation.parameters import fit_at_truth
from bayes_isa.simulation.simulate import simulate_trials
from bayes_isa.simulation.virtual_trial import draw_virtual_trial

ISA = "20 mg/kg QW-Q2W"
LOW = "10 mg/kg QW-Q2W"
DEX = "20 mg/kg QW-Q2W + dex"


@pytest.fixture(scope="session")
def small():
    return draw_virtual_trial(24, seed=4, name="small")


@pytest.fixture(scope="session")
def fit(small) -> xr.DataTree:
    """Two chains of three draws: the truth, each number off by a few per cent."""
    single = fit_at_truth(small.truth)["posterior"].to_dataset()
    rng = np.random.default_rng(0)
    wide = single.isel(chain=[0, 0], draw=[0, 0, 0]).assign_coords(chain=[0, 1], draw=[0, 1, 2])
    for name, values in wide.items():
        wide[name] = values * (1.0 + 0.03 * rng.standard_normal(values.shape))
    return xr.DataTree.from_dict({"posterior": wide})


@pytest.fixture(scope="session")
def run(small, fit):
    """`simulate_trials` on the small fit, with defaults that are quick."""

    def simulate(regimens, **options):
        given = {"n_trials": 6, "seed": 1, "horizon_day": 500.0, "trial": small.trial, "spec": ModelSpec()}
        return simulate_trials(options.pop("fit", fit), regimens, **(given | options))

    return simulate


@pytest.fixture(scope="session")
def sims(run) -> xr.Dataset:
    return run([LOW, ISA, DEX])
