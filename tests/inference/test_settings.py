"""What settings leave to the model."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest

import bayes_isa as bi
from bayes_isa.inference.fit import for_model
from bayes_isa.inference.settings import TARGET_ACCEPT, SamplerSettings, default_target_accept


@pytest.mark.parametrize("n_patients", [None, 201, 5000])
def test_no_trial_is_accepted_less_than_the_built_in_one(n_patients: int | None) -> None:
    assert default_target_accept(n_patients) == TARGET_ACCEPT


def test_steps_are_as_long_in_smaller_trials() -> None:
    """What is rejected goes with the root of the number of patients (Beskos et al. 2013)."""
    rejected = [1.0 - default_target_accept(n) for n in (201, 100, 50, 25, 5)]
    expected = 0.1 * np.sqrt(np.array([201, 100, 50, 25, 5]) / 201)
    np.testing.assert_allclose(rejected, expected, atol=5e-4)


def test_the_model_decides_only_what_was_left_open() -> None:
    model = bi.build_model(bi.draw_virtual_trial(12, seed=3).trial, spec=bi.ModelSpec(covariates={}))
    assert for_model(SamplerSettings(), model).target_accept == default_target_accept(12)
    assert for_model(SamplerSettings(target_accept=0.8), model).target_accept == 0.8
    assert for_model(SamplerSettings(), pm.Model()).target_accept == TARGET_ACCEPT


def test_a_seed_is_drawn_where_none_is_given() -> None:
    assert SamplerSettings(seed=7).for_patients(None).seed == 7
    drawn = {SamplerSettings().for_patients(None).seed for _ in range(3)}
    assert None not in drawn
    assert len(drawn) == 3
