"""Many models of one form, sampled with code compiled once.

Compiling takes nutpie several times as long as sampling a small trial. Everything that differs between two trials of
the same size is a shared variable of the model (panels, measurements, events, covariates, sampling coordinates), whose
lengths the compiled code does not hold; nutpie exchanges them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.traversal import graph_inputs

from bayes_isa.errors import ModelError

# As `fit` scatters its chains: a fifth on the log scale, and a posterior SD of whitened individual parameters.
_SCATTER = 0.2
_LEAST_EFFECT = 0.5


@dataclass(frozen=True)
class CompiledForm:
    """Compiled code for every model with the variables of the one it was made from."""

    compiled: Any
    transforms: dict[str, Any]  # by variable: those the code was compiled with
    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, model: pm.Model) -> CompiledForm:
        """Compile a model made by `build_model`."""
        import nutpie

        return cls(nutpie.compile_pymc_model(model, backend="numba"), _transforms(model), _free_shapes(model))

    def sample(
        self, model: pm.Model, *, draws: int, tune: int, chains: int, seed: int, target_accept: float
    ) -> xr.DataTree:
        """Sample another model of the same form. Raises ModelError when its variables are not the same."""
        import nutpie

        try:
            return nutpie.sample(
                self.with_data_of(model),
                draws=draws,
                tune=tune,
                chains=chains,
                cores=1,
                seed=seed,
                target_accept=target_accept,
                save_warmup=False,
                progress_bar=False,
            )
        except RuntimeError as error:
            reason = " ".join(str(error).partition("Stack backtrace")[0].split())
            raise ModelError(f"the sampler stopped: {reason}") from error

    def with_data_of(self, model: pm.Model) -> Any:
        """The compiled model with the data and starting points of `model`."""
        if _free_shapes(model) != self.shapes:
            raise ModelError(
                f"the compiled code is for the variables {self.shapes}; found {_free_shapes(model)}: compile it anew"
            )
        known = {variable.name for variable in self.compiled.shared_var_keys}
        values = {name: value for name, value in _shared_values(model).items() if name in known}
        absent = known - set(values)
        if absent:
            raise ModelError(f"the model lacks the data {', '.join(sorted(absent))} of the compiled code")
        return replace(self.compiled.with_data(**values), initial_point_func=self._starts(model))

    def _starts(self, model: pm.Model) -> Callable[[Any], np.ndarray]:
        """Starting points of the sampler around the model's own, one for each seed."""
        values = {rv.name: _initial(model, rv) for rv in model.free_RVs}

        def start(seed: Any) -> np.ndarray:
            rng = np.random.default_rng(seed)
            natural = {
                name: value
                if name in ("phi", "eta", "log_M0")
                else _scattered(value, self.transforms[name], rng)
                for name, value in values.items()
            }
            parts = [
                self._unconstrained(rv.name, natural, rng)
                for rv in model.free_RVs  # nutpie's own order
            ]
            return np.concatenate([np.ravel(part) for part in parts])

        return start

    def _unconstrained(
        self, name: str, natural: dict[str, np.ndarray], rng: np.random.Generator
    ) -> np.ndarray:
        transform, value = self.transforms[name], natural[name]
        match type(transform).__name__:
            case "ResponseCoordinates":
                # Whitened at the estimate the model starts from: near it every patient is standard normal.
                return rng.uniform(-1.0, 1.0, value.shape)
            case "EffectAtReference":
                half = natural["EC50_pop"] + transform.saturation * transform.reference
                return np.log(value) + np.log(transform.reference) - np.log(half)
            case "LogTransform":
                return np.log(value)
            case "NoneType":
                return value
            case other:
                raise ModelError(f"{name}: no starting points for the transform {other}")


def _scattered(value: np.ndarray, transform: Any, rng: np.random.Generator) -> np.ndarray:
    noise = _SCATTER * rng.standard_normal(value.shape)
    if transform is None:
        return value + noise * np.maximum(np.abs(value), _LEAST_EFFECT)
    return value * np.exp(noise)


def _initial(model: pm.Model, rv: Any) -> np.ndarray:
    value = model.rvs_to_initial_values.get(rv)
    if value is None or isinstance(value, str):
        raise ModelError(f"{rv.name} has no starting value: expected a model made by build_model")
    return np.asarray(value, dtype=float)


def _transforms(model: pm.Model) -> dict[str, Any]:
    return {rv.name: model.rvs_to_transforms.get(rv) for rv in model.free_RVs}


def _free_shapes(model: pm.Model) -> dict[str, tuple[int, ...]]:
    return {rv.name: _initial(model, rv).shape for rv in model.free_RVs}


def _shared_values(model: pm.Model) -> dict[str, np.ndarray]:
    """Values of the model's named shared variables."""
    roots = graph_inputs([*model.basic_RVs, *(model.rvs_to_values[rv] for rv in model.observed_RVs)])
    found = {v.name: v.get_value() for v in roots if isinstance(v, SharedVariable) and v.name}
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
