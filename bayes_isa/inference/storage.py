"""Fits on disk: a fit is a DataTree that carries its trial, specification and priors, so that it can be used alone."""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.data.trial import TABLES
from bayes_isa.errors import BayesIsaWarning, ModelError, Problem
from bayes_isa.inference.disk import require_writable, write_netcdf
from bayes_isa.model.priors import PriorSet
from bayes_isa.model.spec import ModelSpec

# Raised when what is stored changes so that older files cannot be read as they are.
FORMAT = 1
_INDEXED = ("patients", "pfs")


def save_fit(fit: xr.DataTree, path: str | Path) -> Path:
    """Write `fit` to a netCDF-4 file, all of it or nothing, and return its path.

    Raises ModelError when the place is full or cannot be written to; an older file there is then as it was.
    """
    target = Path(path)
    require_writable(target)
    write_netcdf(fit, target)
    return target


def partial_store(path: Path) -> Path:
    """Where the draws of a fit are while it is not finished: beside the file it is going to be."""
    return path.with_name(f"{path.name}.partial.zarr")


def load_fit(path: str | Path) -> xr.DataTree:
    """Read what `save_fit` wrote, or the draws so far from the store of an unfinished run.

    Raises ModelError for a file that is absent, not netCDF, or not a fit, and for a store without draws.
    """
    source = Path(path)
    if source.is_dir():
        return _unfinished(source)
    if not source.is_file():
        raise ModelError(f"{source}: no such file; `bayes-isa fit DATA --out {source}` writes one")
    try:
        fit = xr.load_datatree(source, engine="h5netcdf")
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{source}: expected a netCDF file written by bayes_isa, found something else ({error})"
        ) from error
    if "bayes_isa_format" not in fit.attrs or "posterior" not in fit.children:
        raise ModelError(f"{source}: a netCDF file, but not a fit: it has no posterior written by bayes_isa")
    if int(fit.attrs["bayes_isa_format"]) > FORMAT:
        raise ModelError(
            f"{source}: written by a newer bayes_isa ({fit.attrs.get('bayes_isa')}); upgrade to read it"
        )
    return fit


def _unfinished(store: Path) -> xr.DataTree:
    from bayes_isa.inference.run_store import RunStore  # which needs the sampler, slow to import

    run = RunStore.open(store)
    fit = run.fit()
    asked, have = int(run.about.attrs["draws"]), run.finished()
    if min(have) < asked:
        warnings.warn(
            f"{store}: a run with {min(have)} to {max(have)} of {asked} draws in its {len(have)} chains; "
            f"taken are {fit.attrs['draws']} of each of {fit['posterior'].sizes['chain']} chains",
            BayesIsaWarning,
            stacklevel=3,
        )
    return fit


def trial_dataset(trial: Trial) -> xr.Dataset:
    """The trial's four tables as CSV texts, exact to the last digit, and what its checks warned of."""
    texts = {name: getattr(trial, name).to_csv(index=name in _INDEXED) for name in TABLES}
    kinds = {name: json.dumps(getattr(trial, name).dtypes.astype(str).to_dict()) for name in TABLES}
    return xr.Dataset(
        {name: ((), text, {"dtypes": kinds[name]}) for name, text in texts.items()},
        attrs={"name": trial.name, "warnings": json.dumps([asdict(problem) for problem in trial.warnings])},
    )


def trial_of(fit: xr.DataTree) -> Trial:
    """The trial that `fit` was fitted to; raises ModelError when the fit carries none."""
    if "trial" not in fit.children:
        raise ModelError(
            "this fit carries no trial: it was not made by bayes_isa.fit; pass the trial yourself"
        )
    stored = fit["trial"].to_dataset()
    tables = {}
    for name in TABLES:
        variable = stored[name]
        kinds = json.loads(variable.attrs["dtypes"])
        columns = {
            column: str if kind in ("object", "str", "string") else kind for column, kind in kinds.items()
        }
        table = pd.read_csv(
            io.StringIO(str(variable.item())),
            dtype={**columns, "id": str},
            float_precision="round_trip",
            keep_default_na=False,
            na_values=[""],
        )
        tables[name] = table.set_index("id") if name in _INDEXED else table
    return Trial(
        patients=tables["patients"],
        doses=tables["doses"],
        mprotein=tables["mprotein"],
        pfs=tables["pfs"],
        name=str(stored.attrs["name"]),
        warnings=tuple(Problem(**problem) for problem in json.loads(stored.attrs.get("warnings", "[]"))),
    )


def spec_of(fit: xr.DataTree) -> ModelSpec:
    """The specification of `fit`; raises ModelError when the fit carries none."""
    return ModelSpec(**json.loads(_attribute(fit, "spec")))


def priors_of(fit: xr.DataTree) -> PriorSet:
    """The prior set of `fit`; raises ModelError when the fit carries none."""
    return PriorSet.from_dict(json.loads(_attribute(fit, "priors")))


def _attribute(fit: xr.DataTree, name: str) -> str:
    if name not in fit.attrs:
        raise ModelError(f"this fit carries no {name}: it was not made by bayes_isa.fit")
    return str(fit.attrs[name])


def population_variables(posterior: xr.Dataset) -> list[str]:
    """Variables that belong to no patient: none of their dimensions is patient, patient_without_<covariate>, ..."""
    return [
        str(name)
        for name, variable in posterior.data_vars.items()
        if not any(str(dim).startswith("patient") for dim in variable.dims)
    ]


def without_individuals(fit: xr.DataTree) -> xr.DataTree:
    """The fit without the variables of its posterior that have a patient dimension."""
    posterior = fit["posterior"].to_dataset()
    kept = posterior[population_variables(posterior)]
    others = [name for name in posterior.coords if str(name).startswith("patient")]
    smaller = fit.copy()
    smaller["posterior"] = xr.DataTree(kept.drop_vars(others, errors="ignore"))
    return smaller


def stack_draws(posterior: xr.Dataset) -> xr.Dataset:
    """The posterior with chain and draw flattened to one plain dimension `sample`."""
    stacked = posterior.stack(sample=("chain", "draw"), create_index=False)
    return stacked.assign_coords(sample=np.arange(stacked.sizes["sample"]))
