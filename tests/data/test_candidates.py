"""`all_covariates`: what a trial carries, without what cannot act or says the same twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayes_isa.data import Trial
from bayes_isa.data.candidates import all_covariates
from bayes_isa.data.examples import load_example
from bayes_isa.data.published import PUBLISHED_EFFECTS
from bayes_isa.errors import BayesIsaWarning, DataError


@pytest.fixture(scope="module")
def trial() -> Trial:
    return load_example("virtual_rrmm")


@pytest.fixture(scope="module")
def candidates(trial: Trial) -> dict[str, tuple[str, ...]]:
    with pytest.warns(BayesIsaWarning, match="asian \\(correlation 0.98 with japanese_study\\)"):
        return all_covariates(trial)


def test_the_published_ones_are_among_them(candidates: dict[str, tuple[str, ...]]) -> None:
    for target, effects in PUBLISHED_EFFECTS.items():
        assert set(effects) <= set(candidates[target])
    assert sum(map(len, candidates.values())) == 100


def test_nothing_acts_on_what_was_before_it(candidates: dict[str, tuple[str, ...]]) -> None:
    assert "log_baseline_m" not in candidates["M0"]
    assert "log_baseline_m" in candidates["KD"]
    assert [target for target, names in candidates.items() if "dexamethasone" in names] == ["hazard"]


def test_the_most_frequent_level_is_the_reference(candidates: dict[str, tuple[str, ...]]) -> None:
    levels = {name for name in candidates["R"] if "=" in name}
    assert levels == {"race=black", "race=other", "iss_stage=I", "iss_stage=II", "cytogenetics=high"}


def test_any_column_is_a_candidate_once(trial: Trial) -> None:
    rng = np.random.default_rng(1)
    n = trial.n_patients
    noise = pd.DataFrame(
        {
            "crp_mg_per_l": rng.lognormal(size=n),
            "frail": rng.integers(0, 2, n),
            "rare": (np.arange(n) < 4).astype(int),
            "change": rng.normal(size=n),
            "age_months": trial.patients["age_years"] * 12.0,
        },
        index=trial.patients.index,
    )
    wider = replace(trial, patients=trial.patients.join(noise))
    with pytest.warns(BayesIsaWarning) as caught:
        names = all_covariates(wider, targets=("KL",))["KL"]
    assert {"log_crp_mg_per_l", "frail"} <= set(names)
    text = str(caught[0].message)
    assert "rare (4 patients differ, fewer than 5)" in text
    assert "change (neither 0/1 nor positive)" in text
    assert "log_age_months (correlation 1.00 with log_age_years)" in text
    with pytest.warns(BayesIsaWarning):
        assert "rare" in all_covariates(wider, targets=("KL",), least_patients=4)["KL"]


def test_no_candidate_is_an_error(trial: Trial) -> None:
    with pytest.raises(DataError, match="no covariate"):
        all_covariates(trial.subset([trial.patients.index[0]]))
