"""Prior sets: what ships, how it is read, edited and stored, and how a bad one is refused."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_isa.errors import PriorError
from bayes_isa.model.families import FAMILIES
from bayes_isa.model.prior_rules import LINKS, PARAMETERS
from bayes_isa.model.priors import Prior, PriorSet, available_priors, load_priors, vector_prior

SHIPPED = ("published_2023", "weakly_informative")
EXAMPLES = {
    "LogNormal": {"median": 2.0, "sigma": 0.5},
    "Normal": {"mu": -1.0, "sigma": 2.0},
    "HalfNormal": {"sigma": 1.5},
    "Gamma": {"mu": 3.0, "sigma": 1.5},
    "Beta": {"mu": 0.3, "sigma": 0.1},
    "Uniform": {"lower": 1.0, "upper": 4.0},
    "TruncatedNormal": {"mu": 1.0, "sigma": 2.0, "lower": 0.0},
    "StudentT": {"nu": 4.0, "mu": 1.0, "sigma": 2.0},
    "Exponential": {"scale": 2.5},
}
MATRICES = [name for name, family in FAMILIES.items() if family.of_matrix]


def shipped_text(name: str) -> str:
    path = load_priors(name).path
    assert path is not None
    return Path(path).read_text(encoding="utf-8")


def refusal(path: Path, text: str) -> PriorError:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PriorError) as caught:
        load_priors(path)
    return caught.value


def row_of(text: str, line: str) -> int:
    return text.splitlines().index(line) + 1


# ------------------------------------------------------------------ shipped sets


def test_two_sets_ship() -> None:
    assert available_priors() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_number_has_unit_source_and_rationale(name: str) -> None:
    priors = load_priors(name)
    assert priors.name == name
    assert tuple(priors.parameters) == tuple(PARAMETERS)
    assert tuple(priors.links) == tuple(LINKS)
    table = priors.summary()
    assert (table[["unit", "source", "rationale"]].map(lambda text: len(text.strip()) > 0)).all(axis=None)
    assert ((table["q05"] < table["median"]) & (table["median"] < table["q95"])).all()


@pytest.mark.parametrize(
    ("get", "low", "high"),
    [
        (lambda p: p.parameters["M0_pop"], 10, 27),
        (lambda p: p.parameters["KL_pop"], 0.003, 0.017),
        (lambda p: p.parameters["KD_pop"], 0.02, 0.12),
        (lambda p: p.parameters["R_pop"], 0.002, 0.020),
        (lambda p: p.parameters["EC50_pop"], 170, 170),
        (lambda p: p.parameters["omega_M0"], 0.398, 0.541),
        (lambda p: p.parameters["omega_KL"], 0.8, 1.0),
        (lambda p: p.parameters["omega_KD"], 0.87, 1.05),
        (lambda p: p.parameters["omega_R"], 1.1, 1.7),
        (lambda p: p.parameters["omega_EC50"], 1.23, 1.23),
        (lambda p: p.parameters["k"], 5.47, 5.47),
        (lambda p: p.parameters["Te"], 272, 293),
        (lambda p: p.parameters["s"], 1.56, 1.56),
        (lambda p: p.parameters["sigma_add"], 0.477, 0.477),
        (lambda p: p.parameters["sigma_prop"], 0.0721, 0.0721),
        (lambda p: p.link("slope"), 6.65, 14),
        (lambda p: p.covariate_effect("M0", "log_albumin"), -2.7, -1.8),
    ],
)
def test_weakly_informative_holds_the_published_spread(get, low: float, high: float) -> None:
    q05, q95 = get(load_priors("weakly_informative")).quantiles([0.05, 0.95])
    assert q05 < low
    assert high < q95


def test_published_set_is_the_published_table() -> None:
    priors = load_priors("published_2023")
    estimates = {
        "M0_pop": (27, 3.78),
        "KL_pop": (0.00531, 9.05),
        "KD_pop": (0.0396, 9.17),
        "R_pop": (0.0192, 11.1),
        "EC50_pop": (170, 15.4),
        "omega_M0": (0.398, 5.1),
        "omega_KL": (0.947, 6.4),
        "omega_KD": (0.87, 8.6),
        "omega_R": (1.13, 8.5),
        "omega_EC50": (1.23, 14.1),
        "k": (5.47, 2.99),
        "Te": (272, 15.5),
        "s": (1.56, 5.7),
        "sigma_add": (0.477, 5.94),
        "sigma_prop": (0.0721, 4.59),
    }
    unpublished = {"nu", "correlation"}  # Student-t residuals, correlated random effects
    assert estimates.keys() | unpublished == priors.parameters.keys()
    for name, (estimate, rse) in estimates.items():
        kwargs = priors.parameters[name].kwargs
        assert kwargs["median"] == estimate
        assert kwargs["sigma"] == pytest.approx(np.sqrt(np.log1p((rse / 100) ** 2)), abs=1e-5)
    effects = {
        ("M0", "non_igg"): (-0.255, 24.5),
        ("M0", "log_albumin"): (-1.83, 9.02),
        ("M0", "log_alp"): (-0.233, 29.7),
        ("M0", "log_prior_lines"): (0.21, 32.2),
        ("M0", "japanese_study"): (-0.216, 37.5),
        ("KL", "not_lenalidomide_refractory"): (-0.514, 33.1),
        ("KD", "log_baseline_m"): (-0.56, 25.5),
        ("hazard", "dexamethasone"): (-0.363, 26.1),
        ("hazard", "plasmacytoma"): (0.799, 43.5),
    }
    listed = {(t, c) for t, table in priors.covariate_effects.items() for c in table}
    assert listed == effects.keys()
    found = {key: priors.covariate_effect(*key) for key in effects} | {"slope": priors.link("slope")}
    for key, (estimate, rse) in (effects | {"slope": (6.65, 19.7)}).items():
        assert found[key].dist == "Normal"
        assert found[key].kwargs["mu"] == estimate
        assert found[key].kwargs["sigma"] == pytest.approx(abs(estimate) * rse / 100, abs=1e-5)


def test_few_prior_curves_explode() -> None:
    """The share the description of the set states, for 150 mg/L held for ever (Monte Carlo SE 0.1 %)."""
    rng, n, days = np.random.default_rng(1), 40_000, 365.0
    population = {
        name: prior.draw(rng, n) for name, prior in load_priors("weakly_informative").parameters.items()
    }

    def individual(name: str) -> np.ndarray:
        return population[f"{name}_pop"] * np.exp(population[f"omega_{name}"] * rng.standard_normal(n))

    m0, kl, kd, r, ec50 = (individual(name) for name in ("M0", "KL", "KD", "R", "EC50"))
    log_m = np.log(m0) + kl * days - kd * 150 / (ec50 + 150) * -np.expm1(-r * days) / r
    assert np.mean(log_m > np.log(1e6)) == pytest.approx(0.05, abs=0.01)


def test_unlisted_covariate_has_the_default_and_unknown_names_are_refused() -> None:
    priors = load_priors("weakly_informative")
    assert priors.covariate_effect("KL", "log_age") is priors.default_effect
    with pytest.raises(PriorError, match="Did you mean hazard"):
        priors.covariate_effect("hazzard", "dexamethasone")
    with pytest.raises(PriorError, match="Did you mean slope"):
        priors.link("slop")


# ------------------------------------------------------------------ one prior


@pytest.mark.parametrize("dist", EXAMPLES)
def test_scipy_and_pymc_agree(dist: str) -> None:
    import pymc as pm

    prior = Prior(dist, EXAMPLES[dist])
    q = np.array([0.05, 0.3, 0.5, 0.9])
    x = prior.quantiles(q)
    logp = pm.logp(prior.dist_obj(), x).eval()
    np.testing.assert_allclose(logp, prior.scipy().logpdf(x), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("dist", "kwargs"),
    [
        *EXAMPLES.items(),
        ("LKJCorr", {"eta": 2.0}),
        ("LogNormal", {"mu": -7.0, "sigma": 3.0}),
        ("Gamma", {"alpha": 0.05, "beta": 7.0}),
        ("Gamma", {"alpha": 900.0, "beta": 0.1}),
        ("Beta", {"alpha": 0.05, "beta": 7.0}),
        ("StudentT", {"nu": 1.0, "mu": 1.0, "sigma": 2.0}),
        ("TruncatedNormal", {"mu": 0.0, "sigma": 1.0}),
        ("TruncatedNormal", {"mu": -3.0, "sigma": 0.5, "lower": 0.0}),
        ("TruncatedNormal", {"mu": 40.0, "sigma": 2.0, "upper": 0.0}),
        ("TruncatedNormal", {"mu": 0.0, "sigma": 2.0, "lower": 50.0, "upper": 60.0}),
        ("TruncatedNormal", {"mu": 0.0, "sigma": 2.0, "lower": -60.0, "upper": -50.0}),
        ("TruncatedNormal", {"mu": 1.2, "sigma": 5.0, "lower": 1.0, "upper": 1.5}),
        ("LKJCorr", {"eta": 0.5, "n": 2}),
    ],
)
def test_quantiles_and_support_are_those_of_scipy(dist: str, kwargs: dict) -> None:
    prior = Prior(dist, kwargs)
    q = np.array([1e-6, 0.05, 0.3, 0.5, 0.9, 0.95, 1.0 - 1e-6])
    np.testing.assert_allclose(prior.quantiles(q), prior.scipy().ppf(q), rtol=1e-9, atol=1e-14)
    assert prior.support() == pytest.approx(prior.scipy().support(), rel=1e-14)


def test_priors_are_checked_without_the_cost_of_importing_scipy_stats() -> None:
    code = "import sys, bayes_isa as bi; bi.load_priors('weakly_informative'); print('scipy.stats' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False"]


def test_every_family_is_tried() -> None:
    assert {*EXAMPLES, *MATRICES} == {*FAMILIES}


@pytest.mark.parametrize("n", [2, 4, 5])
def test_one_correlation_of_a_matrix_has_the_stated_distribution(n: int) -> None:
    """Kolmogorov-Smirnov at 1 in 1000 against draws of PyMC; n = 5, the individual parameters, unless said."""
    import pymc as pm
    from scipy.stats import kstest

    prior = Prior("LKJCorr", {"eta": 2.0}).of_rows(n)
    factor = pm.draw(pm.LKJCorr.dist(n=n, eta=2.0), draws=2000, random_seed=3)
    matrix = factor @ factor.transpose(0, 2, 1)
    assert kstest(matrix[:, 0, n - 1], prior.scipy().cdf).pvalue > 1e-3
    assert prior.support() == (-1.0, 1.0)
    if n == 5:
        assert Prior("LKJCorr", {"eta": 2.0}).quantiles([0.1]) == prior.quantiles([0.1])


def test_matrices_and_numbers_are_not_mixed_up() -> None:
    priors = load_priors("weakly_informative")
    with pytest.raises(PriorError, match="KL_pop is a number, which LKJCorr is no distribution of"):
        priors.with_(KL_pop=Prior("LKJCorr", {"eta": 2.0}))
    with pytest.raises(PriorError, match="correlation is a correlation matrix"):
        priors.with_(correlation=Prior("Normal", {"mu": 0.0, "sigma": 1.0}))
    with pytest.raises(PriorError, match="a number"):
        priors.with_covariate_effect("KL", "log_age", Prior("LKJCorr", {"eta": 2.0}))
    with pytest.raises(PriorError, match="n = 1"):
        Prior("LKJCorr", {"eta": 2.0, "n": 1})
    assert priors.with_(correlation=Prior("LKJCorr", {"eta": 4.0})).parameter("correlation").kwargs == {
        "eta": 4.0
    }


@pytest.mark.parametrize(
    ("dist", "one", "other"),
    [
        ("LogNormal", {"median": 2.0, "sigma": 0.5}, {"mu": np.log(2.0), "sigma": 0.5}),
        ("Gamma", {"mu": 3.0, "sigma": 1.5}, {"alpha": 4.0, "beta": 4 / 3}),
        ("Beta", {"mu": 0.25, "sigma": np.sqrt(0.25 * 0.75 / 9)}, {"alpha": 2.0, "beta": 6.0}),
        ("Exponential", {"scale": 2.5}, {"lam": 0.4}),
    ],
)
def test_two_ways_to_write_one_prior(dist: str, one: dict, other: dict) -> None:
    assert Prior(dist, one).pymc_kwargs() == pytest.approx(Prior(dist, other).pymc_kwargs())


def test_pymc_variable_in_a_model() -> None:
    import pymc as pm

    with pm.Model(coords={"target": ["a", "b"]}) as model:
        Prior("LogNormal", {"median": 0.005, "sigma": 0.6}).pymc("KL_pop")
        priors = [Prior("Normal", {"mu": 0, "sigma": 1}), Prior("Normal", {"mu": 1, "sigma": 2})]
        dist, kwargs = vector_prior(priors)
        getattr(pm, dist)("beta_M0", **kwargs, dims="target")
    assert {v.name for v in model.free_RVs} == {"KL_pop", "beta_M0"}
    assert model["beta_M0"].eval().shape == (2,)


def test_vector_needs_one_family() -> None:
    normal, student = Prior("Normal", EXAMPLES["Normal"]), Prior("StudentT", EXAMPLES["StudentT"])
    with pytest.raises(PriorError, match="need one distribution"):
        vector_prior([normal, student])
    with pytest.raises(PriorError, match="at least one"):
        vector_prior([])
    half = Prior("TruncatedNormal", {"mu": 0, "sigma": 1, "lower": 0})
    with pytest.raises(PriorError, match="need one distribution"):
        vector_prior([half, Prior("TruncatedNormal", {"mu": 0, "sigma": 1})])


def test_draws_are_reproducible_and_shaped() -> None:
    prior = Prior("LogNormal", EXAMPLES["LogNormal"])
    one, two = (prior.draw(np.random.default_rng(3), (4, 5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (4, 5)
    assert prior.draw(np.random.default_rng(3)).shape == ()


@settings(deadline=None, max_examples=50)
@given(
    st.text(max_size=12) | st.sampled_from(list(FAMILIES)),
    st.dictionaries(
        st.sampled_from(["mu", "sigma", "median", "lower", "upper", "alpha", "beta", "lam", "eta", "n", "x"]),
        st.floats() | st.text(max_size=3) | st.booleans(),
        max_size=4,
    ),
)
def test_a_prior_is_usable_or_refused(dist: str, kwargs: dict) -> None:
    try:
        prior = Prior(dist, kwargs)
    except PriorError:
        return
    lower, upper = prior.quantiles([0.05, 0.95])
    assert np.isfinite([lower, upper]).all()
    assert lower < upper


def test_prior_is_frozen_and_copies() -> None:
    prior = load_priors("weakly_informative").parameters["KL_pop"]
    with pytest.raises(TypeError):
        prior.kwargs["sigma"] = 1.0  # type: ignore[index]
    assert pickle.loads(pickle.dumps(prior)) == copy.deepcopy(prior) == prior
    assert hash(prior) == hash(copy.copy(prior))
    assert str(prior) == "LogNormal(median=0.0065, sigma=0.6) 1/day"


# ------------------------------------------------------------------ edit and store


@pytest.mark.parametrize("name", SHIPPED)
def test_stored_as_json_and_read_back(name: str) -> None:
    priors = load_priors(name)
    assert PriorSet.from_dict(json.loads(json.dumps(priors.to_dict(), allow_nan=False))) == priors
    assert copy.deepcopy(priors) == priors


def test_edited_copy() -> None:
    priors = load_priors("weakly_informative")
    wide = Prior("Gamma", {"mu": 0.01, "sigma": 0.01})
    other = (
        priors.with_(KL_pop=wide)
        .with_link("slope", Prior("Normal", {"mu": 5, "sigma": 2}, source="ours"))
        .with_covariate_effect("KL", "log_age", Prior("StudentT", {"nu": 4, "mu": 0, "sigma": 1}))
    )
    assert other.parameters["KL_pop"] == Prior("Gamma", wide.kwargs, unit="1/day", source="set in code")
    assert other.link("slope").source == "ours"
    assert other.covariate_effect("KL", "log_age").dist == "StudentT"
    assert other.parameters["KD_pop"] == priors.parameters["KD_pop"]
    assert priors.parameters["KL_pop"].dist == "LogNormal"
    with pytest.raises(PriorError, match="Did you mean KL_pop"):
        priors.with_(KLpop=wide)
    with pytest.raises(PriorError, match="must be positive"):
        priors.with_(KL_pop=Prior("Normal", {"mu": 0.01, "sigma": 0.01}))


# ------------------------------------------------------------------ files of the user


def test_extends_gives_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[meta]\nname = "mine"\ndescription = "fast growth"\nextends = "weakly_informative"\n'
        '[parameters.KL_pop]\ndist = "LogNormal"\nkwargs = { median = 0.02, sigma = 0.5 }\n'
        'unit = "1/day"\nsource = "our trial"\n'
    )
    mine, base = load_priors(str(path)), load_priors("weakly_informative")
    assert mine.name == "mine"
    assert mine.path == str(path)
    assert mine.parameters["KL_pop"].kwargs["median"] == 0.02
    assert {n for n in PARAMETERS if mine.parameters[n] != base.parameters[n]} == {"KL_pop"}
    error = refusal(path, path.read_text().replace('"weakly_informative"', '"weakly"'))
    assert error.problems[0].row == 4
    assert "weakly_informative" in str(error)


def test_every_problem_is_listed_with_its_line(tmp_path: Path) -> None:
    text = shipped_text("weakly_informative")
    edits = {
        "kwargs = { median = 0.0065, sigma = 0.6 }": "kwargs = { median = 0.0065, sigma = -0.6 }",
        "kwargs = { median = 0.05, sigma = 0.7 }": "kwargs = { median = nan, sigma = 0.7 }",
        "[parameters.Te]": "[parameters.TE]",
        "kwargs = { median = 1.4, sigma = 0.4 }": 'kwargs = { median = "1.4", sigma = 0.4 }',
        "kwargs = { median = 5.0, sigma = 0.8 }": "kwargs = { median = 5.0, sd = 0.8 }",
        "kwargs = { median = 150.0, sigma = 1.0 }": "kwargs = { median = -150.0, sigma = 1.0 }",
        "kwargs = { mu = 0.0, sigma = 9.0 }": "kwargs = { mu = 0.0 }",
        'unit = "L/umol"': 'unit = "L/mol"',
    }
    for old, new in edits.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    error = refusal(tmp_path / "bad.toml", text)
    missing = [p for p in error.problems if p.message.startswith("no prior for Te")]
    assert {p.row for p in error.problems if p not in missing} == {
        row_of(text, new) for new in edits.values()
    }
    assert [p.row for p in missing] == [None]  # nothing of it is in the file
    assert all(p.file == str(tmp_path / "bad.toml") and p.message and p.remedy for p in error.problems)
    shown = str(error)
    for part in (
        f"row {row_of(text, '[parameters.TE]')}: unknown name 'TE' in [parameters]. Did you mean Te?",
        "no prior for Te",
        "sigma of LogNormal is -0.6. It must be greater than 0",
        "median of LogNormal is nan",
        "median of LogNormal is '1.4', not a number",
        "LogNormal takes no 'sd'. It takes {median, sigma} or {mu, sigma}",
        "median of LogNormal is -150",
        "Normal has mu. It takes {mu, sigma}",
        "k is in 'L/mol', the model computes in 'L/umol'",
    ):
        assert part in shown


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('dist = "LogNormal"', 'dist = "Lognorm"', "unknown distribution 'Lognorm'. Did you mean LogNormal"),
        ('unit = "1/day"', "", "has no unit"),
        ('unit = "1/day"', 'unit = "1/h"', "the model computes in '1/day'"),
        ('source = "', 'origin = "', "unknown key 'origin'"),
        (
            'dist = "LogNormal"\nkwargs = { median = 0.0065, sigma = 0.6 }',
            'dist = "Normal"\nkwargs = { mu = 0.0065, sigma = 0.6 }',
            "KL_pop must be positive, but Normal on (-inf, inf) goes below 0",
        ),
        (
            'dist = "LogNormal"\nkwargs = { median = 0.0065, sigma = 0.6 }',
            'dist = "Uniform"\nkwargs = { lower = -1, upper = 1 }',
            "goes below 0",
        ),
        ("{ median = 0.0065, sigma = 0.6 }", "0.5", "kwargs of LogNormal are 0.5"),
        ("{ median = 0.0065, sigma = 0.6 }", "{ median = 0.0065, sigma = true }", "not a number"),
        ("[parameters.KL_pop]", "[params.KL_pop]", "unknown section [params]. Did you mean parameters?"),
        ("[covariate_effects.M0.non_igg]", "[covariate_effects.M00.non_igg]", "Did you mean M0?"),
        ("[covariate_effects.default]", "[covariate_effects.M0.any]", "a covariate that is not listed"),
        ('name = "weakly_informative"', "", "[meta] has no name"),
        ("[link.slope]", "[link.slopes]", "Did you mean slope?"),
    ],
)
def test_bad_entries_are_refused(tmp_path: Path, old: str, new: str, expected: str) -> None:
    before, entry, after = shipped_text("weakly_informative").partition("[parameters.KL_pop]")
    if old in after and not old.startswith("["):  # edit the entry of KL_pop, not the first one of the file
        text = before + entry + after.replace(old, new, 1)
    else:
        text = shipped_text("weakly_informative").replace(old, new, 1)
    error = refusal(tmp_path / "bad.toml", text)
    assert expected in str(error)


@pytest.mark.parametrize(
    ("text", "row"), [("[meta]\nname = oops\n", 2), ("[meta]\n\n[meta]\n", 3), ('[meta]\nname = "x', 2)]
)
def test_syntax_errors_name_the_line(tmp_path: Path, text: str, row: int) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(text)
    error = refusal(tmp_path / "bad.toml", text)
    assert "not valid TOML" in str(error)
    assert error.problems[0].row == row


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes('name = "é"'.encode("latin-1"))
    with pytest.raises(PriorError, match="UTF-8"):
        load_priors(tmp_path / "latin.toml")
    with pytest.raises(PriorError, match="no prior file"):
        load_priors(tmp_path / "none.toml")
    with pytest.raises(PriorError, match="no prior"):
        load_priors(tmp_path)
    needed = [q for q in (*PARAMETERS.values(), *LINKS.values()) if not q.optional]
    assert len(refusal(tmp_path / "empty.toml", "").problems) == len(needed) + 3
    assert "parameters is 3" in str(refusal(tmp_path / "odd.toml", "parameters = 3\nmeta = 2\nlink = []\n"))


def test_unknown_name_lists_what_exists() -> None:
    with pytest.raises(PriorError, match="Did you mean weakly_informative") as caught:
        load_priors("weakly_informativ")
    assert all(name in str(caught.value) for name in SHIPPED)
