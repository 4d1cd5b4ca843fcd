"""`covariate_selection`: which of many candidate covariates act, under the regularised horseshoe."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.data.covariates import design_matrix, find_covariate
from bayes_isa.errors import ModelError
from bayes_isa.inference.storage import priors_of, spec_of, stack_draws, trial_of
from bayes_isa.model.horseshoe import Horseshoe, shrinkage_factor
from bayes_isa.model.horseshoe_effects import information, spreads
from bayes_isa.model.priors import PriorSet
from bayes_isa.model.spec import TARGETS, ModelSpec

# Changes within 0.80 to 1.25 are those that bioequivalence disregards and forest plots of covariate effects shade as
# not relevant (Menon-Andersen et al. 2011, doi:10.1111/j.1365-2125.2010.03823.x).
_RELEVANT_RATIO = 1.25
_HALF = 0.5

KEEP: Mapping[str, Callable[[xr.Dataset], xr.DataArray]] = MappingProxyType(
    {
        "shrinkage": lambda found: found["shrinkage"] < _HALF,
        "interval": lambda found: (found["low"] > 0.0) | (found["high"] < 0.0),
        "relevant": lambda found: found["probability_relevant"] > _HALF,
    }
)
"""Rules by which an effect is kept, see `covariate_selection`."""


def covariate_selection(
    fit: xr.DataTree,
    *,
    keep: str = "shrinkage",
    relevant_ratio: float = _RELEVANT_RATIO,
    level: float = 0.9,
    trial: Trial | None = None,
    spec: ModelSpec | None = None,
    priors: PriorSet | None = None,
) -> xr.Dataset:
    """What the data say of every candidate effect, and which are kept.

    keep: "shrinkage" (posterior mean of kappa below 1/2: more signal than noise; Carvalho, Polson and Scott 2010,
    doi:10.1093/biomet/asq017), "interval" (the central interval excludes 0) or "relevant" (more likely than not
    beyond `relevant_ratio`). relevant_ratio: of the parameter or the hazard, either way, for one SD of a continuous
    covariate or 1 against 0. level: of the intervals. trial, spec, priors: those of the fit unless given.

    Returns a Dataset, dims (effect, target). By effect ("beta_KL[log_age_years]"): `mean`, `low`, `high` on the
    model's own scale; `ratio`, `ratio_low`, `ratio_high` (median, interval) for `step`, one SD or 1; `shrinkage`,
    posterior mean of kappa = 1 / (1 + n tau^2 lambda~^2 s^2 / sigma^2), 1 for an effect shrunk away (Piironen and
    Vehtari 2017, doi:10.1214/17-EJS1337SI; for individual parameters as if patients' own were known);
    `probability_relevant`, `probability_above_0`; `kept`; coordinates `of` (its target) and `covariate`. By target:
    `effective`, `effective_low`, `effective_high`, the number of effects not shrunk away, sum of 1 - kappa;
    `expected` a priori, p0; `candidates`. `reduced_spec` takes it further. attrs "keep", "relevant_ratio", "level",
    "spec" (JSON).

    Choosing and estimating from the same data makes kept effects look surer than they are: the full fit is the one to
    quote, the reduced one is to be compared with it by `compare_models`. Raises ModelError for a fit without a
    horseshoe, an unknown rule, or numbers that make no sense.
    """
    chosen = spec_of(fit) if spec is None else spec
    _check(fit, chosen, keep, relevant_ratio, level)
    whole = trial_of(fit) if trial is None else trial
    horseshoe = (priors_of(fit) if priors is None else priors).of_horseshoe()
    posterior = fit["posterior"].to_dataset()
    targets = [
        _target(whole, posterior, name, horseshoe, imputed=chosen.imputes)
        for name in TARGETS
        if f"tau_{name}" in posterior
    ]
    found = xr.Dataset(
        _by_effect(targets, relevant_ratio, level) | _by_target(targets, horseshoe, level),
        coords={
            "effect": [f"beta_{t.name}[{covariate}]" for t in targets for covariate in t.covariates],
            "of": ("effect", [t.name for t in targets for _ in t.covariates]),
            "covariate": ("effect", [covariate for t in targets for covariate in t.covariates]),
            "target": [t.name for t in targets],
        },
        attrs={
            "keep": keep,
            "relevant_ratio": relevant_ratio,
            "level": level,
            "spec": json.dumps(chosen.to_dict()),
        },
    )
    return found.assign(kept=KEEP[keep](found))


def reduced_spec(selection: xr.Dataset, *, covariate_prior: str = "normal") -> ModelSpec:
    """The specification of the fit with the kept effects alone.

    covariate_prior: of those effects; "normal" by default, as they are taken to act. Raises ModelError for a Dataset
    that `covariate_selection` did not return.
    """
    if "kept" not in selection or "spec" not in selection.attrs:
        raise ModelError("expected what `covariate_selection` returns")
    kept = selection.sel(effect=selection["kept"])
    names = kept["covariate"].to_numpy()
    covariates = {
        str(target): tuple(str(name) for name in names[kept["of"].to_numpy() == target])
        for target in selection["target"].to_numpy()
    }
    full = ModelSpec(**json.loads(selection.attrs["spec"]))
    return replace(full, covariates=covariates, covariate_prior=covariate_prior)


@dataclass(frozen=True)
class _Target:
    """Candidates of one target: draws of their effects and shrinkage factors (sample, covariate), and steps."""

    name: str
    covariates: tuple[str, ...]
    beta: np.ndarray
    kappa: np.ndarray
    step: np.ndarray


def _check(fit: xr.DataTree, spec: ModelSpec, keep: str, relevant_ratio: float, level: float) -> None:
    if "posterior" not in fit.children:
        raise ModelError("the fit has no group 'posterior': pass what `bayes_isa.fit` returned")
    if not any(f"tau_{target}" in fit["posterior"] for target in TARGETS):
        raise ModelError(
            f"expected a fit with covariate effects under a horseshoe, found covariate_prior={spec.covariate_prior!r}: "
            'build its model with ModelSpec(covariates=all_covariates(trial), covariate_prior="horseshoe")'
        )
    if keep not in KEEP:
        raise ModelError(f"keep: expected one of {', '.join(KEEP)}, found {keep!r}")
    if not relevant_ratio > 1.0 or not 0.0 < level < 1.0:
        raise ModelError(
            f"expected relevant_ratio above 1 and level in (0, 1), found {relevant_ratio!r} and {level!r}"
        )


def _target(
    trial: Trial, posterior: xr.Dataset, name: str, horseshoe: Horseshoe, *, imputed: bool
) -> _Target:
    flat = stack_draws(posterior[[f"beta_{name}", f"tau_{name}", f"lambda_{name}"]])
    covariates = tuple(str(c) for c in flat[f"covariate_{name}"].to_numpy())
    spread = spreads(design_matrix(trial, covariates), imputed=imputed)
    continuous = [find_covariate(trial, covariate).is_continuous for covariate in covariates]
    kappa = shrinkage_factor(
        flat[f"tau_{name}"],
        flat[f"lambda_{name}"],
        horseshoe.slab_in_errors(information(trial, name)),
    )
    return _Target(
        name,
        covariates,
        flat[f"beta_{name}"].transpose("sample", ...).to_numpy(),
        kappa.transpose("sample", ...).to_numpy(),
        np.where(continuous, spread, 1.0),
    )


def _by_effect(targets: list[_Target], relevant_ratio: float, level: float) -> dict[str, tuple[object, ...]]:
    beta, kappa = (
        np.concatenate([getattr(t, which) for t in targets], axis=1) for which in ("beta", "kappa")
    )
    step = np.concatenate([t.step for t in targets])
    low, median, high = np.quantile(beta, _ends(level), axis=0)
    values = {
        "mean": beta.mean(axis=0),
        "low": low,
        "high": high,
        "step": step,
        "ratio": np.exp(step * median),
        "ratio_low": np.exp(step * low),
        "ratio_high": np.exp(step * high),
        "shrinkage": kappa.mean(axis=0),
        "probability_relevant": (np.abs(step * beta) > np.log(relevant_ratio)).mean(axis=0),
        "probability_above_0": (beta > 0.0).mean(axis=0),
    }
    units = {"mean": "log per unit", "low": "log per unit", "high": "log per unit"}
    return {name: ("effect", each, {"units": units.get(name, "1")}) for name, each in values.items()}


def _by_target(targets: list[_Target], horseshoe: Horseshoe, level: float) -> dict[str, tuple[object, ...]]:
    number = [(1.0 - t.kappa).sum(axis=1) for t in targets]
    low, _, high = np.quantile(number, _ends(level), axis=1)
    candidates = np.array([len(t.covariates) for t in targets])
    values = {
        "effective": np.mean(number, axis=1),
        "effective_low": low,
        "effective_high": high,
        "expected": np.array([horseshoe.expected(count) for count in candidates]),
        "candidates": candidates,
    }
    return {name: ("target", each, {"units": "1"}) for name, each in values.items()}


def _ends(level: float) -> list[float]:
    return [(1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0]
