"""Does imputation find the effect of a covariate that is missing where it matters? Full runs: `-m slow`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bayes_isa as bi
from bayes_isa.data import Trial
from bayes_isa.simulation.virtual_trial import draw_virtual_trial

pytestmark = pytest.mark.slow

COVARIATES = {"M0": ("non_igg", "log_albumin"), "KD": ("log_baseline_m",), "hazard": ("plasmacytoma",)}
EFFECTS = {
    "M0": {"non_igg": -0.255, "log_albumin": -1.83},
    "KD": {"log_baseline_m": -0.56},
    "hazard": {"plasmacytoma": 0.799},
}


def with_albumin_missing(trial: Trial, share: float) -> Trial:
    """Without the albumin of the patients whose baseline M-protein is highest.

    That is missing at random: the baseline is observed. Taking the median instead hides that these patients have low
    albumin. In 61 such trials, maximum likelihood of baseline and albumin alone found -1.93 (SD 0.25) with what is
    missing integrated out, -1.05 (SD 0.30) with medians and -1.89 (SD 0.19) with nothing missing.
    """
    baseline = trial.baseline_mprotein.sort_values()
    patients = trial.patients.copy()
    patients.loc[baseline.index[-round(share * trial.n_patients) :], "albumin_g_per_l"] = np.nan
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
    trial = with_albumin_missing(draw_virtual_trial(120, seed=100, effects=EFFECTS).trial, 0.3)
    truth = EFFECTS["M0"]["log_albumin"]
    draws = {which: effect(trial, which) for which in ("impute", "published")}
    found = {which: (float(own.mean()), float(own.std())) for which, own in draws.items()}
    print("\neffect of log albumin on log M0, mean and SD:", found)
    # Three posterior SDs: a false alarm in 0.3 % of trials. By the figures above the median's estimate lies 2.6 of its
    # SDs from the truth, and the imputed one is nearer in all but 3 % of trials.
    assert abs(found["impute"][0] - truth) < 3.0 * found["impute"][1], found
    assert abs(found["impute"][0] - truth) < abs(found["published"][0] - truth), found
