"""`parameter_estimates`: every population parameter, before and after the data, beside the published estimate."""

from __future__ import annotations

import arviz as az
import numpy as np
import xarray as xr

from bayes_isa.data.published import PUBLISHED_EFFECTS, PUBLISHED_ESTIMATES
from bayes_isa.errors import ModelError
from bayes_isa.inference.correlations import pairs
from bayes_isa.inference.storage import population_variables, priors_of, spec_of
from bayes_isa.model.prior import Prior
from bayes_isa.model.prior_rules import KPD, LINKS, PARAMETERS
from bayes_isa.model.priors import PriorSet, load_priors
from bayes_isa.model.spec import ModelSpec

PUBLISHED_SET = "published_2023"
"""The prior set that holds the published estimates with their standard errors."""

_POINTS = 128  # over everything, and as many again where the posterior is
# Parameters that mean the same in another model only under these choices: elsewhere nothing published compares.
_COMPARABLE = {
    "KD_pop": {"effect": "emax", "exposure": "pk"},
    "EC50_pop": {"effect": "emax", "exposure": "pk"},
    "omega_KD": {"effect": "emax", "exposure": "pk"},
    "omega_EC50": {"effect": "emax", "exposure": "pk"},
    "Te": {"hazard": "loglogistic"},
    "s": {"hazard": "loglogistic"},
    "beta_link": {"link": "slope"},
}


def parameter_estimates(
    fit: xr.DataTree, *, level: float = 0.9, priors: PriorSet | None = None, spec: ModelSpec | None = None
) -> xr.Dataset:
    """Posterior, prior and published estimate (CPT:PSP 2023) of every population parameter that has a prior.

    level: of all intervals, central. priors, spec: those of the fit unless given.

    Returns a Dataset, dims (parameter, point): `median`, `low`, `high`, `mean`, `sd`; `prior_median`, `prior_low`,
    `prior_high`, `prior` (as written), `source`, `rationale`; `published`, `published_low`, `published_high` (normal,
    log-normal for positive parameters, from the printed standard error; NaN where nothing published compares); `unit`,
    `meaning`; for drawing, `value` with `posterior_density` and `prior_density`: of the log where `positive`. attrs
    "level", "prior_set", "without_prior" (parameters of the posterior not in the prior set). Raises ModelError for a
    fit without posterior, or a level that is no probability.
    """
    if "posterior" not in fit.children:
        raise ModelError("the fit has no group 'posterior': pass what `bayes_isa.fit` returned")
    if not 0.0 < level < 1.0:
        raise ModelError(f"level: expected a number between 0 and 1, found {level!r}")
    chosen = spec_of(fit) if spec is None else spec
    prior_set = priors_of(fit) if priors is None else priors
    posterior = fit["posterior"].to_dataset()
    known = prior_by_parameter(posterior, prior_set, chosen)
    published = load_priors(PUBLISHED_SET)
    rows = [
        _row(posterior, label, prior, published_prior(label, chosen, published), chosen, level)
        for label, prior in known.items()
    ]
    values: dict[str, tuple[object, ...]] = {
        name: ("parameter", np.array([row[name] for row in rows], dtype=object if name in _TEXTS else None))
        for name in rows[0]
        if name not in _CURVES
    }
    values |= {name: (("parameter", "point"), np.array([row[name] for row in rows])) for name in _CURVES}
    covered = {label.partition("[")[0] for label in known}
    population = population_variables(posterior)
    return xr.Dataset(
        values,
        coords={"parameter": np.array(list(known), dtype=object)},
        attrs={
            "level": level,
            "prior_set": prior_set.name,
            # The Cholesky factor is the matrix that has a prior in another form.
            "without_prior": [n for n in population if n not in {*covered, "correlation_cholesky"}],
        },
    )


_CURVES = ("value", "posterior_density", "prior_density")
_TEXTS = ("unit", "meaning", "prior", "source", "rationale")


def prior_by_parameter(posterior: xr.Dataset, priors: PriorSet, spec: ModelSpec) -> dict[str, Prior]:
    """The prior of every scalar population parameter by its label.

    Such as "KL_pop", "beta_M0[non_igg]" or "correlation[KL, KD]". Effects under a horseshoe share theirs, and none has
    one of its own.
    """
    known: dict[str, Prior] = {}
    order = [*priors.parameters, "beta_link"]  # then the effects of covariates
    names = map(str, posterior.data_vars)
    for name in sorted(names, key=lambda n: order.index(n) if n in order else len(order)):
        if name == "correlation":
            matrix = priors.parameter(name).of_rows(posterior.sizes["parameter"])
            known |= dict.fromkeys(pairs(posterior), matrix)
        elif name.endswith("_pop"):
            known[name] = priors.typical(name.removesuffix("_pop"), spec.exposure)
        elif name in priors.parameters:
            known[name] = priors.parameters[name]
        elif name == "beta_link":
            known[name] = priors.link(spec.link)
        elif spec.covariate_prior == "horseshoe":
            continue
        elif name.startswith("beta_") and f"covariate_{name[5:]}" in posterior[name].dims:
            for covariate in posterior[f"covariate_{name[5:]}"].to_numpy():
                known[f"{name}[{covariate}]"] = priors.covariate_effect(name[5:], str(covariate))
    return known


def entry_of(posterior: xr.Dataset, label: str) -> xr.DataArray:
    """Draws of the parameter of this label."""
    name, _, covariate = label.partition("[")
    if name == "correlation":
        return pairs(posterior)[label]
    values = posterior[name]
    return values.sel({f"covariate_{name[5:]}": covariate[:-1]}, drop=True) if covariate else values


def published_prior(label: str, spec: ModelSpec, published: PriorSet) -> Prior | None:
    """The published estimate with its standard error, of `PUBLISHED_SET`; None where nothing printed compares."""
    name, _, covariate = label.partition("[")
    if any(getattr(spec, choice) != value for choice, value in _COMPARABLE.get(name, {}).items()):
        return None
    if name == "correlation":
        return None
    if covariate:
        listed = PUBLISHED_EFFECTS.get(name[5:], {})
        return published.covariate_effect(name[5:], covariate[:-1]) if covariate[:-1] in listed else None
    if name not in PUBLISHED_ESTIMATES:
        return None
    return published.link(spec.link) if name == "beta_link" else published.parameters[name]


def _row(
    posterior: xr.Dataset, label: str, prior: Prior, published: Prior | None, spec: ModelSpec, level: float
) -> dict[str, object]:
    draws = entry_of(posterior, label).to_numpy().ravel()
    at = [(1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0]
    low, median, high = np.quantile(draws, at)
    printed = np.full(3, np.nan) if published is None else published.quantiles(at)
    prior_at = prior.quantiles(at)
    positive = prior.support()[0] >= 0.0
    value, density, prior_density = _densities(draws, prior, positive, np.concatenate([prior_at, printed]))
    return {
        "median": median,
        "low": low,
        "high": high,
        "mean": draws.mean(),
        "sd": draws.std(ddof=1) if draws.size > 1 else np.nan,
        "prior_low": prior_at[0],
        "prior_median": prior_at[1],
        "prior_high": prior_at[2],
        "published_low": printed[0],
        "published": printed[1],
        "published_high": printed[2],
        "positive": positive,
        "prior": str(prior),
        "source": prior.source,
        "rationale": prior.rationale,
        "unit": prior.unit,
        "meaning": _meaning(label, spec),
        "value": value,
        "posterior_density": density,
        "prior_density": prior_density,
    }


def _densities(
    draws: np.ndarray, prior: Prior, positive: bool, marks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid over posterior, prior interval and published interval, and both densities on it, of the log if positive.

    The posterior's by ArviZ's kernel estimate, 0 beyond its draws.
    """
    scale = np.log if positive else np.asarray
    x = scale(draws)
    at, estimated = x[:2], np.full(2, np.nan)  # a single value has no density
    if np.ptp(x) > 0.0:
        at, estimated, _ = az.kde(x)
    ends = np.concatenate([at[[0, -1]], scale(marks[np.isfinite(marks)])])
    hair = 1e-6 * np.ptp(at)  # beyond its ends the estimate falls to 0 at once
    coarse, fine = np.linspace(ends.min(), ends.max(), _POINTS), np.linspace(at[0], at[-1], _POINTS)
    grid = np.sort(np.concatenate([coarse, fine, [at[0] - hair, at[-1] + hair]]))
    density = np.interp(grid, at, estimated, left=0.0, right=0.0)
    value = np.exp(grid) if positive else grid
    prior_density = prior.scipy().pdf(value) * (value if positive else 1.0)
    return value, density, prior_density


def _meaning(label: str, spec: ModelSpec) -> str:
    name, _, covariate = label.partition("[")
    if name == "correlation":
        return f"correlation of the random effects of {' and '.join(covariate[:-1].split(', '))}"
    if covariate:
        target = "log hazard" if name == "beta_hazard" else f"log {name[5:]}"
        return f"effect of {covariate[:-1]} on {target}"
    if name == "beta_link":
        return LINKS[spec.link].meaning
    if spec.exposure == "kpd" and name in KPD:
        return KPD[name].meaning
    return PARAMETERS[name].meaning
