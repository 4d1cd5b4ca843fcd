"""Does imputation find the effect of a covariate that is missing where it matters? Full runs: `-m slow`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bayes_isa as bi
from bayes_isa.data import Trial

pytestmark = pytest.mark.slow

COVARIATES = {"M0": ("non_igg", "log_albumin"), "KD": ("log_baseline_m",), "hazard": ("plasmacytoma",)}
EFFECTS = {
    "M0": {"non_igg": -0.255, "log_albumin": -1.83},
    "KD": {"log_baseline_m": -0.56},
    "hazard": {"plasmacytoma": 0.799},
}


def with_albumin_missing(trial: Trial, share: float, rng: np.random.Generator) -> Trial:
    """Without `share` of the albumin values, all of patients whose baseline M-protein is above the median.

    That is missing at random: the baseline is observed. Taking the median instead then hides that these patients, whose
    M-protein is high, have low albumin.
    """
    baseline = trial.baseline_mprotein
    high = baseline.index[baseline > baseline.median()]
    chosen = rng.choice(high, size=round(share * trial.n_patients), replace=False)
    patients = trial.patients.copy()
    patients.loc[chosen, "albumin_g_per_l"] = np.nan
    return replace(trial, patients=patients)


def effect(trial: Trial, missing_covariates: str) -> np.ndarray:
    """Draws of albumin's effect on log M0."""
    spec = bi.ModelSpec(covariates=COVARIATES, missing_covariates=missing_covariates)
    fit = bi.fit(
        bi.build_model(trial, "weakly_informative", spec),
        seed=1, draws=500, tune=400, chains=2, progressbar=False,
    )  # fmt: skip
    assert bi.diagnose(fit).sampler["max_r_hat_individual"] < 1.1
    return fit["posterior"]["beta_M0"].sel(covariate_M0="log_albumin").to_numpy().ravel()


def test_imputation_corrects_what_the_median_distorts() -> None:
    virtual = bi.draw_virtual_trial(120, seed=11, effects=EFFECTS)
    trial = with_albumin_missing(virtual.trial, 0.3, np.random.default_rng(1))
    truth = EFFECTS["M0"]["log_albumin"]
    draws = {which: effect(trial, which) for which in ("impute", "published")} | {
        "nothing missing": effect(virtual.trial, "published")
    }
    found = {which: (own.mean(), own.std()) for which, own in draws.items()}
    print("\neffect of log albumin on log M0, mean and SD; truth", truth, found)
    # Chance of a false alarm 0.3 %: three posterior SDs.
    assert abs(found["impute"][0] - truth) < 3.0 * found["impute"][1], found
    assert abs(found["impute"][0] - truth) < abs(found["published"][0] - truth), found
