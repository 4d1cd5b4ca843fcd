"""Whom trials are made of, and which uncertainties differ between them."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from bayes_isa.errors import ConvergenceError, ModelError
from bayes_isa.simulation.parameters import posterior_draws
from bayes_isa.simulation.pfs_endpoints import marginal_hazard_ratio
from bayes_isa.simulation.study import SOURCES

ISA, LOW = "20 mg/kg QW-Q2W", "10 mg/kg QW-Q2W"
SUBSETS = [set(c) for n in range(4) for c in itertools.combinations(SOURCES, n)]


def _differs(values):
    """Whether trials differ."""
    return bool((np.ptp(values.astype(float), axis=0) > 0).any())


@pytest.mark.parametrize("population", ["fitted", "resampled", "redrawn", "new"])
@pytest.mark.parametrize("vary", SUBSETS, ids=lambda s: "+".join(sorted(s)) or "nothing")
def test_only_what_varies_differs_between_trials(run, population, vary):
    sims = run([ISA], population=population, vary=vary, n_trials=3, horizon_day=100.0)
    changes_curves = "parameters" in vary or ("patients" in vary and population != "fitted")
    assert _differs(sims["m_protein"].to_numpy()) == changes_curves
    assert _differs(sims["marginal"]["survival"].to_numpy()) == changes_curves
    assert _differs(sims["pfs_day"].to_numpy()) == (changes_curves or "events" in vary)
    assert (len(set(zip(sims["chain"].to_numpy(), sims["draw"].to_numpy(), strict=True))) > 1) == (
        "parameters" in vary
    )
    if population in ("resampled", "new"):
        assert _differs(_numbers(sims["source_patient"])) == ("patients" in vary)
    assert sims.attrs["vary"] == ", ".join(name for name in SOURCES if name in vary)


def _numbers(ids):
    return ids.to_numpy().astype(int)


def test_held_parameters_are_the_posterior_mean(fit, run):
    sims = run([ISA], vary=["events"], n_trials=2)
    assert sims["chain"].to_numpy().tolist() == [-1, -1]
    phi = fit["posterior"]["phi"].mean(("chain", "draw"))
    m0 = sims["m_protein"].isel(trial=0, regimen=0, visit=0)
    np.testing.assert_allclose(np.log(m0), phi.sel(parameter="M0"), rtol=1e-6)
    mean = posterior_draws(fit).mean().at(0)
    te = fit["posterior"]["Te"].to_numpy()
    assert mean.te == pytest.approx(np.exp(np.log(te).mean()))
    assert mean.beta_link == pytest.approx(fit["posterior"]["beta_link"].to_numpy().mean())


def test_event_sampling_leaves_the_marginal_hazard_ratio_alone(run):
    held = marginal_hazard_ratio(run([LOW, ISA], vary=["events"], n_trials=3), ISA).sel(regimen=LOW)
    assert np.ptp(held.to_numpy()) == 0.0
    full = marginal_hazard_ratio(run([LOW, ISA], n_trials=3), ISA).sel(regimen=LOW)
    assert np.ptp(full.to_numpy()) > 0.0


def test_a_resampled_mix(run, small):
    """Twice the weight for women: their share in 6 x 200 patients within 4 binomial errors; curves are their own."""
    female = small.trial.patients["female"]
    weights = 1.0 + female
    sims = run(
        [ISA], population="resampled", weights=weights, n_patients=200, horizon_day=20.0, vary=["patients"]
    )
    who = sims["source_patient"].to_numpy()
    expected = (weights * female).sum() / weights.sum()
    share = female[who.ravel()].mean()
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 1200)
    own = run([ISA], population="fitted", n_trials=1, horizon_day=20.0, vary=[])
    m0 = own["m_protein"].isel(trial=0, regimen=0, visit=0).to_series()
    of_sampled = sims["m_protein"].isel(regimen=0, visit=0).to_numpy()
    np.testing.assert_array_equal(of_sampled.ravel(), m0.loc[who.ravel()].to_numpy())


def test_redrawn_patients_keep_covariates_and_draw_parameters(run):
    """SD of log M0 of one patient over trials is omega (0.398 within a few per cent): chi-square at level 1e-3."""
    sims = run([ISA], population="redrawn", n_trials=60, horizon_day=10.0, vary=["patients"])
    log_m0 = np.log(sims["m_protein"].isel(regimen=0, visit=0).to_numpy().astype(float))
    between = log_m0 - log_m0.mean(axis=0)
    omega = 0.398
    low, high = stats.chi2.interval(1 - 1e-3, 24 * 59)
    total = (between**2).sum() / omega**2
    # The fixture's omega is off by some 3 %.
    assert 0.9 * low < total < 1.1 * high
    assert "source_patient" not in sims.coords


def test_virtual_patients_come_from_the_covariate_model(run):
    sims = run([ISA], population="virtual", n_trials=2, horizon_day=20.0, n_patients=50)
    assert sims.sizes["patient"] == 50
    assert len(set(sims["source_patient"].to_numpy().ravel())) > 80


def test_impossible_populations(run):
    with pytest.raises(ModelError, match="vary: expected any of parameters, patients, events, found event"):
        run([ISA], vary=["event"])
    with pytest.raises(ModelError, match="every patient once: weights go with"):
        run([ISA], weights={"001": 1.0})
    with pytest.raises(ModelError, match="found none for patient 002"):
        run([ISA], population="resampled", weights={"001": 1.0})
    ids = [f"{i:03d}" for i in range(1, 25)]
    with pytest.raises(ModelError, match="a negative, missing or no positive number"):
        run([ISA], population="new", weights=dict.fromkeys(ids, 0.0))
    with pytest.raises(ModelError, match="visit_days is 10"):
        run([ISA], visit_days=10)


def test_a_fit_that_failed_its_diagnostics(run, fit):
    stats_of = xr.Dataset({"diverging": (("chain", "draw"), np.ones((2, 3), dtype=bool))})
    failed = xr.DataTree.from_dict({"posterior": fit["posterior"].to_dataset(), "sample_stats": stats_of})
    with pytest.raises(ConvergenceError, match="allow_unconverged=True") as caught:
        run([ISA], fit=failed, n_trials=1, horizon_day=10.0)
    assert "more" in str(caught.value)
    allowed = run([ISA], fit=failed, n_trials=1, horizon_day=10.0, allow_unconverged=True)
    assert allowed.sizes["trial"] == 1


def test_a_population_without_a_covariate_of_the_model(run):
    from bayes_isa.data.population import draw_population
    from bayes_isa.errors import DataError

    table = draw_population(5, seed=1).drop(columns="albumin_g_per_l")
    with pytest.raises(DataError, match="albumin_g_per_l"):
        run([ISA], population=table)
    assert isinstance(table, pd.DataFrame)


def test_each_source_of_uncertainty_alone(small, fit):
    """Intervals of median PFS: all sources together are wider than any alone, and none leaves a single number."""
    from bayes_isa.model.spec import ModelSpec
    from bayes_isa.simulation.separate import separate_uncertainty

    table = separate_uncertainty(
        fit,
        [LOW, ISA],
        reference=ISA,
        combinations=[(), ["parameters"], ["events"], SOURCES],
        quantities=["median_pfs", "marginal_hazard_ratio"],
        n_trials=30,
        seed=1,
        horizon_day=300.0,
        trial=small.trial,
        spec=ModelSpec(),
    )
    assert list(dict.fromkeys(table["varying"])) == ["nothing", "parameters", "events", ", ".join(SOURCES)]
    rows = table.set_index(["varying", "regimen", "quantity"])
    width = rows["p95"] - rows["p5"]
    medians = width.xs((ISA, "median_pfs"), level=("regimen", "quantity"))
    assert medians["nothing"] == 0.0
    assert medians[", ".join(SOURCES)] > max(medians["parameters"], medians["events"]) > 0.0
    ratios = width.xs((LOW, "marginal_hazard_ratio"), level=("regimen", "quantity"))
    assert ratios["events"] == 0.0 < ratios["parameters"]
