"""Individual fits: the model's own curve, bands that hold what they say, measurements of the right patients."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayes_isa.errors import DataError, ModelError
from bayes_isa.kernels.evaluate import evaluate_terms
from bayes_isa.model.joint_data import prepare
from bayes_isa.model.patient_terms import kernel_parameters
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.individual_fits import individual_fits
from tests.prediction.estimates import scattered


@pytest.fixture(scope="module")
def many(virtual, at_truth) -> xr.Dataset:
    """400 draws, all the truth: nothing but residual error differs."""
    same = scattered(at_truth, 200, relative=0.0, seed=1)
    return individual_fits(same, n_draws=400, trial=virtual.trial, spec=ModelSpec())


def test_the_curve_is_that_of_the_likelihood(virtual, at_truth, many: xr.Dataset) -> None:
    fits = many
    data = prepare(virtual.trial, ModelSpec())
    truth = at_truth["posterior"].to_dataset().isel(chain=0, draw=0)
    m = np.exp(evaluate_terms(data.panels, data.shape, kernel_parameters(data, truth)).log_m)
    last = np.cumsum(virtual.trial.mprotein.groupby("id", sort=False).size()) - 1
    at_end = virtual.trial.mprotein["day"].to_numpy()[last] == virtual.trial.last_day
    np.testing.assert_allclose(
        fits["median"].isel(point=-1).to_numpy()[at_end], m[last.to_numpy()][at_end], rtol=5e-3
    )
    np.testing.assert_allclose(fits["low"], fits["high"])


def test_predictive_bands_hold_their_share_of_measurements(many: xr.Dataset) -> None:
    fits = many
    inside = []
    for i, patient in enumerate(fits["patient"].to_numpy()):
        rows = fits["measurement_patient"].to_numpy() == patient
        rows &= ~fits["below_lloq"].to_numpy()
        day = fits["measurement_day"].to_numpy()[rows]
        low, high = (
            np.interp(day, fits["day"][i], fits[name][i]) for name in ("predictive_low", "predictive_high")
        )
        value = fits["m_protein"].to_numpy()[rows]
        inside.extend((low < value) & (value < high))
    assert np.mean(inside) == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / len(inside)) + 0.01)


def test_patients_can_be_chosen_in_any_order(virtual, at_truth) -> None:
    ids = list(virtual.trial.patients.index[[7, 3]])
    fits = individual_fits(at_truth, ids, trial=virtual.trial, spec=ModelSpec())
    assert list(fits["patient"].to_numpy()) == ids
    assert set(fits["measurement_patient"].to_numpy()) == set(ids)
    assert fits["median"].attrs["units"] == "g/L"
    with pytest.raises(DataError, match="no such patient"):
        individual_fits(at_truth, ["nobody"], trial=virtual.trial, spec=ModelSpec())
    with pytest.raises(ModelError, match="level"):
        individual_fits(at_truth, ids, level=0.0, trial=virtual.trial, spec=ModelSpec())
