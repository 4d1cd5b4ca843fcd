"""`covariate_selection`: shrinkage, probabilities and rules against hand computations on given draws."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

import bayes_isa as bi
from bayes_isa.data import Trial
from bayes_isa.errors import ModelError
from bayes_isa.inference.covariate_selection import covariate_selection, reduced_spec
from bayes_isa.inference.storage import FORMAT, trial_dataset
from bayes_isa.model.spec import ModelSpec
from bayes_isa.simulation.virtual_trial import draw_virtual_trial

N = 24
COVARIATES = {
    "KL": ("log_age_years", "female"),
    "R": ("female",),
    "hazard": ("log_b2m_mg_per_l", "plasmacytoma"),
}
SPEC = ModelSpec(covariates=COVARIATES, covariate_prior="horseshoe")


@pytest.fixture(scope="module")
def trial() -> Trial:
    return draw_virtual_trial(N, seed=4).trial


@pytest.fixture(scope="module")
def fit(trial: Trial) -> xr.DataTree:
    """Two chains of 100 draws: log_age acts on KL (0.5 to 0.7), plasmacytoma on the hazard, nothing else."""
    rng = np.random.default_rng(0)
    centre = {"KL": [0.6, 0.0], "R": [0.0], "hazard": [0.0, 1.0]}
    local = {"KL": [50.0, 0.5], "R": [1.0], "hazard": [0.2, 100.0]}
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for target, names in COVARIATES.items():
        dims = ("chain", "draw", f"covariate_{target}")
        size = (2, 100, len(names))
        variables[f"beta_{target}"] = (dims, np.array(centre[target]) + 0.1 * (rng.random(size) * 2.0 - 1.0))
        variables[f"lambda_{target}"] = (dims, np.broadcast_to(local[target], size))
        variables[f"tau_{target}"] = (dims[:2], np.full((2, 100), 0.2))
    coords = {f"covariate_{target}": list(names) for target, names in COVARIATES.items()}
    tree = xr.DataTree.from_dict(
        {"posterior": xr.Dataset(variables, coords=coords), "trial": trial_dataset(trial)}
    )
    priors = json.dumps(bi.load_priors("weakly_informative").to_dict())
    tree.attrs = {"bayes_isa_format": FORMAT, "spec": json.dumps(SPEC.to_dict()), "priors": priors}
    return tree


def test_shrinkage_is_that_of_the_paper(fit: xr.DataTree, trial: Trial) -> None:
    """kappa = 1 / (1 + n tau^2 lambda~^2 / sigma^2) with the paper's tau = 0.2 sigma / sqrt(n), c = sigma."""
    found = covariate_selection(fit)
    for label, local, n in (
        ("beta_KL[log_age_years]", 50.0, N),
        ("beta_KL[female]", 0.5, N),
        ("beta_hazard[plasmacytoma]", 100.0, int(trial.pfs["event"].sum())),
    ):
        tau = 0.2 / np.sqrt(n)
        square = local**2 / (1.0 + tau**2 * local**2)
        kappa = 1.0 / (1.0 + n * tau**2 * square)
        assert float(found["shrinkage"].sel(effect=label)) == pytest.approx(kappa, rel=1e-12)
    one = found["shrinkage"].sel(effect=found["of"] == "KL").to_numpy()
    assert float(found["effective"].sel(target="KL")) == pytest.approx((1.0 - one).sum())
    assert float(found["expected"].sel(target="KL")) == 1.0  # half of two candidates
    assert float(found["candidates"].sel(target="hazard")) == 2


def test_effects_on_the_models_scale_and_as_ratios(fit: xr.DataTree, trial: Trial) -> None:
    found = covariate_selection(fit, level=0.8, relevant_ratio=1.1)
    draws = fit["posterior"]["beta_KL"].sel(covariate_KL="log_age_years").to_numpy().ravel()
    spread = float(np.log(trial.patients["age_years"]).std(ddof=0))
    one = found.sel(effect="beta_KL[log_age_years]")
    assert float(one["mean"]) == pytest.approx(draws.mean())
    assert float(one["step"]) == pytest.approx(spread)
    assert float(one["ratio_high"]) == pytest.approx(np.exp(spread * np.quantile(draws, 0.9)))
    assert float(one["probability_relevant"]) == np.mean(np.abs(spread * draws) > np.log(1.1))
    assert 0.0 < float(one["probability_relevant"]) < 1.0
    assert float(found["step"].sel(effect="beta_hazard[plasmacytoma]")) == 1.0
    assert float(found["probability_above_0"].sel(effect="beta_hazard[plasmacytoma]")) == 1.0


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("shrinkage", {"beta_KL[log_age_years]", "beta_hazard[plasmacytoma]"}),
        ("interval", {"beta_KL[log_age_years]", "beta_hazard[plasmacytoma]"}),
        ("relevant", {"beta_hazard[plasmacytoma]"}),  # 0.6 for one SD of log age, 0.1, is 6 %
    ],
)
def test_rules_keep_what_they_say(fit: xr.DataTree, keep: str, kept: set[str]) -> None:
    found = covariate_selection(fit, keep=keep)
    assert set(found["effect"].to_numpy()[found["kept"].to_numpy()]) == kept


def test_the_reduced_specification_has_the_kept_alone(fit: xr.DataTree, trial: Trial) -> None:
    reduced = reduced_spec(covariate_selection(fit))
    assert reduced.covariates == {"KL": ("log_age_years",), "R": (), "hazard": ("plasmacytoma",)}
    assert reduced.covariate_prior == "normal"
    assert reduced.link == SPEC.link
    assert reduced_spec(covariate_selection(fit), covariate_prior="horseshoe").covariate_prior == "horseshoe"
    bi.build_model(trial, "weakly_informative", reduced)


def test_what_cannot_be_selected_from(fit: xr.DataTree) -> None:
    with pytest.raises(ModelError, match="expected one of shrinkage, interval, relevant"):
        covariate_selection(fit, keep="all")
    with pytest.raises(ModelError, match="relevant_ratio above 1"):
        covariate_selection(fit, relevant_ratio=0.8)
    without = xr.DataTree.from_dict({"posterior": fit["posterior"].to_dataset()[["beta_KL"]]})
    with pytest.raises(ModelError, match='covariate_prior="horseshoe"'):
        covariate_selection(without, spec=ModelSpec())
    with pytest.raises(ModelError, match="no group 'posterior'"):
        covariate_selection(xr.DataTree(), spec=SPEC)
    with pytest.raises(ModelError, match="covariate_selection"):
        reduced_spec(xr.Dataset())
