"""Simulated patients bring the imputed covariates of the posterior draw they are simulated at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.data.covariates import design_matrix
from bayes_isa.errors import DataError
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.replicates import replicate_trial
from bayes_isa.simulation.parameters import fit_at_truth, posterior_draws
from bayes_isa.simulation.pool import make_pool, trial_individuals
from bayes_isa.simulation.simulate import simulate_trials
from bayes_isa.simulation.virtual_trial import VirtualTrial, draw_virtual_trial

EFFECTS = {"M0": {"log_albumin": -1.83}, "KD": {"log_baseline_m": -0.56}, "hazard": {"log_albumin": -2.0}}
COVARIATES = {target: tuple(own) for target, own in EFFECTS.items()}
SPEC = ModelSpec(covariates=COVARIATES, missing_covariates="impute")
REGIMEN = "20 mg/kg QW-Q2W"


@pytest.fixture(scope="module")
def virtual() -> VirtualTrial:
    return draw_virtual_trial(11, seed=4, effects=EFFECTS)


@pytest.fixture(scope="module")
def trial(virtual: VirtualTrial) -> Trial:
    """Without the two lowest and the two highest values of albumin: the median is the same."""
    patients = virtual.trial.patients.copy()
    ids = patients["albumin_g_per_l"].sort_values().index
    patients.loc[[*ids[:2], *ids[-2:]], "albumin_g_per_l"] = np.nan
    return replace(virtual.trial, patients=patients)


def fit_with(virtual: VirtualTrial, trial: Trial, shift: float) -> xr.DataTree:
    """Two draws at the truth; imputed values are the true ones, in the second draw `shift` more."""
    truth = fit_at_truth(virtual.truth)["posterior"].to_dataset()
    two = truth.isel(draw=[0, 0]).assign_coords(draw=[0, 1])
    without = list(trial.patients.index[trial.patients["albumin_g_per_l"].isna()])
    coded = design_matrix(virtual.trial, ["log_albumin"]).sel(patient=without).to_numpy()[:, 0]
    two = two.assign_coords(patient_without_log_albumin=without)
    values = np.stack([coded, coded + shift])[None]
    two["imputed_log_albumin"] = (("chain", "draw", "patient_without_log_albumin"), values)
    return xr.DataTree.from_dict({"posterior": two})


def complete_fit(virtual: VirtualTrial) -> xr.DataTree:
    truth = fit_at_truth(virtual.truth)["posterior"].to_dataset()
    return xr.DataTree.from_dict({"posterior": truth.isel(draw=[0, 0]).assign_coords(draw=[0, 1])})


@pytest.mark.parametrize("population", ["fitted", "resampled", "redrawn", "new"])
def test_with_the_true_values_imputed_nothing_changes(
    virtual: VirtualTrial, trial: Trial, population: str
) -> None:
    options = {"n_trials": 3, "seed": 1, "horizon_day": 300.0, "population": population}
    given = simulate_trials(
        complete_fit(virtual),
        [REGIMEN],
        trial=virtual.trial,
        spec=ModelSpec(covariates=COVARIATES),
        **options,
    )
    imputed = simulate_trials(fit_with(virtual, trial, 0.0), [REGIMEN], trial=trial, spec=SPEC, **options)
    for name in ("pfs_day", "event", "m_protein"):
        np.testing.assert_allclose(imputed[name].to_numpy(), given[name].to_numpy(), rtol=1e-6)


@pytest.mark.parametrize("population", ["fitted", "resampled", "redrawn", "new"])
def test_a_patient_brings_the_value_of_the_draw(virtual: VirtualTrial, trial: Trial, population: str) -> None:
    draws = posterior_draws(fit_with(virtual, trial, 0.7))
    pool = make_pool(population, None, trial, SPEC, draws, np.random.default_rng(0))
    lacking = trial.patients["albumin_g_per_l"].isna().to_numpy()
    found = [
        trial_individuals(position, draws.at(position), pool, draws, np.random.default_rng(1))
        for position in (0, 1)
    ]
    (chosen, phi, codings, _), (again, moved, codings_moved, _) = found
    np.testing.assert_array_equal(chosen, again)
    for target in ("M0", "hazard"):
        change = codings_moved[target].matrix[:, 0] - codings[target].matrix[:, 0]
        np.testing.assert_allclose(change, np.where(lacking[chosen], 0.7, 0.0), atol=1e-12)
    drawn_anew = population in ("redrawn", "new")
    expected = np.where(lacking[chosen], -1.83 * 0.7, 0.0) if drawn_anew else np.zeros(chosen.size)
    np.testing.assert_allclose(moved[:, 0] - phi[:, 0], expected, atol=1e-12)


@pytest.mark.parametrize("individuals", ["new", "own"])
def test_replicates_of_the_trial_take_them_too(virtual: VirtualTrial, trial: Trial, individuals: str) -> None:
    options = {"n_replicates": 4, "seed": 3, "individuals": individuals}
    given = replicate_trial(
        complete_fit(virtual), trial=virtual.trial, spec=ModelSpec(covariates=COVARIATES), **options
    )
    same = replicate_trial(fit_with(virtual, trial, 0.0), trial=trial, spec=SPEC, **options)
    np.testing.assert_allclose(same["pfs_day"], given["pfs_day"], rtol=1e-6)
    other = replicate_trial(fit_with(virtual, trial, 0.7), trial=trial, spec=SPEC, **options)
    lacking = trial.patients["albumin_g_per_l"].isna().to_numpy()
    assert (other["pfs_day"].to_numpy()[:, lacking] != given["pfs_day"].to_numpy()[:, lacking]).any()


def test_other_patients_must_have_their_covariates(virtual: VirtualTrial, trial: Trial) -> None:
    table = virtual.trial.patients.copy()
    table.loc["001", "albumin_g_per_l"] = np.nan
    fit = fit_with(virtual, trial, 0.0)
    with pytest.raises(DataError, match=r"001.*albumin_g_per_l is missing"):
        simulate_trials(fit, [REGIMEN], n_trials=1, seed=1, population=table, trial=trial, spec=SPEC)


def test_a_fit_without_imputed_values_is_refused(virtual: VirtualTrial, trial: Trial) -> None:
    with pytest.raises(DataError, match="albumin_g_per_l is missing"):
        simulate_trials(complete_fit(virtual), [REGIMEN], n_trials=1, seed=1, trial=trial, spec=SPEC)
