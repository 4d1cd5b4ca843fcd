"""Deliberately wrong models fail the check that is made to see it; the truth passes the same check.

Wrong models are taken at the warm start's estimate, with individual parameters drawn there: in their best clothes, as a
fit would dress them. Seeds are fixed; at a threshold of 0.01 the truth would fail by chance at one seed in a hundred.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.data.published import PUBLISHED_ESTIMATES
from bayes_isa.model.priors import PriorSet, load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.km_vpc import km_vpc
from bayes_isa.prediction.quantile_residuals import quantile_residuals
from bayes_isa.prediction.replicates import replicate_trial
from bayes_isa.prediction.vpc import vpc
from bayes_isa.simulation.parameters import fit_at_truth
from bayes_isa.simulation.virtual_trial import VirtualTrial, draw_virtual_trial
from tests.prediction.estimates import fit_at_estimate, with_higher_lloq

ALPHA = 0.01
FEW_COVARIATES = {"M0": (), "KL": (), "KD": ("log_baseline_m",), "hazard": ("dexamethasone",)}


@pytest.fixture(scope="module")
def priors() -> PriorSet:
    return load_priors("weakly_informative")


@pytest.fixture(scope="module")
def late_hazard() -> VirtualTrial:
    """A hazard that starts late: s = 4 instead of the published 1.56, at which 80 patients could not tell."""
    return draw_virtual_trial(80, seed=1, estimates={**PUBLISHED_ESTIMATES, "s": 4.0})


@pytest.fixture(scope="module")
def high_limit() -> tuple[VirtualTrial, Trial]:
    """A trial, and the same with a third of its measurements below the limit."""
    virtual = draw_virtual_trial(60, seed=1)
    return virtual, with_higher_lloq(virtual.trial, 8.0)


def p_values(fit: xr.DataTree, trial: Trial, spec: ModelSpec) -> dict[str, float]:
    replicates = replicate_trial(fit, n_replicates=199, seed=1, trial=trial, spec=spec)
    of_m = vpc(replicates)["p_value"].isel(stratum=0)
    residuals = quantile_residuals(fit, seed=1, trial=trial, spec=spec)["p_value"]
    return {
        "vpc": float(of_m.sel(statistic="m_protein")),
        "below": float(of_m.sel(statistic="below_lloq")),
        "km": float(km_vpc(replicates)["p_value"].isel(stratum=0)),
        "residuals": float(residuals.sel(outcome="m_protein")),
        "pfs_residuals": float(residuals.sel(outcome="pfs")),
    }


@pytest.mark.parametrize("growth", [1.0, 0.3, 0.01])
def test_no_drug_effect_fails_the_vpc(late_hazard: VirtualTrial, growth: float) -> None:
    """At the true growth rate as at lower ones, which are nearer to the observed median."""
    idle = fit_at_truth(late_hazard.truth)["posterior"].to_dataset()
    idle["KD_pop"] = 1e-20 * idle["KD_pop"]
    idle["KL_pop"] = growth * idle["KL_pop"]
    replicates = replicate_trial(
        xr.DataTree.from_dict({"posterior": idle}),
        n_replicates=199,
        seed=1,
        trial=late_hazard.trial,
        spec=ModelSpec(),
    )
    assert float(vpc(replicates)["p_value"].sel(statistic="m_protein").item()) < ALPHA


def test_an_exponential_hazard_fails_the_kaplan_meier_vpc_and_pfs_residuals(
    late_hazard: VirtualTrial, priors: PriorSet
) -> None:
    right = p_values(fit_at_truth(late_hazard.truth), late_hazard.trial, ModelSpec())
    assert min(right.values()) > ALPHA, right
    spec = ModelSpec(covariates=FEW_COVARIATES, hazard="exponential")
    wrong = p_values(fit_at_estimate(late_hazard.trial, priors, spec), late_hazard.trial, spec)
    assert wrong["km"] < ALPHA, wrong
    assert wrong["pfs_residuals"] < ALPHA, wrong


@pytest.mark.parametrize("how", ["as values", pytest.param("dropped", marks=pytest.mark.slow)])
def test_ignoring_the_limit_of_quantification_fails_its_checks(
    high_limit: tuple[VirtualTrial, Trial], priors: PriorSet, how: str
) -> None:
    virtual, trial = high_limit
    spec = ModelSpec(covariates=FEW_COVARIATES)
    right = p_values(fit_at_truth(virtual.truth), trial, ModelSpec())
    assert min(right.values()) > ALPHA, right
    rows = trial.mprotein
    kept = rows[~rows["below_lloq"]].reset_index(drop=True)
    ignoring = replace(trial, mprotein=rows.assign(below_lloq=False) if how == "as values" else kept)
    fit = fit_at_estimate(ignoring, priors, spec)
    against_the_truth = p_values(fit, trial, spec)
    # The Gaussian draws of individual parameters alone can bring a right model to 0.004.
    assert against_the_truth["residuals"] < 1e-6, against_the_truth
    # Even who has the mangled data alone sees fewer values below the limit than the model predicts.
    assert p_values(fit, ignoring, spec)["below"] <= 0.02
