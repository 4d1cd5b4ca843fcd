"""The joint log-likelihood at given parameters, term by term, without PyMC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.errors import ModelError
from bayes_isa.kernels.evaluate import Parameters, evaluate_terms, measurement_terms
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.spec import ModelSpec

_SAMPLE_DIMS = ("chain", "draw", "sample")


def log_likelihood(
    trial: Trial, parameters: Mapping[str, Any] | xr.Dataset, spec: ModelSpec | None = None
) -> xr.Dataset:
    """Log-likelihood of every measurement, of every PFS time, and of every patient.

    parameters: `phi` (patient, parameter), logs of M0 (g/L), KL, KD, R (1/day), EC50 (mg/L); `Te` (day), `s`,
        `beta_link`, `sigma_add` (g/L), `sigma_prop`; `k` (L/umol) where dexamethasone is given; `beta_hazard`
        (covariate_hazard) where the hazard has covariates. Leading dims chain, draw or sample are kept, so that the
        posterior of a fit can be given as it is.

    Returns a Dataset with `m_protein` (..., measurement), `pfs` (..., patient) and their sum by patient,
    `patient_total`. Raises ModelError for missing or misshapen parameters.
    """
    return evaluate_log_likelihood(prepare(trial, spec or ModelSpec()), parameters)


def evaluate_log_likelihood(data: JointData, parameters: Mapping[str, Any] | xr.Dataset) -> xr.Dataset:
    """`log_likelihood` on data already prepared: for many parameter sets one after another."""
    sets = _parameter_sets(data, parameters)
    dims = [d for d in _SAMPLE_DIMS if d in sets.dims]
    stacked = sets.stack(_set=dims, create_index=False) if dims else sets.expand_dims("_set")
    n_sets = stacked.sizes["_set"]
    marker = np.empty((n_sets, data.value.size))
    event = np.empty((n_sets, data.event.size))
    partial = np.empty((data.value.size, 3))
    for number in range(n_sets):
        one = stacked.isel(_set=number)
        terms = evaluate_terms(data.panels, data.shape, kernel_parameters(data, one))
        measurement_terms(
            terms.log_m,
            data.value,
            data.below,
            float(one["sigma_add"]),
            float(one["sigma_prop"]),
            marker[number],
            partial,
        )
        event[number] = np.where(data.event, terms.log_hazard, 0.0) - terms.cumulative_hazard
    return _labelled(data, sets, marker, event)


def kernel_parameters(data: JointData, one: xr.Dataset) -> Parameters:
    """The kernel's parameters of one set: `one` without sample dims."""
    phi = np.full((data.trial.n_patients, 5), -np.inf)
    phi[:, : len(data.spec.individual)] = one["phi"].transpose("patient", "parameter").to_numpy()
    matrix = data.covariates["hazard"]
    lp = np.zeros(data.trial.n_patients)
    if matrix.sizes["covariate"]:
        lp = matrix.to_numpy() @ np.atleast_1d(one["beta_hazard"].to_numpy())
    return Parameters(
        phi=phi,
        k=float(one["k"]) if "k" in one else 0.0,
        hazard_lp=lp,
        beta_link=float(one["beta_link"]) if "beta_link" in one else 0.0,
        te=float(one["Te"]),
        s=float(one["s"]) if "s" in one else 1.0,
    )


def _parameter_sets(data: JointData, parameters: Mapping[str, Any] | xr.Dataset) -> xr.Dataset:
    needed = ["phi", "Te", "sigma_add", "sigma_prop"]
    needed += ["s"] if data.spec.hazard != "exponential" else []
    needed += ["beta_link"] if data.spec.link != "none" else []
    needed += ["k"] if data.has_dexamethasone else []
    needed += ["beta_hazard"] if data.covariates["hazard"].sizes["covariate"] else []
    absent = [name for name in needed if name not in parameters]
    if absent:
        raise ModelError(f"log_likelihood needs {', '.join(needed)}; missing: {', '.join(absent)}")
    if isinstance(parameters, xr.Dataset):
        return parameters[needed]
    dims = {"phi": ("patient", "parameter"), "beta_hazard": ("covariate_hazard",)}
    shapes = {
        "phi": (data.trial.n_patients, len(data.spec.individual)),
        "beta_hazard": (data.covariates["hazard"].sizes["covariate"],),
    }
    variables = {}
    for name in needed:
        value = np.asarray(parameters[name], dtype=float)
        if value.shape != shapes.get(name, ()):
            raise ModelError(f"{name}: expected shape {shapes.get(name, ())}, found {value.shape}")
        variables[name] = (dims.get(name, ()), value)
    return xr.Dataset(variables)


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
