"""Does a fit under each alternative find what its data were simulated with? Full runs, minutes each: `-m slow`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

import bayes_isa as bi
from bayes_isa.data.published import PUBLISHED_ESTIMATES
from bayes_isa.simulation.virtual_trial import VirtualTrial, draw_virtual_trial

from .test_recovery import missed_parameters

pytestmark = pytest.mark.slow

N_PATIENTS = 60
ESTIMATES = dict(PUBLISHED_ESTIMATES)


def virtual(seed: int, **choices: object) -> VirtualTrial:
    return draw_virtual_trial(N_PATIENTS, seed=seed, effects={}, **{"estimates": ESTIMATES, **choices})


def entering_late(drawn: VirtualTrial, seed: int) -> VirtualTrial:
    """Patients who were free of progression on a random day of the first 80, the others never having been seen."""
    trial = drawn.trial
    rng = np.random.default_rng(seed)
    entry = pd.Series(np.round(rng.uniform(0.0, 80.0, trial.n_patients), 1), index=trial.patients.index)
    entered = [i for i in trial.patients.index if entry[i] < trial.pfs["day"][i]]
    kept = trial.subset(entered)
    return replace(drawn, trial=replace(kept, pfs=kept.pfs.assign(entry_day=entry[entered])))


CASES = {
    "interval": lambda: (virtual(31, pfs_visit_days=28.0), bi.ModelSpec(covariates={})),
    "student_t": lambda: (
        virtual(33, estimates={**ESTIMATES, "nu": 4.0}),
        bi.ModelSpec(covariates={}, residual="student_t"),
    ),
    "additive": lambda: (
        virtual(34, estimates={**ESTIMATES, "sigma_add": 1.0, "sigma_prop": 0.0}),
        bi.ModelSpec(covariates={}, residual="additive"),
    ),
    "proportional": lambda: (
        virtual(35, estimates={**ESTIMATES, "sigma_add": 0.0, "sigma_prop": 0.1}),
        bi.ModelSpec(covariates={}, residual="proportional"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_truth_is_found(case: str) -> None:
    drawn, spec = CASES[case]()
    fit = bi.fit(
        bi.build_model(drawn.trial, "weakly_informative", spec),
        draws=500,
        tune=500,
        chains=2,
        seed=1,
        progressbar=False,
    )
    diagnosis = bi.diagnose(fit)
    missed, count = missed_parameters(fit, dict(drawn.truth.parameters))
    print("\n".join([f"{case}: {count - len(missed)} of {count} intervals hold the truth", *missed]))
    print(diagnosis)
    assert float(max(diagnosis.table["r_hat"])) < 1.05
    # If each 90 % interval covered independently, this many misses would come up once in a thousand trials.
    assert len(missed) <= binom.ppf(0.999, count, 0.1)


def test_a_correlation_is_found() -> None:
    """0.6 between KL and KD, of 120 patients: within its 90 % interval, which leaves out independence."""
    drawn = draw_virtual_trial(120, seed=36, effects={}, correlation={("KL", "KD"): 0.6})
    spec = bi.ModelSpec(covariates={}, random_effects="correlated")
    model = bi.build_model(drawn.trial, "weakly_informative", spec)
    fit = bi.fit(model, draws=1000, tune=1000, chains=2, seed=1, progressbar=False)
    diagnosis = bi.diagnose(fit)
    print(diagnosis.table.to_string())
    print(diagnosis)
    one = diagnosis.table.loc["correlation[KL, KD]"]
    low, high = (
        fit["posterior"]["correlation"].sel(parameter="KL", parameter_other="KD").quantile([0.05, 0.95])
    )
    assert float(one["r_hat"]) < 1.05
    assert 0.0 < float(low) < 0.6 < float(high)


def test_late_entry_is_allowed_for() -> None:
    """The baseline hazard of patients selected for having lived on is overestimated in Te when entry is ignored."""
    drawn = entering_late(virtual(32), 1)
    spec = bi.ModelSpec(covariates={}, link="none")
    scale = []
    for trial in (drawn.trial, replace(drawn.trial, pfs=drawn.trial.pfs.drop(columns="entry_day"))):
        model = bi.build_model(trial, "weakly_informative", spec)
        fit = bi.fit(model, draws=400, tune=400, chains=2, seed=2, progressbar=False)
        assert float(max(bi.diagnose(fit).table["r_hat"])) < 1.05
        scale.append(float(fit["posterior"]["Te"].median()))
    print(f"Te with entry {scale[0]:.0f}, ignoring it {scale[1]:.0f} days")
    assert scale[0] < scale[1]
