"""`fit`: sample the posterior of a model made by `build_model`."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pymc as pm
import xarray as xr

from bayes_isa.data.covariates import find_covariate
from bayes_isa.errors import BayesIsaWarning, ModelError
from bayes_isa.inference.chains import ChainProgress, Job, run_jobs
from bayes_isa.inference.compiled_model import compiled_model
from bayes_isa.inference.settings import SamplerSettings
from bayes_isa.inference.storage import FORMAT, trial_dataset
from bayes_isa.model.build import KPD_UNITS, UNITS, record_of
from bayes_isa.model.imputation import imputed

_VERSIONED = ("bayes-isa", "pymc", "pytensor", "nutpie", "numba", "numpy", "xarray", "arviz")
Progress = Callable[[Sequence[ChainProgress]], None]


def fit(
    model: pm.Model,
    *,
    draws: int = 1000,
    tune: int = 500,
    chains: int = 4,
    seed: int | None = None,
    sampler: Literal["nutpie", "pymc"] = "nutpie",
    target_accept: float | None = None,
    cores: int | None = None,
    store: str | Path | None = None,
    resume: bool | str | Path = False,
    progressbar: bool = True,
    progress_callback: Progress | None = None,
    **sampler_options: Any,
) -> xr.DataTree:
    """Sample the posterior with NUTS.

    Returns a DataTree: `posterior`, `sample_stats` (both chain, draw, ...), `observed_data`, `constant_data`, `trial`;
    in its attrs the specification and priors (JSON), seed, sampler settings, package versions, and the times that
    compiling and sampling took in seconds (PyMC's sampler does both at once). target_accept: by default 0.9, and more
    for fewer than 201 patients (`bayes_isa.inference.settings.default_target_accept`). `sampler_options` go to
    `nutpie.sample` or `pymc.sample`. Raises ModelError for settings that make no sense, or when the sampler cannot
    start.

    store: directory that the draws stream to; what has a patient dimension is then read from there when it is used.
    Whatever ends the process, `resume=True` takes up the run in `store`, or extends it when more draws are asked for
    than it was begun with; a path instead of True extends the fit in that file, made with a store, in a new one. A
    chain goes on from its last draw after some re-tuning draws that are not kept; the attribute `segments` says so.
    """
    settings = SamplerSettings(draws, tune, chains, seed, sampler, target_accept, cores, sampler_options)
    return fit_with(
        model,
        settings,
        store=store,
        resume=resume,
        progressbar=progressbar,
        progress_callback=progress_callback,
    )


def fit_with(
    model: pm.Model,
    settings: SamplerSettings,
    *,
    store: str | Path | None = None,
    resume: bool | str | Path = False,
    progressbar: bool = True,
    progress_callback: Progress | None = None,
) -> xr.DataTree:
    """`fit` with its settings in one object."""
    if store is None and resume is not False:
        raise ModelError("resume: expected a store to resume in, found none; give `store`")
    if store is None:
        result = _fit_in_memory(model, for_model(settings, model), progressbar, progress_callback)
    else:
        from bayes_isa.inference.resume import fit_in_store

        result = fit_in_store(model, settings, Path(store), resume, progressbar, progress_callback)
    if record_of(model) is None:
        warnings.warn(
            "the model was not made by build_model, so the fit carries no trial, specification or priors",
            BayesIsaWarning,
            stacklevel=3,
        )
    return result


def for_model(settings: SamplerSettings, model: pm.Model) -> SamplerSettings:
    """The settings with what they leave to the model."""
    record = record_of(model)
    return settings.for_patients(None if record is None else record.data.trial.n_patients)


def _fit_in_memory(
    model: pm.Model, settings: SamplerSettings, progressbar: bool, callback: Progress | None
) -> xr.DataTree:
    about = fit_without_draws(model, settings)
    started = time.monotonic()
    times = {}
    if settings.sampler == "nutpie":
        compiled = compiled_model(model)
        times["compile_seconds"] = time.monotonic() - started
        started = time.monotonic()
        result = _nutpie(compiled, settings, progressbar, callback)
    else:
        result = pm.sample(
            draws=settings.draws,
            tune=settings.tune,
            chains=settings.chains,
            random_seed=settings.seed,
            model=model,
            progressbar=progressbar,
            nuts_sampler="pymc",
            target_accept=settings.target_accept,
            cores=settings.cores,
            **settings.options,
        )
    posterior, units = result["posterior"].to_dataset(), units_of(model)
    for name in set(units) & set(posterior.data_vars):
        posterior[name].attrs["units"] = units[name]
    groups = {"posterior": posterior, "sample_stats": result["sample_stats"].to_dataset()}
    tree = xr.DataTree.from_dict({**groups, **{n: c.to_dataset() for n, c in about.children.items()}})
    tree.attrs = {**about.attrs, **times, "sampling_seconds": time.monotonic() - started}
    return tree


def _nutpie(
    compiled: Any, settings: SamplerSettings, progressbar: bool, callback: Progress | None
) -> xr.DataTree:
    """Draws of nutpie kept in memory; after Ctrl-C those that every chain has."""
    assert settings.seed is not None
    job = Job(settings.chains, settings.draws, settings.tune, settings.seed)
    (result,), reason = run_jobs(compiled, [job], settings, progressbar=progressbar, callback=callback)
    if isinstance(reason, ModelError) or result is None:
        raise reason or ModelError("the sampler gave no draws")
    if reason is None:
        return result
    # Chains that were stopped at different draws are filled up with NaN.
    whole = int(np.isfinite(result["sample_stats"]["logp"].to_numpy()).sum(axis=1).min())
    if whole == 0:
        raise reason
    warnings.warn(
        f"interrupted: {whole} of {settings.draws} draws a chain are kept", BayesIsaWarning, stacklevel=5
    )
    return xr.DataTree.from_dict(
        {name: child.to_dataset().isel(draw=slice(0, whole)) for name, child in result.children.items()}
    )


def fit_without_draws(model: pm.Model, settings: SamplerSettings) -> xr.DataTree:
    """What is known of a fit before sampling: data, specification, priors, settings and versions."""
    record = record_of(model)
    groups: dict[str, xr.Dataset] = {"observed_data": _observed(model)}
    attrs: dict[str, Any] = {
        **settings.attrs(),
        **{name.replace("-", "_"): version(name) for name in _VERSIONED},
        "bayes_isa_format": FORMAT,
    }
    if record is not None:
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
        attrs |= {
            "spec": json.dumps(data.spec.to_dict()),
            # Whole, so that the file they were read from, a path of this machine, does not matter.
            "priors": json.dumps(record.priors.to_dict() | {"path": None}),
            "trial_name": data.trial.name,
            "left_out": json.dumps(dict(data.left_out)),
        }
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = attrs
    return tree


def units_of(model: pm.Model) -> Mapping[str, str]:
    """Units by variable."""
    record = record_of(model)
    if record is None:
        return UNITS
    own = {"beta_link": record.data.link_unit}
    if record.data.spec.exposure == "kpd":
        own |= KPD_UNITS
    if record.data.imputation is not None:
        trial = record.data.trial
        own |= {
            imputed(name): find_covariate(trial, name).description for name in record.data.imputation.names
        }
    return {**UNITS, **own}


def _observed(model: pm.Model) -> xr.Dataset:
    variables = {}
    for rv in model.observed_RVs:
        value = model.rvs_to_values[rv]
        data = value.get_value() if hasattr(value, "get_value") else value.data
        dims = [str(dim) for dim in model.named_vars_to_dims[rv.name]]
        variables[rv.name] = (dims, np.asarray(data), {"units": UNITS.get(rv.name, "")})
    used = {dim for dims, *_ in variables.values() for dim in dims}
    coords = {dim: list(values) for dim, values in model.coords.items() if dim in used}
    return xr.Dataset(variables, coords=coords)
