"""`individual_fits`: each patient's M-protein curve with its uncertainty, beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.data.schema import nearest
from bayes_isa.errors import DataError, ModelError, Problem
from bayes_isa.inference.storage import spec_of, trial_of
from bayes_isa.kernels.evaluate import evaluate_curves, log_m_at_measurements
from bayes_isa.kernels.panels import build_panels
from bayes_isa.kernels.residual import standard_errors
from bayes_isa.kernels.timeline import Timeline
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.patient_terms import kernel_parameters, residual_of
from bayes_isa.model.reference import reference_parameters
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.draws import thin
from bayes_isa.prediction.envelope import band

_POINTS = 81  # of a curve: a figure a few inches wide shows no more


def individual_fits(
    fit: xr.DataTree,
    patients: Sequence[str] | None = None,
    *,
    level: float = 0.9,
    n_draws: int = 200,
    seed: int = 0,
    trial: Trial | None = None,
    spec: ModelSpec | None = None,
) -> xr.Dataset:
    """Posterior curves of M-protein over each patient's own follow-up, with the measurements and PFS.

    patients: ids; all by default. level: of the bands. seed: of the residual error in the predictive band.

    Returns a Dataset: `day` (patient, point) evenly from the first measurement to the end of follow-up; `median`,
    `low`, `high` (patient, point) of M in g/L; `predictive_low`, `predictive_high` of a new measurement (not cut at the
    LLOQ, so possibly negative); `pfs_day`, `event` (patient); `m_protein` (g/L), `below_lloq`, `measurement_patient`,
    `measurement_day` (measurement). Raises DataError for an unknown patient, ModelError for a fit
    without posterior, or of another trial.
    """
    if not 0.0 < level < 1.0:
        raise ModelError(f"level: expected a number between 0 and 1, found {level!r}")
    draws = thin(fit, n_draws)
    whole = trial_of(fit) if trial is None else trial
    ids = _chosen(whole, draws, patients)
    # The curve alone is wanted: no hazard for panels to follow, no covariates but through individual parameters.
    curve_only = replace(spec_of(fit) if spec is None else spec, link="none", covariates={})
    data = prepare(whole.subset(ids), curve_only)
    day = _days(data.trial)
    baseline = data.trial.baseline_mprotein.to_numpy(dtype=float)
    reference = reference_parameters(
        baseline, "none", exposure=data.spec.exposure, last_day=data.trial.last_day
    )
    timeline = _timeline(data, day)
    panels = build_panels(
        timeline, data.exposure.evaluate, data.shape, reference, tolerance=data.spec.tolerance
    )
    draws = draws.sel(patient=ids)
    rng = np.random.default_rng(seed)
    n = draws.sizes["sample"]
    m, measured = np.empty((n, len(ids), _POINTS)), np.empty((n, len(ids), _POINTS))
    for number in range(n):
        one = draws.isel(sample=number)
        parameters = kernel_parameters(data, one)
        log_m = log_m_at_measurements(panels, evaluate_curves(panels, data.shape, parameters), parameters)
        m[number] = np.exp(log_m.reshape(-1, _POINTS))
        residual = residual_of(one)
        errors = standard_errors(residual.nu, rng, m[number].shape)
        measured[number] = m[number] + residual.sd(m[number]) * errors
    return _labelled(data.trial, day, band(m, level), band(measured, level), level)


def _chosen(trial: Trial, draws: xr.Dataset, patients: Sequence[str] | None) -> list[str]:
    ids = [str(i) for i in draws["patient"].to_numpy()]
    if sorted(ids) != sorted(map(str, trial.patients.index)):
        raise ModelError("the trial is not the one that was fitted: it has other patients")
    if patients is None:
        return ids
    problems = []
    for name in patients:
        if str(name) not in ids:
            close = nearest(str(name), ids)
            hint = f"Did you mean {close!r}?" if close else ""
            problems.append(Problem("no such patient", hint, patient=str(name)))
    if problems:
        raise DataError("These patients have no fit", problems)
    return [str(name) for name in patients]


def _days(trial: Trial) -> np.ndarray:
    """Days of each patient's curve (patient, point)."""
    first = trial.mprotein.groupby("id")["day"].min().reindex(trial.patients.index).to_numpy(dtype=float)
    return np.linspace(np.minimum(first, 0.0), trial.last_day, _POINTS, axis=1)


def _timeline(data: JointData, day: np.ndarray) -> Timeline:
    offsets, breaks = data.exposure.breakpoints
    return Timeline(
        break_offset=offsets,
        break_day=breaks,
        measurement_offset=np.arange(len(day) + 1, dtype=np.int64) * _POINTS,
        measurement_day=day.ravel(),
        event_day=data.trial.last_day,
    )


def _labelled(
    trial: Trial,
    day: np.ndarray,
    curve: tuple[np.ndarray, np.ndarray, np.ndarray],
    measured: tuple[np.ndarray, np.ndarray, np.ndarray],
    level: float,
) -> xr.Dataset:
    ids, rows, pfs = trial.patients.index, trial.mprotein, trial.pfs
    units, at = {"units": "g/L"}, ("patient", "point")
    return xr.Dataset(
        {
            "low": (at, curve[0], units),
            "median": (at, curve[1], units),
            "high": (at, curve[2], units),
            "predictive_low": (at, measured[0], units),
            "predictive_high": (at, measured[2], units),
            "day": (at, day, {"units": "day"}),
            "pfs_day": ("patient", pfs["day"].to_numpy(dtype=float), {"units": "day"}),
            "event": ("patient", pfs["event"].to_numpy(dtype=bool)),
            "m_protein": ("measurement", rows["value_g_per_l"].to_numpy(dtype=float), units),
            "lloq": ("measurement", rows["lloq_g_per_l"].to_numpy(dtype=float), units),
            "below_lloq": ("measurement", rows["below_lloq"].to_numpy(dtype=bool)),
        },
        coords={
            "patient": ids.to_numpy(dtype=object),
            "measurement": rows.index.to_numpy(),
            "measurement_patient": ("measurement", rows["id"].to_numpy(dtype=object)),
            "measurement_day": ("measurement", rows["day"].to_numpy(dtype=float), {"units": "day"}),
        },
        attrs={"level": level},
    )
