"""A run goes on only as itself; what differs is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.inference.same_run import require_same_run

ATTRS = {
    "priors": json.dumps({"parameters": {"KL_pop": {"mu": -5.0}, "R_pop": {"mu": -4.0}}}),
    "spec": json.dumps({"link": "slope", "covariates": {"M0": ["igg"]}}),
    "seed": 1,
    "chains": 4,
    "tune": 500,
    "target_accept": 0.9,
    "sampler": "nutpie",
    "options": "{}",
    "bayes_isa": "0.1.0",
    "draws": 1000,
    "numpy": "2.1.0",
}


def run(table: str = "id,day\n1,2\n", **attrs: object) -> xr.DataTree:
    tree = xr.DataTree.from_dict({"trial": xr.Dataset({"pfs": ((), table)})})
    tree.attrs = {**ATTRS, **attrs}
    return tree


def test_the_same_run_with_more_draws_passes(tmp_path: Path) -> None:
    require_same_run(run(seed=np.int64(1)), run(draws=2000, numpy="2.2.0"), tmp_path)


@pytest.mark.parametrize(
    ("asked", "fragment"),
    [
        (run(seed=2), "seed was 1, now 2"),
        (run(chains=2), "chains was 4, now 2"),
        (run(target_accept=0.95), "target_accept was 0.9, now 0.95"),
        (run(bayes_isa="0.2.0"), "version of bayes_isa was '0.1.0', now '0.2.0'"),
        (run(spec=ATTRS["spec"].replace("slope", "value")), "spec: link was 'slope', now 'value'"),
        (
            run(priors=ATTRS["priors"].replace("-5.0", "-4.5")),
            "priors: parameters.KL_pop.mu was -5.0, now -4.5",
        ),
        (run("id,day\n1,3\n"), "the data are not the same"),
    ],
)
def test_what_differs_is_named(asked: xr.DataTree, fragment: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        require_same_run(run(), asked, tmp_path)
    assert fragment in str(caught.value)
    assert "; " not in str(caught.value)


def test_all_differences_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the data.*seed was 1, now 2; tune was 500, now 100"):
        require_same_run(run(), run("other", seed=2, tune=100), tmp_path)
