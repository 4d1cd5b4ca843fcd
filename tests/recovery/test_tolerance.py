"""The quadrature's default tolerance is fine enough: a tenth of it leaves the posterior where it is (`-m slow`)."""

from __future__ import annotations

import numpy as np
import pytest

import bayes_isa as bi
from bayes_isa.model.build import record_of
from bayes_isa.model.likelihood import evaluate_log_likelihood
from bayes_isa.simulation.virtual_trial import draw_virtual_trial

pytestmark = pytest.mark.slow


def test_a_tenth_of_the_tolerance_leaves_the_posterior_unchanged() -> None:
    """Draws at the default weighted to the posterior at a tenth of it: no mean moves by a hundredth of its SD.

    With the ESS of 400 that `diagnose` asks for, the Monte-Carlo error of a mean is a twentieth of its SD.
    """
    trial = draw_virtual_trial(100, seed=12).trial
    model = bi.build_model(trial)
    fit = bi.fit(model, seed=6, chains=2, progressbar=False)
    posterior = fit["posterior"].to_dataset().isel(draw=slice(None, None, 5))
    default, finer = (
        record_of(each).data
        for each in (
            model,
            bi.build_model(trial, spec=bi.ModelSpec(tolerance=0.1 * bi.ModelSpec().tolerance)),
        )
    )
    assert finer.panels.n_nodes > 1.1 * default.panels.n_nodes
    change = sum(
        sign * evaluate_log_likelihood(data, posterior)["patient_total"].sum("patient")
        for sign, data in ((1.0, finer), (-1.0, default))
    )
    weight = np.exp(change - change.max())
    population = posterior[[name for name in posterior if "patient" not in posterior[name].dims]]
    shift = (population.weighted(weight).mean() - population.mean()) / population.std()
    worst = max(float(np.abs(values).max()) for values in shift.data_vars.values())
    print(
        f"SD of the change in log-likelihood {float(change.std()):.1e}, largest shift of a mean {worst:.1e} SD"
    )
    assert worst < 0.01
