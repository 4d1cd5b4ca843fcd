"""`fit`: wrong settings and a sampler that cannot start are the user's to mend, so they are named."""

from __future__ import annotations

import pymc as pm
import pytensor.tensor as pt
import pytest

from bayes_isa.errors import ModelError
from bayes_isa.inference.fit import fit


def test_a_model_without_a_starting_point_is_named() -> None:
    with pm.Model() as model:
        x = pm.Normal("x")
        pm.Potential("impossible", pt.log(-1.0 - pt.abs(x)))
    with pytest.raises(ModelError, match="no starting point") as caught:
        fit(model, draws=5, tune=5, chains=1, seed=1, progressbar=False)
    assert "backtrace" not in str(caught.value)


def test_all_wrong_settings_are_named() -> None:
    with pytest.raises(ModelError) as caught:
        fit(pm.Model(), draws=0, tune=-1, chains=2, target_accept=1.5)
    message = str(caught.value)
    assert all(name in message for name in ("draws", "tune", "target_accept"))
