"""Tables of parameters and covariate effects: right numbers, and nothing published where nothing compares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from bayes_isa.data.published import PUBLISHED_EFFECTS, PUBLISHED_ESTIMATES
from bayes_isa.errors import ModelError
from bayes_isa.inference.covariate_effects import covariate_effects
from bayes_isa.inference.estimates import parameter_estimates
from bayes_isa.inference.storage import trial_of
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.simulation.virtual_trial import draw_virtual_trial


@pytest.fixture(scope="module")
def fit(sampled_near_the_truth) -> xr.DataTree:
    virtual = draw_virtual_trial(24, seed=4)
    return sampled_near_the_truth(virtual.trial, virtual.truth, n_draws=100)


def test_every_parameter_has_its_posterior_prior_and_published_estimate(fit: xr.DataTree) -> None:
    table = parameter_estimates(fit, level=0.8)
    names = {*PUBLISHED_ESTIMATES} | {f"beta_{t}[{c}]" for t, of in PUBLISHED_EFFECTS.items() for c in of}
    assert set(table["parameter"].to_numpy()) == names
    one = table.sel(parameter="KL_pop")
    draws = fit["posterior"]["KL_pop"].to_numpy()
    np.testing.assert_allclose([one["low"], one["median"], one["high"]], np.quantile(draws, [0.1, 0.5, 0.9]))
    prior = load_priors("weakly_informative").parameters["KL_pop"]
    np.testing.assert_allclose([one["prior_low"], one["prior_high"]], prior.quantiles([0.1, 0.9]))
    assert float(one["published"]) == pytest.approx(PUBLISHED_ESTIMATES["KL_pop"])
    # printed relative standard error 9.05 %
    assert float(one["published_high"]) == pytest.approx(0.00531 * np.exp(1.2816 * 0.0903), rel=1e-3)
    assert one["unit"].item() == "1/day"


def test_densities_integrate_to_the_mass_they_cover(fit: xr.DataTree) -> None:
    table = parameter_estimates(fit)
    for name in ("KL_pop", "beta_link", "beta_M0[non_igg]"):
        one = table.sel(parameter=name)
        x = np.log(one["value"]) if bool(one["positive"]) else one["value"]
        assert np.trapezoid(one["posterior_density"], x) == pytest.approx(1.0, abs=0.02)
        prior = load_priors("weakly_informative").parameters.get(name)
        if prior is not None:
            covered = np.diff(prior.scipy().cdf(one["value"].to_numpy()[[0, -1]]))
            assert np.trapezoid(one["prior_density"], x) == pytest.approx(covered[0], abs=1e-3)


def test_nothing_published_compares_with_another_model(fit: xr.DataTree) -> None:
    table = parameter_estimates(fit, spec=ModelSpec(link="value", hazard="weibull"))
    for name in ("Te", "s", "beta_link"):
        assert np.isnan(table["published"].sel(parameter=name))
    assert np.isfinite(table["published"].sel(parameter="KL_pop"))


def test_ratios_are_those_of_the_stated_patients(fit: xr.DataTree) -> None:
    effects = covariate_effects(fit, percentiles=(25.0,))
    posterior = fit["posterior"]
    albumin = trial_of(fit).patients["albumin_g_per_l"]
    (label,) = [c for c in effects["contrast"].to_numpy() if "albumin" in c]
    assert label.startswith("M0: albumin ")
    assert "g/L" in label
    quarter, middle = np.percentile(albumin, 25.0), albumin.median()
    assert f"{quarter:.3g} against {middle:.3g}" in label
    beta = posterior["beta_M0"].sel(covariate_M0="log_albumin").to_numpy()
    ratio = np.quantile((quarter / middle) ** beta, [0.05, 0.5, 0.95])
    one = effects.sel(contrast=label)
    np.testing.assert_allclose([one["low"], one["median"], one["high"]], ratio)
    assert float(one["published"]) == pytest.approx((quarter / middle) ** -1.83)
    assert one["published_low"] < one["published"] < one["published_high"]
    plasma = effects.isel(contrast=list(effects["covariate"].to_numpy()).index("plasmacytoma"))
    assert float(plasma["published"]) == pytest.approx(np.exp(0.799))


def test_what_cannot_be_tabled_is_refused(fit: xr.DataTree) -> None:
    with pytest.raises(ModelError, match="no group 'posterior'"):
        parameter_estimates(xr.DataTree())
    with pytest.raises(ModelError, match="level"):
        parameter_estimates(fit, level=90)
    bare = fit.copy()
    posterior = bare["posterior"].to_dataset()
    bare["posterior"] = xr.DataTree(posterior[[n for n in posterior if not str(n).startswith("beta_")]])
    with pytest.raises(ModelError, match="without covariates"):
        covariate_effects(bare, spec=replace(ModelSpec(), covariates={}))
