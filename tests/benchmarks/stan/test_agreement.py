"""Stan's log density and gradient of the same posterior agree with ours; needs the Stan environment."""

from __future__ import annotations

import numpy as np
import pytest

import bayes_isa as bi
from benchmarks.inference_run import evenly_chosen
from benchmarks.sampler_density import SamplerDensity
from benchmarks.stan.bench import textbook
from benchmarks.stan.density import StanDensity, build_density
from benchmarks.stan.environment import HOW_TO, stan_python
from benchmarks.stan.export import unconstrained

pytestmark = [pytest.mark.slow, pytest.mark.skipif(stan_python() is None, reason=HOW_TO)]


@pytest.mark.parametrize("name", ["noncentered", "centered", "reduce_sum"])
@pytest.mark.parametrize("below", [False, True])
def test_log_density_and_gradient(name, below):
    trial = evenly_chosen(bi.load_example("virtual_rrmm"), 40)
    if not below:
        censored = trial.mprotein.loc[trial.mprotein["below_lloq"], "id"]
        trial = trial.subset(trial.patients.index.difference(censored, sort=False))
    model, data = textbook(trial, "centered" if name == "centered" else "noncentered")
    assert (data["n_below"] > 0) == below
    ours, stan = (
        SamplerDensity(model),
        StanDensity(build_density(name, threads=name == "reduce_sum"), data),
    )
    start = ours.flat(model.initial_point())
    rng = np.random.default_rng(1)
    # Stan's derivative of normal_lcdf is an approximation: differences of its own values agree with our derivative.
    allowed = 1e-5 if below else 1e-8
    for scale in (0.0, 0.1, 0.1, 0.3, 0.3):
        at = start + scale * rng.standard_normal(start.size)
        value, gradient = ours(at)
        peer, peer_gradient = stan(unconstrained(stan.names, ours.by_name(at)))
        assert peer == pytest.approx(value, rel=1e-9)
        mine = unconstrained(stan.names, ours.by_name(gradient))
        np.testing.assert_allclose(peer_gradient, mine, rtol=allowed, atol=allowed)
