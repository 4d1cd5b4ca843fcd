"""Models of events between visits, late entry and other residual errors: density, gradient, predictive draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pymc as pm
import pytest

from bayes_isa.data import Trial
from bayes_isa.errors import ModelError, PriorError
from bayes_isa.kernels.hazard import LINKS
from bayes_isa.model.build import build_model
from bayes_isa.model.prior import Prior
from bayes_isa.model.priors import PriorSet, load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.simulation.virtual_trial import draw_virtual_trial


@pytest.fixture(scope="module")
def trial() -> Trial:
    """Events between 4-weekly visits, and every other patient entering on day 0.1 or later."""
    drawn = draw_virtual_trial(10, seed=5, pfs_visit_days=28.0).trial
    entry = np.where(np.arange(10) % 2, 0.4 * drawn.progression_free_day, 0.0)
    return replace(drawn, pfs=drawn.pfs.assign(entry_day=entry))


@pytest.fixture(scope="module")
def model(trial: Trial) -> pm.Model:
    return build_model(trial, "weakly_informative", ModelSpec(residual="student_t", covariates={}))


def test_the_gradient_is_that_of_the_density(model: pm.Model) -> None:
    assert all(np.isfinite(value) for value in model.point_logps().values())
    raveled = pm.blocking.DictToArrayBijection.map(model.initial_point())
    logp, gradient = model.compile_logp(), model.compile_dlogp()(model.initial_point())
    direction = np.random.default_rng(3).normal(size=gradient.size)

    def along(t: float) -> float:
        moved = pm.blocking.RaveledVars(raveled.data + t * direction, raveled.point_map_info)
        return float(logp(pm.blocking.DictToArrayBijection.rmap(moved)))

    numeric = (along(1e-5) - along(-1e-5)) / 2e-5
    assert gradient @ direction == pytest.approx(numeric, rel=1e-4, abs=1e-3)


def test_predictive_draws_come_after_entry(model: pm.Model, trial: Trial) -> None:
    with model:
        drawn = pm.sample_prior_predictive(4, random_seed=1)["prior_predictive"]
    assert bool((drawn["pfs"].to_numpy() >= trial.entry_day - 1e-6).all())  # a tenth of a second
    assert bool((drawn["m_protein"].to_numpy() >= 0.5).all())


@pytest.mark.parametrize(
    ("residual", "names"), [("additive", {"sigma_add"}), ("proportional", {"sigma_prop"})]
)
def test_a_residual_error_has_its_own_parameters(trial: Trial, residual: str, names: set[str]) -> None:
    terms = build_model(
        trial, "weakly_informative", ModelSpec(residual=residual, covariates={}, link="none")
    ).point_logps()
    assert {n for n in terms if n in ("sigma_add", "sigma_prop", "nu")} == names
    assert all(np.isfinite(value) for value in terms.values())


def test_a_prior_set_may_lack_nu_until_it_is_needed(trial: Trial) -> None:
    document = load_priors("weakly_informative").to_dict()
    del document["parameters"]["nu"]
    without = PriorSet.from_dict(document)
    with pytest.raises(PriorError, match=r"no prior for nu .*parameters.nu"):
        without.parameter("nu")
    fixed = without.with_(nu=Prior("Gamma", {"alpha": 2.0, "beta": 0.1}))
    assert fixed.parameter("nu").unit == "dimensionless"


def test_every_link_has_a_prior() -> None:
    for name in ("weakly_informative", "published_2023"):
        priors = load_priors(name)
        assert all(priors.link(link).kwargs["sigma"] > 0.0 for link in LINKS if link != "none")
    document = priors.to_dict()
    del document["link"]["relative_slope"]
    with pytest.raises(PriorError, match="no prior for the link relative_slope"):
        PriorSet.from_dict(document).link("relative_slope")


def test_an_unknown_residual_error_is_named() -> None:
    with pytest.raises(ModelError, match="did you mean 'student_t'"):
        ModelSpec(residual="student")
