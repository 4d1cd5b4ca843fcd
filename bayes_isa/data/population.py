"""Virtual patients that look like the 201 of the two isatuximab studies at baseline.

Published for each study (CPT:PSP 2023, baseline table): medians and ranges of age, weight, eGFR,
beta-2-microglobulin (B2M) and albumin; shares of sex, race, IgG, plasmacytoma, cytogenetics and ISS stage.
Computed from other patients, newly diagnosed (n = 565): correlations of B2M, haemoglobin, creatinine,
albumin, LDH and age, and SDs of logs. Assumed, as nothing was printed: `ASSUMED`, `LENALIDOMIDE_REFRACTORY`,
the SDs of age and weight (the range over the 5.38 or 4.11 SDs that 170 or 31 normal draws span on average).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, stats

from bayes_isa.errors import DataError


@dataclass(frozen=True, slots=True)
class Marginal:
    """A continuous covariate: median, range and SD (of the log if `log`), a normal cut to the range.

    The location of the normal is such that the median after cutting is the published one.
    """

    median: float
    sd: float
    low: float = 0.0
    high: float = math.inf
    log: bool = True

    def quantile(self, u: np.ndarray) -> np.ndarray:
        """Values at the probabilities `u`, same shape, in the unit of `median`."""
        forward = np.log if self.log else np.asarray
        with np.errstate(divide="ignore"):  # log(0) is the open lower end
            low, median, high = (float(forward(x)) for x in (self.low, self.median, self.high))

        def cut(location: float) -> tuple[float, float]:
            return (low - location) / self.sd, (high - location) / self.sd

        def excess(location: float) -> float:
            return float(stats.truncnorm.ppf(0.5, *cut(location), loc=location, scale=self.sd)) - median

        location = optimize.brentq(excess, median - 10 * self.sd, median + 10 * self.sd)
        values = stats.truncnorm.ppf(u, *cut(location), loc=location, scale=self.sd)
        return np.exp(values) if self.log else np.asarray(values)


@dataclass(frozen=True, slots=True)
class Baseline:
    """The baseline table of one study; shares are counts or fractions, used as proportions."""

    study: str
    japanese: bool
    n: int
    continuous: Mapping[str, Marginal]
    female: float
    igg: float
    plasmacytoma: float
    iss: Mapping[
        str, int
    ]  # published, for comparison: the stage of a virtual patient follows from B2M and albumin
    race: Mapping[str | None, int]
    cytogenetics: Mapping[str | None, int]


# Not published for these studies. Haemoglobin, LDH: medians guessed, SDs of logs at diagnosis. ALP: guessed.
# Prior lines: median 4 to 5 in abstracts, range 2 to 14, SD guessed. Refractory: 80 to 90 % elsewhere.
ASSUMED: Mapping[str, Marginal] = {
    "haemoglobin_g_per_l": Marginal(105.0, 0.165),
    "ldh_uln_ratio": Marginal(0.8, 0.34),
    "alp_uln_ratio": Marginal(0.65, 0.4),
    "prior_lines": Marginal(4.5, 0.5, 1.5, 14.49),
}
LENALIDOMIDE_REFRACTORY = 0.85

NON_JAPANESE = Baseline(
    study="non-Japanese",
    japanese=False,
    n=170,
    continuous={
        "age_years": Marginal(65.0, 8.7, 37.0, 84.0, log=False),
        "weight_kg": Marginal(71.9, 0.25, 39.9, 153.0),
        "egfr_ml_per_min": Marginal(74.0, 0.52, 18.7, 186.0),
        "b2m_mg_per_l": Marginal(4.63, 0.69, 1.32, 19.5),
        "albumin_g_per_l": Marginal(35.0, 0.185, 22.0, 48.0),
    },
    female=0.471,
    igg=0.671,
    plasmacytoma=0.147,
    iss={"I": 45, "II": 61, "III": 64},
    race={"white": 142, "black": 12, "asian": 1, "other": 15},
    cytogenetics={"standard": 102, "high": 42, None: 26},
)
JAPANESE = Baseline(
    study="Japanese",
    japanese=True,
    n=31,
    continuous={
        "age_years": Marginal(71.0, 6.3, 56.0, 82.0, log=False),
        "weight_kg": Marginal(55.3, 0.17, 37.6, 75.0),
        "egfr_ml_per_min": Marginal(86.0, 0.52, 39.3, 217.0),
        "b2m_mg_per_l": Marginal(3.40, 0.69, 1.90, 12.7),
        "albumin_g_per_l": Marginal(36.0, 0.185, 18.0, 42.0),
    },
    female=0.419,
    igg=0.806,
    plasmacytoma=0.194,
    iss={"I": 12, "II": 15, "III": 4},
    race={"asian": 31},
    cytogenetics={"standard": 18, "high": 11, None: 2},
)
BASELINES = (NON_JAPANESE, JAPANESE)

# Spearman correlations. Creatinine was measured: for eGFR, which falls as it rises, the sign is reversed.
# Marrow plasma cells and CRP are left out: no model uses them, and the other correlations stay as they are.
CORRELATED = (
    "b2m_mg_per_l",
    "haemoglobin_g_per_l",
    "egfr_ml_per_min",
    "albumin_g_per_l",
    "ldh_uln_ratio",
    "age_years",
)
SPEARMAN: Mapping[tuple[str, str], float] = {
    ("b2m_mg_per_l", "haemoglobin_g_per_l"): -0.57,
    ("b2m_mg_per_l", "egfr_ml_per_min"): -0.56,
    ("b2m_mg_per_l", "albumin_g_per_l"): -0.29,
    ("haemoglobin_g_per_l", "albumin_g_per_l"): 0.34,
    ("b2m_mg_per_l", "ldh_uln_ratio"): 0.18,
    ("b2m_mg_per_l", "age_years"): 0.21,
}
DECIMALS = {
    "age_years": 0,
    "weight_kg": 1,
    "egfr_ml_per_min": 1,
    "b2m_mg_per_l": 2,
    "albumin_g_per_l": 1,
    "haemoglobin_g_per_l": 0,
    "ldh_uln_ratio": 2,
    "alp_uln_ratio": 2,
    "prior_lines": 0,
}

_ARMS = (
    ("non-Japanese", "3 mg/kg Q2W", 13),
    ("non-Japanese", "10 mg/kg Q2W", 14),
    ("non-Japanese", "10 mg/kg Q2W-Q4W", 17),
    ("non-Japanese", "20 mg/kg QW-Q2W", 88),
    ("non-Japanese", "20 mg/kg QW-Q2W + dex", 38),
    ("Japanese", "10 mg/kg QW-Q2W", 3),
    ("Japanese", "20 mg/kg QW-Q2W", 28),
)


def draw_population(
    n: int = 201, *, seed: int | np.random.Generator, japanese_fraction: float = 31 / 201
) -> pd.DataFrame:
    """Draw `n` virtual patients at baseline, one row each, in the columns of `patients.csv`.

    Indexed by `id` ("001", "002", ...), non-Japanese first; `n * japanese_fraction`, rounded, are Japanese.
    Within a study, continuous covariates are log-normal (age: normal) cut to the published range with the
    published median, tied by a Gaussian copula with the published rank correlations; a pair without one is
    independent given the others. The rest is independent. The ISS stage follows from B2M and albumin;
    its shares come within 6 percentage points of the published ones.

    Columns, besides those of `Baseline.continuous` and `ASSUMED` (units in the names): `japanese_study`,
    `female`, `asian`, `igg`, `plasmacytoma`, `lenalidomide_refractory` (0/1), `race`, `iss_stage` ("I", "II",
    "III"), `cytogenetics` ("standard", "high", missing).

    Assumed rather than published: haemoglobin, LDH, ALP and prior lines (`ASSUMED`); 85 % refractory to
    lenalidomide; that correlations at diagnosis hold at relapse and in both studies; that weight and sex are
    independent.

    Raises DataError for fewer than one patient or a fraction outside 0 to 1.
    """
    if n < 1:
        raise DataError(f"A population needs at least one patient, not {n}")
    if not 0 <= japanese_fraction <= 1:
        raise DataError(f"japanese_fraction is {japanese_fraction}; it must lie between 0 and 1")
    rng = np.random.default_rng(seed)
    n_japanese = math.floor(n * japanese_fraction + 0.5)
    counts = (n - n_japanese, n_japanese)
    groups = [_draw_group(table, count, rng) for table, count in zip(BASELINES, counts, strict=True) if count]
    patients = pd.concat(groups, ignore_index=True)
    width = max(3, len(str(n)))
    patients.index = pd.Index([f"{number:0{width}d}" for number in range(1, n + 1)], name="id")
    return patients


def study_arms() -> pd.DataFrame:
    """The arms of the studies: `study`, `arm` (short name of its regimen), `dexamethasone` 0/1, `n` modelled.

    Source: CPT:PSP 2023; parts of a study on the same regimen are one arm.
    """
    arms = pd.DataFrame(_ARMS, columns=["study", "arm", "n"])
    arms.insert(2, "dexamethasone", arms["arm"].str.endswith("+ dex").astype(int))
    return arms


def assign_arms(population: pd.DataFrame, *, seed: int | np.random.Generator) -> pd.DataFrame:
    """A copy of `population` with `study`, `arm` and `dexamethasone`, patients spread at random over arms.

    Each study's patients go to its arms in proportion to the published numbers (largest remainder): exactly
    those numbers for 170 non-Japanese and 31 Japanese patients. Raises DataError without a `japanese_study`
    column of 0/1.
    """
    if "japanese_study" not in population or not population["japanese_study"].isin([0, 1]).all():
        raise DataError("Arms are assigned by study: the population needs a column japanese_study of 0 and 1")
    # A stream of its own: given the population's seed, arms would reuse the numbers its covariates came from.
    rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng([seed, 1])
    arms = study_arms()
    chosen = np.empty(len(population), dtype=int)
    for table in BASELINES:
        members = np.flatnonzero(population["japanese_study"].to_numpy() == int(table.japanese))
        own = arms[arms["study"] == table.study]
        counts = _apportion(len(members), own["n"].to_numpy())
        chosen[rng.permutation(members)] = np.repeat(own.index.to_numpy(), counts)
    labels = arms.loc[chosen, ["study", "arm", "dexamethasone"]].set_index(population.index)
    return pd.concat([labels, population.drop(columns=labels.columns, errors="ignore")], axis=1)


def iss_stage(b2m_mg_per_l: np.ndarray, albumin_g_per_l: np.ndarray) -> np.ndarray:
    """International Staging System: I if B2M < 3.5 mg/L and albumin >= 35 g/L, III if B2M >= 5.5, else II."""
    stage = np.full(np.shape(b2m_mg_per_l), "II", dtype=object)
    stage[(b2m_mg_per_l < 3.5) & (albumin_g_per_l >= 35)] = "I"
    stage[b2m_mg_per_l >= 5.5] = "III"
    return stage


def latent_correlation() -> np.ndarray:
    """Pearson correlation of the copula's normals, in the order of `CORRELATED`.

    Given pairs: 2 sin(pi rho / 6). The others follow from the completion of largest determinant: independent
    given the rest, the choice that adds nothing. It is positive definite, so no repair is needed.
    """
    position = {name: i for i, name in enumerate(CORRELATED)}
    target = np.eye(len(CORRELATED))
    for (one, other), rho in SPEARMAN.items():
        i, j = position[one], position[other]
        target[i, j] = target[j, i] = 2 * math.sin(math.pi * rho / 6)
    cliques = [["b2m_mg_per_l", "haemoglobin_g_per_l", "albumin_g_per_l"]]
    cliques += [["b2m_mg_per_l", name] for name in ("egfr_ml_per_min", "ldh_uln_ratio", "age_years")]
    # Every clique shares only B2M (variance 1) with those before it: the precision is the sum of the cliques'
    # own, less one B2M for each clique but the first.
    precision = np.zeros_like(target)
    for clique in cliques:
        block = np.ix_(*[[position[name] for name in clique]] * 2)
        precision[block] += np.linalg.inv(target[block])
    precision[position["b2m_mg_per_l"], position["b2m_mg_per_l"]] -= len(cliques) - 1
    return np.linalg.inv(precision)


def _draw_group(table: Baseline, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """`n` patients of one study."""
    marginals = {**table.continuous, **ASSUMED}
    normals = rng.standard_normal((n, len(CORRELATED))) @ np.linalg.cholesky(latent_correlation()).T
    uniform = dict(zip(CORRELATED, stats.norm.cdf(normals).T, strict=True))
    uniform |= {name: rng.random(n) for name in marginals if name not in uniform}
    values = {name: np.round(m.quantile(uniform[name]), DECIMALS[name]) for name, m in marginals.items()}
    patients = pd.DataFrame(values).astype({"age_years": int, "prior_lines": int})
    flags = {
        "female": table.female,
        "igg": table.igg,
        "plasmacytoma": table.plasmacytoma,
        "lenalidomide_refractory": LENALIDOMIDE_REFRACTORY,
    }
    for name, share in flags.items():
        patients[name] = (rng.random(n) < share).astype(int)
    patients["japanese_study"] = int(table.japanese)
    patients["race"] = _draw_category(table.race, n, rng)
    patients["asian"] = (patients["race"] == "asian").astype(int)
    stage = iss_stage(patients["b2m_mg_per_l"].to_numpy(), patients["albumin_g_per_l"].to_numpy())
    patients["iss_stage"] = stage
    patients["cytogenetics"] = _draw_category(table.cytogenetics, n, rng)
    return patients


def _draw_category(counts: Mapping[str | None, int], n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` levels in proportion to `counts`, as objects; the level None is a missing value."""
    weights = np.array(list(counts.values()), dtype=float)
    return np.array(list(counts), dtype=object)[rng.choice(len(weights), size=n, p=weights / weights.sum())]


def _apportion(total: int, weights: np.ndarray) -> np.ndarray:
    """Whole numbers that add up to `total`, as close to `weights` as the largest-remainder rule gets."""
    quota = total * weights / weights.sum()
    counts = np.floor(quota).astype(int)
    largest = np.argsort(counts - quota, kind="stable")
    counts[largest[: total - counts.sum()]] += 1
    return counts
