"""`fit`: sample the posterior of a model made by `build_model`."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import pymc as pm
import xarray as xr

from bayes_isa.errors import BayesIsaWarning, ModelError
from bayes_isa.inference.storage import FORMAT, trial_dataset
from bayes_isa.model.build import UNITS, ModelRecord, record_of

# Above the usual 0.8: smaller steps collide less with the walls that growth makes of the hazard (about one draw in a
# thousand of the built-in trial at 0.9); the fits reported with this package were made at 0.9.
_TARGET_ACCEPT = 0.9
_SCATTER = 0.2
_VERSIONED = ("bayes-isa", "pymc", "pytensor", "nutpie", "numba", "numpy", "xarray", "arviz")


def fit(
    model: pm.Model,
    *,
    draws: int = 1000,
    tune: int = 500,
    chains: int = 4,
    seed: int | None = None,
    sampler: Literal["nutpie", "pymc"] = "nutpie",
    target_accept: float = _TARGET_ACCEPT,
    cores: int | None = None,
    progressbar: bool = True,
    progress_callback: Callable[..., None] | None = None,
    **sampler_options: Any,
) -> xr.DataTree:
    """Sample the posterior with NUTS.

    Returns a DataTree: `posterior`, `sample_stats` (both chain, draw, ...), `observed_data`, `constant_data`, `trial`;
    in its attrs the specification and priors (JSON), seed, sampler settings, package versions, and the times that
    compiling and sampling took in seconds (PyMC's sampler does both at once). `sampler_options` go to `nutpie.sample`
    or `pymc.sample`. Raises ModelError for settings that make no sense, or when the sampler cannot start.
    """
    _check_settings(draws=draws, tune=tune, chains=chains, target_accept=target_accept)
    record = record_of(model)
    used_seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else int(seed)
    started = time.monotonic()
    options = {"target_accept": target_accept, "cores": cores, **sampler_options}
    times = {}
    if sampler == "nutpie":
        compiled = _compiled(model)
        times["compile_seconds"] = time.monotonic() - started
        started = time.monotonic()
        result = _nutpie(compiled, draws, tune, chains, used_seed, progressbar, progress_callback, options)
    elif sampler == "pymc":
        result = pm.sample(
            draws=draws,
            tune=tune,
            chains=chains,
            random_seed=used_seed,
            model=model,
            progressbar=progressbar,
            nuts_sampler="pymc",
            **options,
        )
    else:
        raise ModelError(f"sampler: expected 'nutpie' or 'pymc', found {sampler!r}")
    settings = {
        "seed": used_seed,
        "sampler": sampler,
        "draws": draws,
        "tune": tune,
        "chains": chains,
        "target_accept": target_accept,
        **times,
        "sampling_seconds": time.monotonic() - started,
    }
    return _labelled(result, model, record, settings)


def _check_settings(*, draws: int, tune: int, chains: int, target_accept: float) -> None:
    wrong = [
        f"{name}: expected a whole number of at least 1, found {value!r}"
        for name, value in (("draws", draws), ("tune", tune), ("chains", chains))
        if int(value) != value or value < 1
    ]
    if not 0.0 < target_accept < 1.0:
        wrong.append(f"target_accept: expected a number between 0 and 1, found {target_accept!r}")
    if wrong:
        raise ModelError("; ".join(wrong))


def _compiled(model: pm.Model) -> Any:
    import nutpie

    return nutpie.compile_pymc_model(
        model, backend="numba", initial_points=_scattered_starts(model), jitter_rvs=_individual(model)
    )


def _nutpie(
    compiled: Any,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    progressbar: bool,
    callback: Callable[..., None] | None,
    options: dict[str, Any],
) -> xr.DataTree:
    import nutpie

    try:
        return nutpie.sample(
            compiled,
            draws=draws,
            tune=tune,
            chains=chains,
            seed=seed,
            save_warmup=False,
            progress_bar=progressbar,
            progress_callback=callback,
            **{name: value for name, value in options.items() if value is not None},
        )
    except RuntimeError as error:
        reason = " ".join(str(error).partition("Stack backtrace")[0].split())
        raise ModelError(
            f"the sampler stopped: {reason}; if no starting point was found, the usual cause is a prior or "
            "a data value that makes curves overflow: look at `bayes_isa.prior_check` and `model.point_logps()`"
        ) from error


def _individual(model: pm.Model) -> set[Any]:
    """Variables with a patient dimension: on the sampler's unit scale, where a jitter of 1 is a posterior SD."""
    return {rv for rv in model.free_RVs if "patient" in (model.named_vars_to_dims.get(rv.name) or ())}


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


def _labelled(
    result: xr.DataTree, model: pm.Model, record: ModelRecord | None, settings: dict[str, Any]
) -> xr.DataTree:
    posterior = result["posterior"].to_dataset()
    for name, unit in UNITS.items():
        if name in posterior:
            posterior[name].attrs["units"] = unit
    groups: dict[str, xr.Dataset] = {
        "posterior": posterior,
        "sample_stats": result["sample_stats"].to_dataset(),
        "observed_data": _observed(model),
    }
    attrs: dict[str, Any] = {**settings, **{name.replace("-", "_"): version(name) for name in _VERSIONED}}
    attrs["bayes_isa_format"] = FORMAT
    if record is None:
        warnings.warn(
            "the model was not made by build_model, so the fit carries no trial, specification or priors",
            BayesIsaWarning,
            stacklevel=3,
        )
    else:
        data = record.data
        groups["constant_data"] = xr.Dataset(
            {
                "event": ("patient", data.event),
                "lloq": ("measurement", data.lloq, {"units": "g/L"}),
                "below_lloq": ("measurement", data.below),
                "measurement_day": ("measurement", data.trial.mprotein["day"].to_numpy(), {"units": "day"}),
                "measurement_patient": (
                    "measurement",
                    data.trial.mprotein["id"].to_numpy(dtype=str).astype(object),
                ),
            },
            coords={"patient": data.patient_ids, "measurement": np.arange(data.value.size)},
        )
        groups["trial"] = trial_dataset(data.trial)
        if "beta_link" in posterior:
            posterior["beta_link"].attrs["units"] = data.link_unit
        attrs |= {
            "spec": json.dumps(data.spec.to_dict()),
            "priors": json.dumps(record.priors.to_dict()),
            "trial_name": data.trial.name,
            "left_out": json.dumps(dict(data.left_out)),
        }
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = attrs
    return tree


def _observed(model: pm.Model) -> xr.Dataset:
    variables = {}
    for rv in model.observed_RVs:
        value = model.rvs_to_values[rv]
        data = value.get_value() if hasattr(value, "get_value") else value.data
        dims = [str(dim) for dim in model.named_vars_to_dims[rv.name]]
        variables[rv.name] = (dims, np.asarray(data), {"units": UNITS.get(rv.name, "")})
    coords = {dim: list(values) for dim, values in model.coords.items() if dim in ("patient", "measurement")}
    return xr.Dataset(variables, coords=coords)
