"""Diagnostics on made-up draws: each fault is found and named, sound draws pass."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from bayes_isa.errors import ConvergenceError, ModelError
from bayes_isa.inference.diagnose import Diagnosis, Limits, diagnose

CHAINS, DRAWS, PATIENTS = 4, 500, 3


def made_up(rng: np.random.Generator, chains: int = CHAINS, draws: int = DRAWS) -> xr.DataTree:
    """Independent normal draws with the variables of a fit."""
    dims = ("chain", "draw")
    posterior = xr.Dataset(
        {
            "KL_pop": (dims, np.exp(0.1 * rng.normal(size=(chains, draws)))),
            "beta_M0": ((*dims, "covariate_M0"), rng.normal(size=(chains, draws, 2))),
            "phi": ((*dims, "patient", "parameter"), rng.normal(size=(chains, draws, PATIENTS, 2))),
        },
        coords={
            "covariate_M0": ["non_igg", "log_albumin"],
            "patient": ["001", "002", "003"],
            "parameter": ["KL", "KD"],
            "chain": range(chains),
            "draw": range(draws),
        },
    )
    stats = xr.Dataset(
        {
            "diverging": (dims, np.zeros((chains, draws), dtype=bool)),
            "energy": (dims, rng.normal(size=(chains, draws))),
            "n_steps": (dims, np.full((chains, draws), 15)),
        }
    )
    return xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2023)


def checks_of(diagnosis: Diagnosis) -> set[tuple[str, str]]:
    return {(finding.check, finding.where) for finding in diagnosis.failures}


def changed(fit: xr.DataTree, group: str, name: str, values: np.ndarray) -> xr.DataTree:
    """A copy of a fit with other values of one variable."""
    groups = {key: fit[key].to_dataset() for key in ("posterior", "sample_stats")}
    groups[group] = groups[group].assign({name: (groups[group][name].dims, values)})
    return xr.DataTree.from_dict(groups)


def test_sound_draws_pass(rng: np.random.Generator) -> None:
    diagnosis = diagnose(made_up(rng))
    assert diagnosis.ok
    assert diagnosis.failures == ()
    diagnosis.raise_if_failed()
    assert diagnosis.sampler["draws"] == CHAINS * DRAWS
    assert diagnosis.sampler["gradients_per_draw"] == 15
    assert set(diagnosis.table.index) == {"KL_pop", "beta_M0[non_igg]", "beta_M0[log_albumin]"}
    assert str(diagnosis).startswith("converged")


def test_a_shifted_chain_fails_by_name(rng: np.random.Generator) -> None:
    fit = made_up(rng)
    beta = fit["posterior"]["beta_M0"].to_numpy().copy()
    beta[0, :, 1] += 3.0
    diagnosis = diagnose(changed(fit, "posterior", "beta_M0", beta))
    assert not diagnosis.ok
    assert ("R-hat", "beta_M0[log_albumin]") in checks_of(diagnosis)
    assert {where for _, where in checks_of(diagnosis)} == {"beta_M0[log_albumin]"}
    with pytest.raises(ConvergenceError, match=r"R-hat of beta_M0\[log_albumin\]"):
        diagnosis.raise_if_failed()


def test_a_shifted_individual_fails(rng: np.random.Generator) -> None:
    fit = made_up(rng)
    phi = fit["posterior"]["phi"].to_numpy().copy()
    phi[0, :, 1, 0] += 3.0
    assert checks_of(diagnose(changed(fit, "posterior", "phi", phi))) == {
        ("largest R-hat", "phi of patient 002 (KL)")
    }


def test_sticky_draws_fail_on_effective_sample_size(rng: np.random.Generator) -> None:
    fit = made_up(rng)
    steps = rng.normal(size=(CHAINS, DRAWS))
    sticky = np.zeros_like(steps)
    for i in range(1, DRAWS):
        sticky[:, i] = 0.98 * sticky[:, i - 1] + steps[:, i]
    diagnosis = diagnose(changed(fit, "posterior", "KL_pop", sticky))
    assert ("ess bulk", "KL_pop") in checks_of(diagnosis)


def test_divergences_fail_above_their_limit(rng: np.random.Generator) -> None:
    diverging = np.zeros((CHAINS, DRAWS), dtype=bool)
    diverging[0, :2] = True
    fit = changed(made_up(rng), "sample_stats", "diverging", diverging)
    assert diagnose(fit).ok  # 2 of 2000
    diverging[1, :1] = True
    fit = changed(fit, "sample_stats", "diverging", diverging)
    diagnosis = diagnose(fit)
    assert checks_of(diagnosis) == {("share of divergent draws", "all chains")}
    assert "target_accept" in str(diagnosis)
    assert diagnose(fit, limits=Limits(divergences=0.01)).ok


def test_divergences_of_one_chain_name_it(rng: np.random.Generator) -> None:
    diverging = np.zeros((CHAINS, DRAWS), dtype=bool)
    diverging[2, 100:150] = True
    diverging[0, 7] = True
    diagnosis = diagnose(changed(made_up(rng), "sample_stats", "diverging", diverging))
    assert checks_of(diagnosis) == {("share of divergent draws", "all chains (50 of 51 in chain 2)")}
    assert "another seed" in str(diagnosis)


def test_an_energy_without_bounds_fails(rng: np.random.Generator) -> None:
    fit = made_up(rng)
    energy = fit["sample_stats"]["energy"].to_numpy().copy()
    energy[1, 3:5] = 1e200, -1e200
    diagnosis = diagnose(changed(fit, "sample_stats", "energy", energy))
    assert ("E-BFMI", "all chains") in checks_of(diagnosis)


def test_an_energy_that_wanders_fails(rng: np.random.Generator) -> None:
    energy = np.cumsum(rng.normal(size=(CHAINS, DRAWS)), axis=1)
    diagnosis = diagnose(changed(made_up(rng), "sample_stats", "energy", energy))
    assert checks_of(diagnosis) == {("E-BFMI", "all chains")}


@pytest.mark.parametrize("where", ["all", "one"])
def test_nan_draws_fail_and_do_not_crash(rng: np.random.Generator, where: str) -> None:
    fit = made_up(rng)
    values = fit["posterior"]["KL_pop"].to_numpy().copy()
    values[... if where == "all" else (0, 3)] = np.nan
    diagnosis = diagnose(changed(fit, "posterior", "KL_pop", values))
    assert not diagnosis.ok
    assert "KL_pop" in {failed for _, failed in checks_of(diagnosis)}


def test_nan_individuals_fail_and_do_not_crash(rng: np.random.Generator) -> None:
    fit = made_up(rng)
    phi = fit["posterior"]["phi"].to_numpy().copy()
    phi[0, 0, 2, 1] = np.nan
    whose = ("largest R-hat", "phi of patient 003 (KD)")
    assert whose in checks_of(diagnose(changed(fit, "posterior", "phi", phi)))


def test_a_constant_parameter_fails(rng: np.random.Generator) -> None:
    constant = np.ones((CHAINS, DRAWS))
    diagnosis = diagnose(changed(made_up(rng), "posterior", "KL_pop", constant))
    assert "KL_pop" in {where for _, where in checks_of(diagnosis)}


def test_one_chain_is_not_enough(rng: np.random.Generator) -> None:
    diagnosis = diagnose(made_up(rng, chains=1, draws=2000))
    assert ("number of chains", "the fit") in checks_of(diagnosis)


@pytest.mark.parametrize("draws", [1, 2, 4])
def test_a_handful_of_draws_fails_and_does_not_crash(rng: np.random.Generator, draws: int) -> None:
    assert not diagnose(made_up(rng, draws=draws)).ok


def test_the_outcome_can_be_written_as_json(rng: np.random.Generator) -> None:
    document = json.loads(json.dumps(diagnose(made_up(rng)).to_dict()))
    assert document["ok"] is True
    assert {row["parameter"] for row in document["parameters"]} >= {"KL_pop", "beta_M0[non_igg]"}


def test_a_tree_that_is_no_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="posterior and sample_stats"):
        diagnose(xr.DataTree.from_dict({"posterior": xr.Dataset()}))
