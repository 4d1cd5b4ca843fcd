"""`covariate_effects`: what covariates do to parameters and hazard, as ratios between two stated patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.data.covariates import (
    ANY_DEXAMETHASONE,
    BASELINE_MPROTEIN,
    Covariate,
    design_matrix,
    find_covariate,
    source_values,
)
from bayes_isa.errors import ModelError
from bayes_isa.inference.estimates import PUBLISHED_SET, published_prior
from bayes_isa.inference.storage import spec_of, trial_of
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import TARGETS, ModelSpec

# The 10th and 90th of the patients: values seen, not extremes, as forest plots of covariate effects usually have it.
_PERCENTILES = (10.0, 90.0)
_UNITS = {
    "g_per_l": "g/L",
    "mg_per_l": "mg/L",
    "uln_ratio": "times upper limit",
    "kg": "kg",
    "years": "years",
}


def covariate_effects(
    fit: xr.DataTree,
    *,
    percentiles: Sequence[float] = _PERCENTILES,
    level: float = 0.9,
    trial: Trial | None = None,
    spec: ModelSpec | None = None,
) -> xr.Dataset:
    """Ratio of a parameter, or of the hazard, between two patients who differ in one covariate alone.

    Continuous covariates: each of `percentiles` of the fitted patients against their median. Others: 1 against 0.
    level: of the intervals.

    Returns a Dataset, dim contrast: `median`, `low`, `high` (ratios), `published`, `published_low`, `published_high`
    (ratios at the published estimate and its standard error, NaN where none compares), `target`, `covariate`,
    `probability_above_1`; the contrast says the values compared. attrs "level". Raises ModelError for a fit without
    covariate effects.
    """
    if "posterior" not in fit.children:
        raise ModelError("the fit has no group 'posterior': pass what `bayes_isa.fit` returned")
    if not 0.0 < level < 1.0 or not all(0.0 < p < 100.0 for p in percentiles):
        raise ModelError(
            f"expected level in (0, 1) and percentiles in (0, 100), found {level!r}, {percentiles!r}"
        )
    whole = trial_of(fit) if trial is None else trial
    chosen = spec_of(fit) if spec is None else spec
    posterior = fit["posterior"].to_dataset()
    published_set = load_priors(PUBLISHED_SET)
    rows = []
    for target in TARGETS:
        if f"beta_{target}" not in posterior:
            continue
        names = [str(name) for name in posterior[f"covariate_{target}"].to_numpy()]
        for name in names:
            draws = posterior[f"beta_{target}"].sel({f"covariate_{target}": name}).to_numpy().ravel()
            covariate = find_covariate(whole, name)
            published = published_prior(f"beta_{target}[{name}]", chosen, published_set)
            for text, step in _contrasts(whole, covariate, percentiles):
                rows.append(_row(target, name, text, step * draws, level))
                at = [(1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0]
                printed = np.full(3, np.nan) if published is None else step * published.quantiles(at)
                rows[-1] |= dict(
                    zip(
                        ("published_low", "published", "published_high"),
                        np.sort(np.exp(printed)),
                        strict=True,
                    )
                )
    if not rows:
        raise ModelError("the fit has no covariate effects: its model was built without covariates")
    labels = np.array([row.pop("contrast") for row in rows], dtype=object)
    variables = {name: ("contrast", np.array([row[name] for row in rows])) for name in rows[0]}
    return xr.Dataset(variables, coords={"contrast": labels}, attrs={"level": level})


def _contrasts(trial: Trial, covariate: Covariate, percentiles: Sequence[float]) -> list[tuple[str, float]]:
    """Texts of what is compared, and the difference of the coded covariate between the two."""
    if not covariate.is_continuous:
        return [(_flag_text(covariate), 1.0)]
    center = design_matrix(trial, [covariate.name]).attrs["centers"][covariate.name]
    values = source_values(trial, covariate).dropna().to_numpy(dtype=float)
    what, unit = _quantity(covariate.source)
    found = []
    for value in np.percentile(values, percentiles):
        if value == center:
            continue  # a covariate of few values: the percentile is the median
        step = np.log(value / center) if covariate.kind == "log" else value - center
        found.append((f"{what} {value:.3g} against {center:.3g}{f' {unit}' if unit else ''}", float(step)))
    return found


def _flag_text(covariate: Covariate) -> str:
    if covariate.source == ANY_DEXAMETHASONE:
        return "with dexamethasone against without"
    if covariate.kind == "level":
        return f"{covariate.source} {covariate.level} against levels without an effect"
    text = covariate.description.removeprefix("1: ").removesuffix(" as 0/1").removesuffix(" at baseline")
    return f"{text.replace('_', ' ')} against not"


def _quantity(source: str) -> tuple[str, str]:
    """What a column holds and its unit, from its name."""
    if source == BASELINE_MPROTEIN:
        return "baseline M-protein", "g/L"
    for ending, unit in _UNITS.items():
        if source.endswith(f"_{ending}"):
            stem = source.removesuffix(f"_{ending}")
            return (stem.upper() if len(stem) <= 3 else stem.replace("_", " ")), unit
    return source.replace("_", " "), ""


def _row(target: str, covariate: str, text: str, log_ratio: np.ndarray, level: float) -> dict[str, object]:
    low, median, high = np.exp(np.quantile(log_ratio, [(1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0]))
    return {
        "contrast": f"{target}: {text}",
        "target": target,
        "covariate": covariate,
        "low": low,
        "median": median,
        "high": high,
        "probability_above_1": float((log_ratio > 0.0).mean()),
    }
