"""Replicates: same design, dropout by the model's own progression, observed beside simulated."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.replicates import replicate_trial


def test_shapes_units_and_dropout_by_construction(replicates: xr.Dataset, virtual) -> None:
    assert replicates.sizes["patient"] == virtual.trial.n_patients
    assert replicates["m_protein"].attrs["units"] == "g/L"
    assert replicates["pfs_day"].attrs["units"] == "day"
    end = replicates["pfs_day"].sel(patient=replicates["visit_patient"]).to_numpy()
    event = replicates["event"].sel(patient=replicates["visit_patient"]).to_numpy()
    day, on = replicates["visit_day"].to_numpy(), replicates["on_study"].to_numpy()
    np.testing.assert_array_equal(on, np.where(event, day < end, day <= end))
    value, lloq = replicates["m_protein"].to_numpy(), replicates["lloq"].to_numpy()
    assert (value >= lloq).all()
    np.testing.assert_array_equal(value == lloq, replicates["below_lloq"].to_numpy() | (value == lloq))


def test_what_was_observed_is_beside_it(replicates: xr.Dataset, virtual) -> None:
    rows, pfs = virtual.trial.mprotein, virtual.trial.pfs
    seen = replicates["observed_on_study"].to_numpy()
    end = rows["id"].map(pfs["day"])
    before = (rows["day"] < end) | (~rows["id"].map(pfs["event"]) & (rows["day"] <= end))
    np.testing.assert_array_equal(
        replicates["observed_m_protein"].to_numpy()[seen], rows.loc[before, "value_g_per_l"].to_numpy()
    )
    assert replicates["observed_below_lloq"].sum() == rows.loc[before, "below_lloq"].sum()
    np.testing.assert_array_equal(replicates["observed_pfs_day"], pfs["day"])


def test_nobody_is_followed_beyond_the_own_follow_up(replicates: xr.Dataset, virtual) -> None:
    pfs = virtual.trial.pfs
    censored = ~pfs["event"].to_numpy()
    day = replicates["pfs_day"].to_numpy()
    assert (day[:, censored] <= pfs["day"].to_numpy()[censored]).all()
    assert (day <= pfs["day"].max()).all()
    ended = replicates["event"].to_numpy()[:, censored]
    assert (day[:, censored][~ended] == np.broadcast_to(pfs["day"][censored], ended.shape)[~ended]).all()


def test_replicates_agree_with_the_simulator_of_virtual_trials(
    virtual, at_truth, replicates: xr.Dataset
) -> None:
    """An independent implementation of the same model: PFS at 6 months of fresh virtual trials of the same size.

    Patients differ between virtual trials but not between replicates, so only the averages agree.
    """
    from bayes_isa.prediction.kaplan_meier import kaplan_meier
    from bayes_isa.simulation.virtual_trial import draw_virtual_trial

    at = np.array([84.0, 182.0])
    own = kaplan_meier(replicates["pfs_day"].to_numpy(), replicates["event"].to_numpy(), at)
    others = []
    for seed in range(40, 45):
        pfs = draw_virtual_trial(60, seed=seed).trial.pfs
        others.append(kaplan_meier(pfs["day"].to_numpy()[None], pfs["event"].to_numpy()[None], at)[0])
    # Standard errors: of five trials of 60 about 0.03; of replicates, for their own 36 patients' covariates, 0.03.
    np.testing.assert_allclose(own.mean(axis=0), np.mean(others, axis=0), atol=3 * 0.045)


def test_own_individuals_stay_with_their_data(virtual, at_truth) -> None:
    own = replicate_trial(
        at_truth, n_replicates=20, seed=3, individuals="own", trial=virtual.trial, spec=ModelSpec()
    )
    seen = own["observed_on_study"].to_numpy() & ~own["observed_below_lloq"].to_numpy()
    mean = own["m_protein"].to_numpy()[:, seen].mean(axis=0)
    sd = np.hypot(0.477, 0.0721 * mean)
    z = (own["observed_m_protein"].to_numpy()[seen] - mean) / (sd * np.sqrt(1 + 1 / 20))
    assert z.std() == pytest.approx(1.0, abs=0.15)


def test_same_seed_same_replicates(virtual, at_truth) -> None:
    def run(seed: int) -> xr.Dataset:
        return replicate_trial(at_truth, n_replicates=3, seed=seed, trial=virtual.trial, spec=ModelSpec())

    xr.testing.assert_identical(run(5), run(5))
    assert not np.allclose(run(5)["pfs_day"], run(6)["pfs_day"])


def test_what_cannot_be_simulated_is_refused(virtual, at_truth) -> None:
    options = {"seed": 1, "trial": virtual.trial, "spec": ModelSpec()}
    with pytest.raises(ModelError, match="individuals"):
        replicate_trial(at_truth, individuals="old", **options)
    broken = at_truth["posterior"].to_dataset().copy(deep=True)
    broken["KL_pop"] = broken["KL_pop"] * np.nan
    with pytest.raises(ModelError, match=r"not finite: KL_pop \(1\)"):
        replicate_trial(xr.DataTree.from_dict({"posterior": broken}), **options)
