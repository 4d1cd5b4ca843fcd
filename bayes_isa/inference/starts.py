"""Where chains start."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm

_SCATTER = 0.2


def initial_points(model: pm.Model) -> dict[str, Any]:
    """Arguments `initial_points` and `jitter_rvs` of nutpie: chains scattered around the model's own starts."""
    return {
        "initial_points": _scattered_starts(model),
        "jitter_rvs": _individual(model) | _correlations(model),
    }


def _individual(model: pm.Model) -> set[Any]:
    """Variables with a patient dimension: on the sampler's unit scale, where a jitter of 1 is a posterior SD."""
    return {rv for rv in model.free_RVs if "patient" in (model.named_vars_to_dims.get(rv.name) or ())}


def _correlations(model: pm.Model) -> set[Any]:
    """Factors of correlation matrices: a jitter of 1 on the sampler's scale reaches correlations of 0.7."""
    return {
        rv
        for rv in model.free_RVs
        if type(model.rvs_to_transforms.get(rv)).__name__ == "CholeskyCorrTransform"
    }


def _scattered_starts(model: pm.Model) -> dict[Any, Any]:
    """Random starting values of population parameters, drawn anew for each chain around the model's own.

    A fifth on the log scale (of the value, for effects) is two to four published standard errors: apart enough for
    R-hat to tell, close enough that no curve explodes. Without starting values in the model, none is made up.
    """
    starts = {}
    for rv in set(model.free_RVs) - _individual(model):
        value = model.rvs_to_initial_values.get(rv)
        if value is None or isinstance(value, str):
            continue
        value = np.asarray(value, dtype=float)
        if type(model.rvs_to_transforms.get(rv)).__name__ in ("LogTransform", "EffectAtReference"):
            starts[rv] = pm.LogNormal.dist(np.log(value), _SCATTER, shape=value.shape)
        elif model.rvs_to_transforms.get(rv) is None:
            starts[rv] = pm.Normal.dist(value, _SCATTER * np.maximum(np.abs(value), 0.5), shape=value.shape)
    return starts
