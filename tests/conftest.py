"""What tests of several parts share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

os.environ["BAYES_ISA_CACHE"] = "off"  # a test is of this code, not of what another process found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Notebooks first: they take minutes, in which the other workers would have nothing left to do."""
    items.sort(key=lambda item: item.path.parent.name != "notebooks")


@pytest.fixture(scope="session")
def sampled_near_the_truth() -> Callable[..., xr.DataTree]:
    """Makes a fit as `bayes_isa.fit` returns it, of independent draws around the true parameters."""
    import bayes_isa as bi
    from bayes_isa.data import Trial
    from bayes_isa.data.truth import Truth
    from bayes_isa.inference.storage import FORMAT, trial_dataset
    from bayes_isa.simulation.parameters import fit_at_truth

    def make(trial: Trial, truth_of: Truth, n_draws: int = 300) -> xr.DataTree:
        rng = np.random.default_rng(1)
        truth = fit_at_truth(truth_of)["posterior"].to_dataset()
        n_chains = 4
        posterior = truth.isel(chain=[0] * n_chains, draw=[0] * n_draws)
        posterior = posterior.assign_coords(chain=range(n_chains), draw=range(n_draws))
        posterior = posterior.map(lambda values: values * (1.0 + 0.01 * rng.normal(size=values.shape)))
        stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros((n_chains, n_draws), dtype=bool))})
        groups = {"posterior": posterior, "sample_stats": stats, "trial": trial_dataset(trial)}
        fit = xr.DataTree.from_dict(groups)
        spec = json.dumps(bi.ModelSpec().to_dict())
        priors = json.dumps(bi.load_priors("weakly_informative").to_dict())
        fit.attrs = {"bayes_isa_format": FORMAT, "spec": spec, "priors": priors, "seed": 1}
        return fit

    return make
