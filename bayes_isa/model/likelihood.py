"""The joint log-likelihood at given parameters, term by term, without PyMC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.errors import ModelError
from bayes_isa.kernels.panels import ReferenceParameters
from bayes_isa.model.imputation import imputed
from bayes_isa.model.joint_data import (
    JointData,
    prepare,
    reference_for,
    warn_of_left_out,
    with_panels_for,
)
from bayes_isa.model.patient_terms import kernel_parameters, record_terms, residual_of
from bayes_isa.model.spec import ModelSpec

_SAMPLE_DIMS = ("chain", "draw", "sample")
# Panels accurate at this many draws of a posterior are so between them, as in `warm_start`.
_PANEL_SETS = 48


def log_likelihood(
    trial: Trial, parameters: Mapping[str, Any] | xr.Dataset, spec: ModelSpec | None = None
) -> xr.Dataset:
    """Log-likelihood of every measurement, of every PFS time, and of every patient.

    Within the specification's tolerance, per patient, of the exact integrals (48 of the sets are looked at).
    An event between two visits counts with log[S(day_lower) - S(day_upper)]; all are given survival to entry_day.

    parameters: `phi` (patient, parameter), logs of M0 (g/L), KL, KD, R (1/day), EC50 (mg/L); `Te` (day), `s`,
        `beta_link`; of the residual error `sigma_add` (g/L), `sigma_prop` and `nu`, as far as it has them; `k` (L/umol)
        where dexamethasone is given; `beta_hazard` (covariate_hazard) where the hazard has covariates, and where they
        have missing values that the specification imputes, `imputed_<covariate>` (patient_without_<covariate>). Leading
        dims chain, draw or sample are kept, so that the posterior of a fit can be given as it is.

    Returns a Dataset with `m_protein` (..., measurement), `pfs` (..., patient) and their sum by patient,
    `patient_total`. Raises ModelError for missing or misshapen parameters.
    """
    data = prepare(trial, spec or ModelSpec(), rough=True)
    warn_of_left_out(data)
    sets = _stacked(_parameter_sets(data, parameters))
    # Panels good over the bulk of the prior, so that calls at different parameters agree, and good where asked.
    reference = reference_for(trial, data.spec).and_also(_some_of(data, sets))
    return evaluate_log_likelihood(with_panels_for(data, reference), parameters)


def with_panels_at(data: JointData, parameters: Mapping[str, Any] | xr.Dataset) -> JointData:
    """`data` with panels that are accurate at the given sets, such as draws of a posterior: 48 are looked at."""
    return with_panels_for(data, _some_of(data, _stacked(_parameter_sets(data, parameters))))


def evaluate_log_likelihood(data: JointData, parameters: Mapping[str, Any] | xr.Dataset) -> xr.Dataset:
    """`log_likelihood` on data already prepared: for many parameter sets one after another."""
    sets = _parameter_sets(data, parameters)
    stacked = _stacked(sets)
    n_sets = stacked.sizes["_set"]
    marker = np.empty((n_sets, data.value.size))
    event = np.empty((n_sets, data.event.size))
    for number in range(n_sets):
        one = stacked.isel(_set=number)
        found = record_terms(data, kernel_parameters(data, one), residual_of(one))
        marker[number], event[number] = found.marker, found.event
    return _labelled(data, sets, marker, event)


def _stacked(sets: xr.Dataset) -> xr.Dataset:
    """The sets along one dimension `_set`."""
    dims = [d for d in _SAMPLE_DIMS if d in sets.dims]
    return sets.stack(_set=dims, create_index=False) if dims else sets.expand_dims("_set")


def _some_of(data: JointData, stacked: xr.Dataset) -> ReferenceParameters:
    """At most `_PANEL_SETS` of the sets, evenly spread, at which panels are to be accurate."""
    n_sets = stacked.sizes["_set"]
    some = np.unique(np.linspace(0, n_sets - 1, min(n_sets, _PANEL_SETS)).round().astype(int))
    each = [kernel_parameters(data, stacked.isel(_set=number)) for number in some]
    phi = np.array([one.phi for one in each])
    k, beta_link, te, s = (
        np.array([getattr(one, name) for one in each]) for name in ("k", "beta_link", "te", "s")
    )
    return ReferenceParameters(phi, k, beta_link, te, s)


def _parameter_sets(data: JointData, parameters: Mapping[str, Any] | xr.Dataset) -> xr.Dataset:
    needed = ["phi", "Te", *data.spec.residual_parameters]
    needed += ["s"] if data.spec.hazard != "exponential" else []
    needed += ["beta_link"] if data.spec.link != "none" else []
    needed += ["k"] if data.has_dexamethasone else []
    needed += ["beta_hazard"] if data.covariates["hazard"].sizes["covariate"] else []
    lacking = _imputed_on_hazard(data)
    needed += list(lacking)
    absent = [name for name in needed if name not in parameters]
    if absent:
        raise ModelError(f"log_likelihood needs {', '.join(needed)}; missing: {', '.join(absent)}")
    if isinstance(parameters, xr.Dataset):
        return parameters[needed]
    dims = {"phi": ("patient", "parameter"), "beta_hazard": ("covariate_hazard",)}
    dims |= {name: (f"patient_without_{name.removeprefix('imputed_')}",) for name in lacking}
    shapes = {
        "phi": (data.trial.n_patients, len(data.spec.individual)),
        "beta_hazard": (data.covariates["hazard"].sizes["covariate"],),
        **{name: (count,) for name, count in lacking.items()},
    }
    variables = {}
    for name in needed:
        value = np.asarray(parameters[name], dtype=float)
        if value.shape != shapes.get(name, ()):
            raise ModelError(f"{name}: expected shape {shapes.get(name, ())}, found {value.shape}")
        variables[name] = (dims.get(name, ()), value)
    return xr.Dataset(variables)


def _imputed_on_hazard(data: JointData) -> dict[str, int]:
    """Variables of imputed values that the hazard takes, and how many values each has.

    All of them where it takes any: completed covariates come together.
    """
    if data.imputation is None or not data.imputation.touches(data.covariates["hazard"]):
        return {}
    return {imputed(name): data.imputation.rows(name).size for name in data.imputation.names}


def _labelled(data: JointData, sets: xr.Dataset, marker: np.ndarray, event: np.ndarray) -> xr.Dataset:
    dims = [d for d in _SAMPLE_DIMS if d in sets.dims]
    sizes = [sets.sizes[d] for d in dims]
    coords = {d: sets[d] for d in dims if d in sets.coords}
    ids = data.patient_ids
    result = xr.Dataset(
        {
            "m_protein": ((*dims, "measurement"), marker.reshape([*sizes, -1])),
            "pfs": ((*dims, "patient"), event.reshape([*sizes, -1])),
        },
        coords={
            **coords,
            "patient": ids,
            "measurement": np.arange(data.value.size),
            "measurement_patient": ("measurement", data.trial.mprotein["id"].to_numpy(dtype=str)),
            "measurement_day": ("measurement", data.trial.mprotein["day"].to_numpy(), {"units": "day"}),
        },
    )
    position = data.trial.patients.index.get_indexer(pd.Index(data.trial.mprotein["id"]))
    by_patient = np.zeros((event.shape[0], event.shape[1]))
    np.add.at(by_patient.T, position, marker.T)
    total = (by_patient + event).reshape([*sizes, -1])
    return result.assign(patient_total=((*dims, "patient"), total))
