"""Missing covariates as latent variables: density, gradient, conditional distribution, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bayes_isa.data import Trial
from bayes_isa.errors import BayesIsaWarning, ModelError
from bayes_isa.model.build import build_model, record_of
from bayes_isa.model.covariate_model import CovariateModel, estimated
from bayes_isa.model.imputation import imputed
from bayes_isa.model.imputed_covariates import imputed_covariates
from bayes_isa.model.joint_data import prepare
from bayes_isa.model.spec import ModelSpec
from bayes_isa.simulation.virtual_trial import draw_virtual_trial
from tests.model.natural import density

COVARIATES = {
    "M0": ("non_igg", "log_albumin", "log_alp"),
    "KD": ("log_baseline_m",),
    "hazard": ("log_albumin", "plasmacytoma"),
}
COLUMNS = {"log_albumin": "albumin_g_per_l", "log_alp": "alp_uln_ratio"}


@pytest.fixture(autouse=True)
def quickly_compiled() -> Iterator[None]:
    """Every function is called a few times: compiling it well would take longer."""
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        yield


@pytest.fixture(scope="module")
def complete() -> Trial:
    return draw_virtual_trial(11, seed=1).trial


def middle_kept(values: pd.Series, pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Ids of `pairs` values above the median and as many below it: without them the median is the same."""
    ids = values.sort_values().index.to_numpy()
    half = len(ids) // 2
    return np.concatenate([rng.choice(ids[:half], pairs, False), rng.choice(ids[-half:], pairs, False)])


@pytest.fixture(scope="module")
def trial(complete: Trial) -> Trial:
    """Four patients lack albumin, two alkaline phosphatase, one or both of these both."""
    rng = np.random.default_rng(0)
    patients = complete.patients.copy()
    for (name, column), pairs in zip(COLUMNS.items(), (2, 1), strict=True):
        patients.loc[middle_kept(patients[column], pairs, rng), column] = np.nan
        assert patients[column].median() == complete.patients[column].median(), name
    both = patients[list(COLUMNS.values())].isna().all(axis=1)
    assert both.sum() > 0
    return replace(complete, patients=patients)


def spec_with(**choices: object) -> ModelSpec:
    """Constant exposure: the panels are fewer, covariates are what they are."""
    chosen = {"covariates": COVARIATES, "missing_covariates": "impute", "exposure": "constant"}
    return ModelSpec(**{**chosen, **choices})


@pytest.fixture(scope="module")
def model(trial: Trial) -> pm.Model:
    return build_model(trial, "weakly_informative", spec_with())


@pytest.fixture(scope="module")
def centered(trial: Trial) -> pm.Model:
    return build_model(trial, "weakly_informative", spec_with(coordinates="centered", tolerance=1e-5))


def natural_values(model: pm.Model, seed: int) -> dict[str, np.ndarray]:
    """Near where the model starts, of every free variable on its natural scale."""
    rng = np.random.default_rng(seed)
    starts = {rv.name: np.asarray(model.rvs_to_initial_values[rv], dtype=float) for rv in model.free_RVs}
    natural = {name: value * np.exp(0.1 * rng.normal(size=value.shape)) for name, value in starts.items()}
    # Logs of rates: a tenth of them would be another patient.
    natural["phi"] = starts["phi"] + 0.03 * rng.normal(size=starts["phi"].shape)
    return natural


# What a PyMC user sees ----------------------------------------------------------------------------------------------


def test_missing_values_are_named_by_patient_and_covariate(model: pm.Model, trial: Trial) -> None:
    for name, column in COLUMNS.items():
        without = trial.patients.index[trial.patients[column].isna()]
        assert model.named_vars_to_dims[imputed(name)] == (f"patient_without_{name}",)
        assert list(model.coords[f"patient_without_{name}"]) == list(without)
    # Alkaline phosphatase has fewer missing values, so it predicts albumin and not the other way round; the baseline
    # M-protein is a measurement of the marker and predicts neither.
    assert list(model.coords["predictor_log_alp"]) == ["intercept", "non_igg", "plasmacytoma"]
    assert list(model.coords["predictor_log_albumin"]) == ["intercept", "non_igg", "plasmacytoma", "log_alp"]


@pytest.mark.slow
def test_with_nothing_missing_it_is_the_default_model(complete: Trial) -> None:
    models = [
        build_model(complete, "weakly_informative", spec_with(missing_covariates=which))
        for which in ("published", "impute")
    ]
    assert [rv.name for rv in models[0].basic_RVs] == [rv.name for rv in models[1].basic_RVs]
    point = models[0].initial_point()
    moved = {name: value + 0.01 for name, value in point.items()}
    both = [built.compile_logp(sum=False) for built in models]
    for at in (point, moved):
        for first, second in zip(both[0](at), both[1](at), strict=True):
            np.testing.assert_array_equal(first, second)


# Density ------------------------------------------------------------------------------------------------------------


def test_the_density_is_that_of_completed_data_and_a_multivariate_normal(
    centered: pm.Model, trial: Trial
) -> None:
    """log p(outcomes, z) = log p(outcomes | z filled in, default model) + log MVN(z) + log priors of its parameters."""
    data, natural = record_of(centered).data, natural_values(centered, 0)
    rng = np.random.default_rng(1)
    for name in COLUMNS:
        # Half above the median, half below, so that completed data have the same one.
        size = natural[imputed(name)].size
        natural[imputed(name)] = rng.uniform(0.05, 0.4, size) * np.repeat([1.0, -1.0], size // 2)
    coded = data.imputation.completed(natural)
    patients = trial.patients.copy()
    for name, column in COLUMNS.items():
        center = patients[column].median()
        patients[column] = center * np.exp(coded[:, data.imputation.names.index(name)])
        assert patients[column].median() == pytest.approx(center, rel=1e-12)
    spec = spec_with(missing_covariates="published", coordinates="centered", tolerance=1e-5)
    default = build_model(replace(trial, patients=patients), "weakly_informative", spec)
    own = {rv.name: natural[rv.name] for rv in default.free_RVs}
    expected = density(default, own) + _covariate_density(data, natural)
    assert density(centered, natural) == pytest.approx(expected, abs=2e-3)


def _covariate_density(data, natural: dict[str, np.ndarray]) -> float:
    """By SciPy: alkaline phosphatase z1 and albumin z2 given two complete covariates x."""
    imputation = data.imputation
    assert imputation.names == ("log_alp", "log_albumin")
    a1, a2 = natural["covariate_model_log_alp"], natural["covariate_model_log_albumin"]
    s1, s2 = natural["covariate_sd_log_alp"], natural["covariate_sd_log_albumin"]
    x = np.column_stack(
        [
            data.covariates["M0"].sel(covariate="non_igg"),
            data.covariates["hazard"].sel(covariate="plasmacytoma"),
        ]
    )
    x = x - x.mean(axis=0)
    first = a1[0] + x @ a1[1:]
    second = a2[0] + x @ a2[1:3] + a2[3] * first
    covariance = np.array([[s1**2, a2[3] * s1**2], [a2[3] * s1**2, s2**2 + a2[3] ** 2 * s1**2]])
    z = imputation.completed(natural)
    joint = sum(
        stats.multivariate_normal([m1, m2], covariance).logpdf(own)
        for m1, m2, own in zip(first, second, z, strict=True)
    )
    spread = [np.nanstd(imputation.given[:, j]) for j in (0, 1)]
    x_sd = x.std(axis=0)
    prior = 0.0
    for a, s, own, scales in ((a1, s1, spread[0], x_sd), (a2, s2, spread[1], [*x_sd, spread[0]])):
        prior += stats.norm(0, 0.5 * own).logpdf(a[0])
        prior += stats.norm(0, 0.5 * own / np.asarray(scales)).logpdf(a[1:]).sum()
        prior += stats.lognorm(0.5, scale=own).logpdf(s)
    return float(joint + prior)


def test_all_coordinates_have_the_same_density(model: pm.Model, centered: pm.Model) -> None:
    natural = natural_values(centered, 2)
    assert density(model, natural) == pytest.approx(density(centered, natural), abs=2e-2)


def test_gradients_flow_through_missing_values(model: pm.Model) -> None:
    point = model.initial_point()
    raveled = pm.blocking.DictToArrayBijection.map(point)
    terms, gradient = model.compile_logp(sum=False), model.compile_dlogp()(point)

    def logp(data: np.ndarray) -> float:
        at = pm.blocking.DictToArrayBijection.rmap(raveled._replace(data=data))
        return sum(float(np.sum(term)) for term in terms(at))

    place = 0
    for name, shape, size, _ in raveled.point_map_info:
        if name.startswith("imputed_"):
            for at in (place, place + size - 1):
                step = np.zeros(raveled.data.size)
                step[at] = 1e-5
                ends = [logp(raveled.data + sign * step) for sign in (1, -1)]
                assert gradient[at] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3, abs=1e-3), (
                    name,
                    shape,
                )
        place += size
    assert place == gradient.size


@pytest.mark.slow
@pytest.mark.parametrize(
    "choices",
    [
        {"covariate_prior": "horseshoe"},
        pytest.param({"random_effects": "correlated"}, marks=pytest.mark.slow),
    ],
)
def test_other_structures_take_it(trial: Trial, choices: dict[str, str]) -> None:
    built = build_model(trial, "weakly_informative", spec_with(**choices))
    assert imputed("log_albumin") in built.named_vars
    assert np.isfinite(list(built.point_logps().values())).all()


def test_the_order_of_patients_does_not_matter(centered: pm.Model, trial: Trial) -> None:
    ids = list(trial.patients.index)
    order = [ids[i] for i in np.random.default_rng(3).permutation(len(ids))]
    shuffled = build_model(
        trial.subset(order), "weakly_informative", spec_with(coordinates="centered", tolerance=1e-5)
    )
    assert list(shuffled.coords["patient"]) == order != ids
    natural = natural_values(centered, 4)
    moved = dict(natural)
    moved["phi"] = natural["phi"][[ids.index(i) for i in order]]
    for name in COLUMNS:
        was = list(centered.coords[f"patient_without_{name}"])
        moved[imputed(name)] = natural[imputed(name)][
            [was.index(i) for i in shuffled.coords[f"patient_without_{name}"]]
        ]
    assert density(shuffled, moved) == pytest.approx(density(centered, natural), abs=2e-3)


# The covariate model ------------------------------------------------------------------------------------------------


def random_model(rng: np.random.Generator, r: int, c: int) -> CovariateModel:
    return CovariateModel(
        tuple(rng.normal(size=1 + r + j) for j in range(c)), np.exp(0.3 * rng.normal(size=c))
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), c=st.integers(1, 4), r=st.integers(0, 2))
def test_conditional_and_marginal_make_the_joint(seed: int, c: int, r: int) -> None:
    """p(given) p(missing | given) = p(all), whatever is missing; p(all) is the product of the regressions."""
    rng = np.random.default_rng(seed)
    model, n = random_model(rng, r, c), 5
    predictors, z = rng.normal(size=(n, r)), rng.normal(size=(n, c))
    hidden = rng.random((n, c)) < 0.5
    found = model.conditional(np.where(hidden, np.nan, z), predictors)
    for i in range(n):
        whole = 0.0
        for j, own in enumerate(model.coefficients):
            mean = own @ np.concatenate([[1.0], predictors[i], z[i, :j]])
            whole += stats.norm(mean, model.sd[j]).logpdf(z[i, j])
        m = hidden[i]
        rest = 0.0
        if m.any():
            rest = stats.multivariate_normal(found.mean[i, m], found.covariance[i][np.ix_(m, m)]).logpdf(
                z[i, m]
            )
        assert found.log_density[i] + rest == pytest.approx(whole, rel=1e-8, abs=1e-8)
        np.testing.assert_array_equal(found.mean[i, ~m], z[i, ~m])


def test_the_starting_estimate_is_a_mode() -> None:
    rng = np.random.default_rng(6)
    predictors, z = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    z[:, 1] += 0.8 * z[:, 0] + 0.5 * predictors[:, 1]
    given_z = np.where(rng.random(z.shape) < 0.3, np.nan, z)
    prior_sds = (np.full(3, 0.5), np.full(4, 0.5))
    found = estimated(given_z, predictors, prior_sds)

    def log_posterior(model: CovariateModel) -> float:
        value = model.conditional(given_z, predictors).log_density.sum()
        return float(
            value
            + sum(
                stats.norm(0, s).logpdf(a).sum() for a, s in zip(model.coefficients, prior_sds, strict=True)
            )
        )

    best = log_posterior(found)
    for j, own in enumerate(found.coefficients):
        for step in np.concatenate([0.02 * np.eye(own.size), -0.02 * np.eye(own.size)]):
            moved = tuple(a + step if k == j else a for k, a in enumerate(found.coefficients))
            assert log_posterior(replace(found, coefficients=moved)) < best


def test_given_all_else_it_is_conditional_normal_where_covariates_do_not_act(
    centered: pm.Model, trial: Trial
) -> None:
    """With effects of 0 the whole model's density of one missing value is that of the normal given the others."""
    data, point = record_of(centered).data, centered.initial_point()
    for target in ("M0", "hazard"):
        continuous = [name in COLUMNS for name in centered.coords[f"covariate_{target}"]]
        point[f"beta_{target}"] = np.where(continuous, 0.0, point[f"beta_{target}"])
    terms = centered.compile_logp(jacobian=False, sum=False)
    natural = {**point, **{f"covariate_sd_{n}": np.exp(point[f"covariate_sd_{n}_log__"]) for n in COLUMNS}}
    imputation = data.imputation
    completed = imputation.completed(natural)
    for name in COLUMNS:
        column, row = imputation.names.index(name), imputation.rows(name)[0]
        others = completed.copy()
        others[row, column] = np.nan
        found = imputation.model_of(natural).conditional(others, imputation.values)
        mean, sd = found.mean[row, column], np.sqrt(found.covariance[row, column, column])
        z = mean + sd * np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
        own = np.empty(z.size)
        for number, value in enumerate(z):
            moved = np.concatenate([[value], point[imputed(name)][1:]])
            own[number] = sum(float(np.sum(term)) for term in terms({**point, imputed(name): moved}))
        np.testing.assert_allclose(
            own - own[2], stats.norm(mean, sd).logpdf(z) - stats.norm(mean, sd).logpdf(mean), atol=1e-6
        )


@pytest.mark.slow
def test_a_value_that_outcomes_say_nothing_of_is_conditional_normal(trial: Trial) -> None:
    """The part of the model that is left when covariates act on nothing, sampled by NUTS.

    Standardised by the conditional normal at its own draw each missing value is standard normal: one test for each, at
    an error rate of 0.1 % over all, of draws far enough apart to be independent.
    """
    data = prepare(trial, spec_with())
    imputation = data.imputation
    with pm.Model() as model:
        imputed_covariates(imputation)
    result = pm.sample(
        500,
        tune=300,
        chains=2,
        cores=1,
        random_seed=1,
        model=model,
        progressbar=False,
        compute_convergence_checks=False,
    )
    draws = (
        result["posterior"]
        .to_dataset()
        .stack(sample=("chain", "draw"), create_index=False)
        .isel(sample=slice(None, None, 5))
    )
    z = []
    for number in range(draws.sizes["sample"]):
        one = draws.isel(sample=number)
        found = imputation.model_of(one).conditional(imputation.given, imputation.values)
        away = imputation.completed(one) - found.mean
        sd = np.sqrt(np.einsum("ncc->nc", found.covariance))
        z.append((away / np.where(sd > 0.0, sd, np.inf))[np.isnan(imputation.given)])
    p_values = [stats.kstest(own, "norm").pvalue for own in np.array(z).T]
    assert min(p_values) > 0.001 / len(p_values), p_values


# What is refused or warned of ---------------------------------------------------------------------------------------


def test_an_unknown_value_is_refused() -> None:
    with pytest.raises(
        ModelError, match="missing_covariates: expected one of published, impute, found 'imputed'"
    ):
        ModelSpec(missing_covariates="imputed")


def test_two_covariates_of_one_incomplete_column_are_refused(trial: Trial) -> None:
    spec = spec_with(covariates={"M0": ("log_albumin",), "hazard": ("log_albumin_g_per_l",)})
    with pytest.raises(ModelError, match="log_albumin and log_albumin_g_per_l are made of one column"):
        prepare(trial, spec)


def test_binary_covariates_keep_a_level_of_their_own_which_is_said(trial: Trial) -> None:
    patients = trial.patients.copy()
    patients.loc[patients.index[:2], "plasmacytoma"] = np.nan
    with pytest.warns(
        BayesIsaWarning, match=r"missing values of plasmacytoma \(2 patients\) get a level of their own"
    ):
        built = build_model(replace(trial, patients=patients), "weakly_informative", spec_with())
    assert "plasmacytoma_missing" in built.coords["covariate_hazard"]
    assert imputed("plasmacytoma") not in built.named_vars


def test_values_of_other_patients_are_refused(trial: Trial) -> None:
    imputation = prepare(trial, spec_with()).imputation
    one = {imputed(name): np.zeros(imputation.rows(name).size) for name in imputation.names}
    assert np.isfinite(imputation.completed(one)).all()
    with pytest.raises(ModelError, match="imputed_log_alp: expected 2 values"):
        imputation.completed({**one, "imputed_log_alp": np.zeros(3)})
    with pytest.raises(ModelError, match="imputed_log_albumin is missing"):
        imputation.completed({"imputed_log_alp": one["imputed_log_alp"]})


def test_fewest_missing_come_first(trial: Trial) -> None:
    imputation = prepare(trial, spec_with()).imputation
    counts = [imputation.rows(name).size for name in imputation.names]
    assert all(a <= b for a, b in pairwise(counts))
    assert list(imputation.names) == ["log_alp", "log_albumin"]
