"""The joint model's calibration: what is drawn and ranked, code compiled once; and, slow, the calibration."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import bayes_isa as bi
from bayes_isa.errors import ModelError
from bayes_isa.inference.reuse import CompiledForm
from bayes_isa.model.joint_data import prepare
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.calibrate import JointExperiment, calibrate, calibration_priors
from bayes_isa.prediction.calibration_quantities import HAZARD_RATIO, Quantities
from bayes_isa.simulation.parameters import fit_at_truth
from bayes_isa.simulation.virtual_trial import draw_virtual_trial

_N = 24


def _drawn(number: int, n: int = _N, **options: Any) -> Any:
    experiment = JointExperiment(calibration_priors().to_dict(), ModelSpec().to_dict(), n, 1, **options)
    return experiment.start().draw(number)[0]


def test_trials_differ_and_carry_every_covariate():
    first, second = _drawn(0), _drawn(1)
    assert _drawn(0).trial.pfs.equals(first.trial.pfs)
    assert first.truth.parameters["KL_pop"] != second.truth.parameters["KL_pop"]
    assert _drawn(0, earliest_day=10.0).trial.pfs["day"].min() >= 10.0
    for virtual in (first, second):
        data = prepare(virtual.trial, ModelSpec())
        assert not data.left_out
        assert data.has_dexamethasone


def test_too_few_patients_for_the_covariates(tmp_path):
    experiment = JointExperiment(calibration_priors().to_dict(), ModelSpec().to_dict(), 2, 1)
    with pytest.raises(ModelError, match="take more patients"):
        experiment.start()(0)


def test_quantities_at_the_truth():
    """Against `log_likelihood`, and the hazard ratio against the closed form under constant exposure."""
    virtual = draw_virtual_trial(_N, seed=2)
    posterior = fit_at_truth(virtual.truth)["posterior"].to_dataset()
    draws = posterior.isel(chain=0).rename(draw="sample").drop_vars(["chain", "sample"])
    found = Quantities().of(prepare(virtual.trial, ModelSpec()), draws)
    truth = virtual.truth.parameters
    assert len(found) == 25 + 5 + 3 + 1
    assert found["beta_M0[log_albumin]"] == [truth["beta_M0"]["log_albumin"]]
    assert found["phi[0, KL]"] == [virtual.truth.individual["log_KL"].iloc[0]]
    terms = bi.log_likelihood(virtual.trial, posterior, ModelSpec())
    np.testing.assert_allclose(found["log_likelihood"], terms["patient_total"].sum("patient").squeeze())
    np.testing.assert_allclose(found["log_likelihood_pfs"], terms["pfs"].sum("patient").squeeze())

    def slope(concentration: float, day: float = 56.0) -> float:
        effect = concentration / (concentration + truth["EC50_pop"])
        left = np.exp(-truth["R_pop"] * day)
        kill = truth["KD_pop"] * effect
        log_m = np.log(truth["M0_pop"]) + truth["KL_pop"] * day - kill * (1.0 - left) / truth["R_pop"]
        return np.exp(log_m) * (truth["KL_pop"] - kill * left)

    expected = truth["beta_link"] * (slope(300.0) - slope(100.0))
    np.testing.assert_allclose(found[HAZARD_RATIO], expected, rtol=1e-5)


def test_priors_are_wider_than_the_published():
    narrow, wide = bi.load_priors("published_2023"), calibration_priors()
    for name, prior in wide.parameters.items():
        if name in ("nu", "correlation"):  # of other models than the published one: not widened
            assert prior == narrow.parameters[name]
            continue
        assert prior.kwargs["median"] == narrow.parameters[name].kwargs["median"]
        assert prior.kwargs["sigma"] > 1.9 * narrow.parameters[name].kwargs["sigma"]
    assert wide.link("slope").support()[0] == 0.0


def _log_density(compiled: Any, x: np.ndarray) -> float:
    """Of the code that nutpie calls, with the data it would hand over."""
    gradient, value = np.empty_like(x), np.empty(())
    double = ctypes.POINTER(ctypes.c_double)
    pointers = [a.ctypes.data_as(double) for a in (x, gradient, value)]
    assert compiled.compiled_logp_func.ctypes(x.size, *pointers, compiled.user_data.ctypes.data) == 0
    return float(value)


@pytest.mark.slow
def test_compiled_code_serves_another_trial():
    """The same log-density as code compiled for that trial, though measurements and panels are others in number."""
    models = [bi.build_model(_drawn(number).trial, calibration_priors()) for number in (0, 1)]
    forms = [CompiledForm.of(model) for model in models]
    reused, own = forms[0].with_data_of(models[1]), forms[1].with_data_of(models[1])
    for seed in range(3):
        x = reused.initial_point_func(seed)
        # Both starts are the same natural point; their coordinates of KD are relative to different references.
        y = own.initial_point_func(seed)
        assert _log_density(reused, x) == pytest.approx(_log_density(own, y), rel=1e-10)
    assert forms[0].transforms["KD_pop"].reference != forms[1].transforms["KD_pop"].reference
    other = bi.build_model(_drawn(0, 30).trial, calibration_priors())
    with pytest.raises(ModelError, match="compile it anew"):
        forms[0].with_data_of(other)


@pytest.mark.slow
def test_the_joint_model_is_calibrated(tmp_path):
    """A right inference fails once in a hundred seeds; the seed is fixed. BAYES_ISA_CALIBRATION continues a run."""
    out = Path(os.environ.get("BAYES_ISA_CALIBRATION", tmp_path))
    found: xr.DataTree = calibrate(200, out=out, processes=os.cpu_count() or 1)
    assert len(found.attrs["failed"]) <= 4
    assert float(np.mean(found["min_ess"] >= 99.0)) >= 0.97
    tests = found["uniformity"].to_dataset()
    assert (tests["p_adjusted"] > 0.01).all(), tests["p_adjusted"].to_series().sort_values().head()
