"""A virtual trial with its fit at the truth, and replicates of it."""

from __future__ import annotations

import pytest
import xarray as xr

from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.replicates import replicate_trial
from bayes_isa.simulation.parameters import fit_at_truth
from bayes_isa.simulation.virtual_trial import VirtualTrial, draw_virtual_trial


@pytest.fixture(scope="session")
def virtual() -> VirtualTrial:
    return draw_virtual_trial(36, seed=2)


@pytest.fixture(scope="session")
def at_truth(virtual: VirtualTrial) -> xr.DataTree:
    return fit_at_truth(virtual.truth)


@pytest.fixture(scope="session")
def replicates(virtual: VirtualTrial, at_truth: xr.DataTree) -> xr.Dataset:
    return replicate_trial(at_truth, n_replicates=99, seed=1, trial=virtual.trial, spec=ModelSpec())
