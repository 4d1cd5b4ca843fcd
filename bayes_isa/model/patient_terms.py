"""Log-likelihood terms of all measurements and PFS records at one parameter set: shared by every user of the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from bayes_isa.kernels.evaluate import Parameters, Terms, evaluate_terms, measurement_terms
from bayes_isa.kernels.residual import Residual
from bayes_isa.model.joint_data import JointData


def kernel_parameters(data: JointData, one: Mapping[Any, Any]) -> Parameters:
    """The kernel's parameters of one set: `phi` (patient, parameter), `Te`, and as far as the model has them `k`,
    `beta_link`, `s`, `beta_hazard` (covariate_hazard) and `imputed_<covariate>`, each a number, an array or a DataArray
    without sample dims.
    """
    given = one["phi"]
    if isinstance(given, xr.DataArray):
        given = given.transpose("patient", "parameter").to_numpy()
    # Constant exposure is the limit EC50 -> 0.
    phi = np.full((data.trial.n_patients, 5), -np.inf)
    phi[:, : given.shape[1]] = given
    matrix = data.design("hazard", one)
    lp = matrix @ np.atleast_1d(one["beta_hazard"]) if matrix.shape[1] else np.zeros(len(phi))
    return Parameters(
        phi=phi,
        k=float(one.get("k", 0.0)),
        hazard_lp=lp,
        beta_link=float(one.get("beta_link", 0.0)),
        te=float(one["Te"]),
        s=float(one.get("s", 1.0)),
    )


def residual_of(one: Mapping[Any, Any]) -> Residual:
    """The residual error of one set; what its model leaves out switches itself off."""
    return Residual(
        float(one.get("sigma_add", 0.0)), float(one.get("sigma_prop", 0.0)), float(one.get("nu", np.inf))
    )


@dataclass(frozen=True)
class RecordTerms:
    """Terms of every record and what they are made of."""

    terms: Terms
    marker: np.ndarray  # (measurement,)
    by_marker: np.ndarray  # (measurement, 4) by log M and the fields of `Residual`
    event: np.ndarray  # (patient,)

    def marker_by_patient(self, data: JointData) -> np.ndarray:
        """Sums of a patient's measurement terms (patient,), -inf where a curve overflows."""
        total = by_patient(data, self.marker)
        return np.where(np.isfinite(total), total, -np.inf)

    @property
    def finite_event(self) -> np.ndarray:
        """`event`, -inf where a hazard explodes."""
        return np.where(np.isfinite(self.event), self.event, -np.inf)


def record_terms(data: JointData, parameters: Parameters, residual: Residual) -> RecordTerms:
    """Of every measurement and PFS record of `data`."""
    terms = evaluate_terms(data.panels, data.shape, parameters)
    marker, by_marker = np.empty(data.value.size), np.empty((data.value.size, 4))
    measurement_terms(terms.log_m, data.value, data.below, residual, marker, by_marker)
    with np.errstate(invalid="ignore"):  # both infinite: a hazard that explodes
        event = np.where(data.event, terms.log_event, 0.0) - terms.cumulative_hazard
    return RecordTerms(terms, marker, by_marker, event)


def by_patient(data: JointData, rows: np.ndarray) -> np.ndarray:
    """Sums over each patient's measurements, (measurement,) -> (patient,)."""
    offsets = data.panels.design.measurement_offset
    patient = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    return np.bincount(patient, weights=rows, minlength=offsets.size - 1)
