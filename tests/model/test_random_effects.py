"""Correlated random effects: density, coordinates, draws, and what the warm start makes of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pymc as pm
import pytensor
import pytest
from scipy import stats

from bayes_isa.data import Trial
from bayes_isa.errors import DataError, ModelError
from bayes_isa.model.build import build_model, record_of
from bayes_isa.model.coordinates import correlated_logp
from bayes_isa.model.joint_data import prepare
from bayes_isa.model.prior import Prior
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.model.warm_start import warm_start
from bayes_isa.simulation.virtual_trial import draw_virtual_trial
from tests.model.natural import constant, density

COORDINATES = ("response", "centered", "noncentered", "mixed")


@pytest.fixture(scope="module")
def trial() -> Trial:
    return draw_virtual_trial(10, seed=5, effects={}).trial


@pytest.fixture(scope="module")
def models(trial: Trial) -> dict[str, pm.Model]:
    return {c: build_model(trial, "weakly_informative", spec_with(coordinates=c)) for c in COORDINATES}


@pytest.fixture(autouse=True)
def quickly_compiled() -> Iterator[None]:
    """Every function is called a few times: compiling it well would take longer."""
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        yield


def spec_with(**choices: str) -> ModelSpec:
    return ModelSpec(covariates={}, **{"random_effects": "correlated", **choices})


def random_correlation(rng: np.random.Generator, d: int = 5) -> np.ndarray:
    a = rng.normal(size=(d, d + 2))
    covariance = a @ a.T
    sd = np.sqrt(np.diag(covariance))
    return covariance / np.outer(sd, sd)


def natural_values(model: pm.Model, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Of the centred model: population parameters from the prior, a random correlation, phi near its start."""
    others = [rv for rv in model.free_RVs if rv.name != "phi"]
    seed = int(rng.integers(1000))
    drawn = pm.draw(others, random_seed=seed)
    natural = {rv.name: np.asarray(x) for rv, x in zip(others, drawn, strict=True)}
    natural["correlation_cholesky"] = np.linalg.cholesky(random_correlation(rng))
    start = np.asarray(model.rvs_to_initial_values[model["phi"]])
    natural["phi"] = start + 0.1 * rng.normal(size=start.shape)
    return natural


def test_the_density_is_the_multivariate_normal_one() -> None:
    rng = np.random.default_rng(1)
    mean, omega, matrix = rng.normal(size=(7, 5)), rng.uniform(0.2, 1.5, 5), random_correlation(rng)
    phi = mean + rng.normal(size=mean.shape)
    covariance = np.outer(omega, omega) * matrix
    expected = [stats.multivariate_normal(m, covariance).logpdf(x) for m, x in zip(mean, phi, strict=True)]
    found = correlated_logp(*map(pm.math.constant, (phi, mean, omega, np.linalg.cholesky(matrix)))).eval()
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_models_density_is_that_of_scipy(models: dict[str, pm.Model]) -> None:
    """In the sampler's own coordinates, Jacobian included: the difference to independent effects is all of phi."""
    model = models["response"]
    rng = np.random.default_rng(2)
    natural = natural_values(models["centered"], rng)
    mean = np.log([natural[f"{p}_pop"] for p in ModelSpec().individual])
    omega = np.array([natural[f"omega_{p}"] for p in ModelSpec().individual])

    def of_phi(factor: np.ndarray) -> float:
        covariance = np.outer(omega, omega) * (factor @ factor.T)
        return float(stats.multivariate_normal(mean, covariance).logpdf(natural["phi"]).sum())

    other = {**natural, "correlation_cholesky": np.linalg.cholesky(random_correlation(rng))}
    lkj = [pm.LKJCorr.dist(n=5, eta=2.0), pm.LKJCorr.dist(n=5, eta=2.0)]
    factors = [each["correlation_cholesky"] for each in (natural, other)]
    prior = [float(pm.logp(rv, factor).eval()) for rv, factor in zip(lkj, factors, strict=True)]
    found = density(model, natural) - density(model, other)
    expected = of_phi(factors[0]) - of_phi(factors[1]) + prior[0] - prior[1]
    assert found == pytest.approx(expected, rel=1e-8)


def test_all_coordinates_have_the_same_posterior(models: dict[str, pm.Model], trial: Trial) -> None:
    """Exact, at random points: densities of eta and phi differ by the volume of omega and of the factor."""
    rng = np.random.default_rng(11)
    for _ in range(2):
        natural = natural_values(models["centered"], rng)
        expected = density(models["centered"], natural)
        assert np.isfinite(expected)
        assert density(models["response"], natural) == pytest.approx(expected, rel=1e-9)
        omega = np.array([natural[f"omega_{p}"] for p in ModelSpec().individual])
        mean = np.log([natural[f"{p}_pop"] for p in ModelSpec().individual])
        factor = natural["correlation_cholesky"]
        eta = np.linalg.solve(factor, ((natural["phi"] - mean) / omega).T).T
        rest = {n: v for n, v in natural.items() if n != "phi"}
        volume = trial.n_patients * (np.log(omega) + np.log(np.diag(factor)))
        assert density(models["noncentered"], {**rest, "eta": eta}) == pytest.approx(
            expected + volume.sum(), rel=1e-9
        )
        own = {**rest, "log_M0": natural["phi"][:, 0], "eta": eta[:, 1:]}
        assert density(models["mixed"], own) == pytest.approx(expected + volume[1:].sum(), rel=1e-9)


def test_independent_effects_are_the_special_case(models: dict[str, pm.Model], trial: Trial) -> None:
    """C = identity: the density of the diagonal model plus that of the LKJ prior at the identity."""
    natural = natural_values(models["centered"], np.random.default_rng(3))
    natural["correlation_cholesky"] = np.eye(5)
    lkj = float(pm.logp(pm.LKJCorr.dist(n=5, eta=2.0), np.eye(5)).eval())
    alone = {n: v for n, v in natural.items() if n != "correlation_cholesky"}
    for coordinates in ("response", "centered"):
        spec = spec_with(coordinates=coordinates, random_effects="diagonal")
        diagonal = build_model(trial, "weakly_informative", spec)
        assert "correlation" not in diagonal.named_vars
        found = density(models[coordinates], natural)
        # Each model chose its panels at its own warm start: equal to the quadrature's tolerance in every patient.
        assert found == pytest.approx(density(diagonal, alone) + lkj, abs=1e-3 * trial.n_patients)


def test_the_gradient_is_that_of_the_density(models: dict[str, pm.Model]) -> None:
    model = models["response"]
    point = model.initial_point()
    raveled = pm.blocking.DictToArrayBijection.map(point)
    # What is merely interpreted adds up no more than 32 terms.
    with pytensor.config.change_flags(mode="NUMBA"):
        logp, gradient = model.compile_logp(), model.compile_dlogp()(point)
    direction = np.random.default_rng(3).normal(size=gradient.size)

    def along(t: float) -> float:
        moved = pm.blocking.RaveledVars(raveled.data + t * direction, raveled.point_map_info)
        return float(logp(pm.blocking.DictToArrayBijection.rmap(moved)))

    numeric = (along(1e-5) - along(-1e-5)) / 2e-5
    assert gradient @ direction == pytest.approx(numeric, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("coordinates", COORDINATES)
def test_prior_draws_have_the_correlation(models: dict[str, pm.Model], coordinates: str) -> None:
    """Of 10 patients and 300 draws at one correlation each entry has a standard error of at most 0.02."""
    model = models[coordinates]
    matrix = random_correlation(np.random.default_rng(4))
    fixed = {"correlation_cholesky": np.linalg.cholesky(matrix)}
    fixed |= {f"{p}_pop": np.array(1.0) for p in ModelSpec().individual}
    fixed |= {f"omega_{p}": np.array(0.1 * (j + 1.0)) for j, p in enumerate(ModelSpec().individual)}
    phi = pm.draw(constant(model["phi"], {**fixed, "k": np.array(5.0)}), draws=300, random_seed=5)
    found = np.asarray(phi).reshape(-1, 5)
    np.testing.assert_allclose(np.corrcoef(found.T), matrix, atol=0.1)
    np.testing.assert_allclose(found.std(axis=0), 0.1 * np.arange(1, 6), rtol=0.1)


def test_dims_and_the_deterministic_matrix(models: dict[str, pm.Model]) -> None:
    model = models["response"]
    assert model.named_vars_to_dims["correlation"] == ("parameter", "parameter_other")
    drawn = pm.draw(model["correlation"], random_seed=1)
    np.testing.assert_allclose(np.diag(drawn), 1.0)
    assert np.linalg.eigvalsh(drawn)[0] > 0.0


def test_constant_exposure_has_four(trial: Trial) -> None:
    model = build_model(trial, "weakly_informative", spec_with(exposure="constant"))
    assert model["correlation"].eval().shape == (4, 4)
    assert all(np.isfinite(value) for value in model.point_logps().values())
    six = load_priors("weakly_informative").with_(correlation=Prior("LKJCorr", {"eta": 2.0, "n": 6}))
    with pytest.raises(ModelError, match="n = 6 parameters, this model has 4"):
        build_model(trial, six, spec_with(exposure="constant"))


def test_the_warm_start_finds_a_strong_correlation() -> None:
    """KL and KD at 0.8 in 60 patients: pulled to 0 by the little that patients say, but clearly positive."""
    drawn = draw_virtual_trial(60, seed=8, effects={}, correlation={("KL", "KD"): 0.8})
    start = warm_start(prepare(drawn.trial, spec_with(), rough=True), load_priors("weakly_informative"))
    matrix = start.population.correlation
    assert matrix is not None
    assert start.failed.size == 0
    assert np.linalg.eigvalsh(matrix)[0] > 0.0
    np.testing.assert_allclose(np.diag(matrix), 1.0)
    assert matrix[1, 2] > 0.4
    assert np.median(start.score) < 2.5


def test_impossible_correlations_are_refused() -> None:
    with pytest.raises(DataError, match="positive definite"):
        draw_virtual_trial(10, seed=1, correlation={("KL", "KD"): 0.9, ("KD", "R"): 0.9, ("KL", "R"): -0.9})
    with pytest.raises(DataError, match="expected two of M0, KL"):
        draw_virtual_trial(10, seed=1, correlation={("KL", "k"): 0.5})
    with pytest.raises(ModelError, match="did you mean 'correlated'"):
        ModelSpec(random_effects="correlate")


def test_the_record_has_the_choice(models: dict[str, pm.Model]) -> None:
    record = record_of(models["response"])
    assert record is not None
    assert record.data.spec.correlated
    assert ModelSpec(**record.data.spec.to_dict()).correlated
