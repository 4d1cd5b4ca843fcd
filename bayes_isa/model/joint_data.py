"""`JointData`: a trial made ready for the kernel: panels, covariate matrices, measurements and events as arrays."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.data.covariates import available_covariates, design_matrix
from bayes_isa.errors import BayesIsaWarning, ModelError
from bayes_isa.kernels.design import offsets_of
from bayes_isa.kernels.hazard import LINK_UNITS, Shape, make_shape
from bayes_isa.kernels.layout import assemble
from bayes_isa.kernels.panels import Panels, ReferenceParameters, build_panels
from bayes_isa.kernels.timeline import Cuts, Timeline
from bayes_isa.model.exposures import spec_exposure
from bayes_isa.model.imputation import Imputation, categorical_with_missing, imputation_of
from bayes_isa.model.reference import reference_parameters
from bayes_isa.model.spec import ModelSpec
from bayes_isa.pk import Exposure

# Error of a patient's log-likelihood against posterior SDs of 1: a tenth is lost in a rough estimate. With more, a
# search that begins far off may go where the panels see nothing of a wall.
_ROUGH_TOLERANCE = 0.1
_ROUGH_SETS = 16


@dataclass(frozen=True)
class JointData:
    """What `build_model` and `log_likelihood` share. Arrays follow the trial's order of patients and measurements."""

    trial: Trial
    spec: ModelSpec
    shape: Shape
    exposure: Exposure
    panels: Panels
    covariates: Mapping[str, xr.DataArray]  # target -> (patient, covariate); imputed ones as expected
    left_out: Mapping[str, str]  # covariate -> why
    value: np.ndarray  # (measurement,) g/L
    lloq: np.ndarray
    below: np.ndarray
    event: np.ndarray  # (patient,) bool
    has_dexamethasone: bool
    imputation: Imputation | None = None  # None: no missing value is a latent variable

    @property
    def interval_censored(self) -> np.ndarray:
        """(patient,) bool: the event is only known to lie in an interval."""
        return self.trial.interval_censored

    @property
    def link_unit(self) -> str:
        """Unit of beta_link: per unit of what the hazard is linked to."""
        unit = LINK_UNITS[self.spec.link]
        return unit if unit == "1" else f"1/({unit})"

    def design(self, target: str, one: Mapping[Any, Any]) -> np.ndarray:
        """Covariates of one target (..., patient, covariate), missing ones as in `one` where they are imputed."""
        matrix = self.covariates[target]
        if self.imputation is None or not self.imputation.touches(matrix):
            return matrix.to_numpy()
        return self.imputation.fill(matrix, self.imputation.completed(one))

    @property
    def as_expected(self) -> JointData:
        """The same with imputed values taken as known, at what covariates alone make of them."""
        return replace(self, imputation=None)

    @property
    def patient_ids(self) -> list[str]:
        return [str(i) for i in self.trial.patients.index]


class KnownPanels(NamedTuple):
    """Panels without what exposure makes of them."""

    cuts: Cuts
    error: np.ndarray  # (n_patients,)


def prepare(
    trial: Trial, spec: ModelSpec, *, rough: bool = False, known: KnownPanels | None = None
) -> JointData:
    """Exposure, adaptive panels and covariates of `trial` under `spec`.

    Panels meet the specification's tolerance over the bulk of what is plausible; `rough` ones, for finding where the
    posterior is, have less than half of the nodes and errors that do not matter there; those `known` from before are
    taken as they are. `left_out` names published covariates that the data set lacks or that do not vary in it. Raises
    ModelError when the specification asks for what the data set does not have.
    """
    exposure = spec_exposure(spec, trial.patients, trial.doses, trial.last_day)
    timeline = trial_timeline(trial, exposure)
    shape = make_shape(spec.link, spec.hazard, spec.effect)
    if known is not None:
        design = assemble(known.cuts, timeline, exposure.evaluate)
        panels = Panels(design, known.cuts, known.error, spec.tolerance)
    elif rough:
        few = reference_for(trial, spec).first(_ROUGH_SETS)
        panels = build_panels(timeline, exposure.evaluate, shape, few, tolerance=_ROUGH_TOLERANCE)
    else:
        reference = reference_for(trial, spec)
        panels = build_panels(timeline, exposure.evaluate, shape, reference, tolerance=spec.tolerance)
    covariates, left_out = _covariates(trial, spec)
    imputation = imputation_of(trial, covariates) if spec.imputes else None
    if imputation is not None:
        covariates = {t: m.copy(data=imputation.fill(m, imputation.expected)) for t, m in covariates.items()}
    return JointData(
        trial=trial,
        spec=spec,
        shape=shape,
        exposure=exposure,
        panels=panels,
        covariates=covariates,
        left_out=left_out,
        value=trial.mprotein["value_g_per_l"].to_numpy(dtype=float),
        lloq=trial.mprotein["lloq_g_per_l"].to_numpy(dtype=float),
        below=trial.mprotein["below_lloq"].to_numpy(dtype=bool),
        event=trial.pfs["event"].to_numpy(dtype=bool),
        has_dexamethasone=bool((trial.doses["drug"] == "dexamethasone").any()),
        imputation=imputation,
    )


def with_panels_for(data: JointData, reference: ReferenceParameters) -> JointData:
    """`data` with panels that meet its specification's tolerance at `reference`, such as draws near the posterior."""
    timeline = trial_timeline(data.trial, data.exposure)
    panels = build_panels(
        timeline, data.exposure.evaluate, data.shape, reference, tolerance=data.spec.tolerance
    )
    return replace(data, panels=panels)


def reference_for(trial: Trial, spec: ModelSpec) -> ReferenceParameters:
    """Parameter sets over the bulk of what is plausible for these patients."""
    baseline = trial.baseline_mprotein.to_numpy(dtype=float)
    return reference_parameters(baseline, spec.link, exposure=spec.exposure, last_day=trial.last_day)


def trial_timeline(trial: Trial, exposure: Exposure) -> Timeline:
    """Breakpoints of the exposure, measurement days and PFS days of a trial, with days of entry and intervals."""
    ids = trial.patients.index
    counts = trial.mprotein.groupby("id").size().reindex(ids, fill_value=0).to_numpy()
    offsets, days = exposure.breakpoints
    return Timeline(
        break_offset=offsets,
        break_day=days,
        measurement_offset=offsets_of(counts),
        measurement_day=trial.mprotein["day"].to_numpy(dtype=float),
        event_day=trial.pfs["day"].to_numpy(dtype=float),
        entry_day=trial.entry_day,
        free_day=trial.progression_free_day,
    )


def _covariates(trial: Trial, spec: ModelSpec) -> tuple[dict[str, xr.DataArray], dict[str, str]]:
    """Design matrices by target. The default set shrinks to what the data has; one asked for must be there."""
    matrices: dict[str, xr.DataArray] = {}
    left_out: dict[str, str] = {}
    for target, names in spec.wanted_covariates.items():
        present, absent = available_covariates(trial, names)
        left_out |= {f"{name} on {target}": reason for name, reason in absent.items()}
        matrices[target] = design_matrix(trial, present)
    if left_out and spec.covariates is not None:
        listed = "; ".join(f"{name} ({reason})" for name, reason in left_out.items())
        raise ModelError(f"covariates that the data set cannot inform: {listed}")
    return matrices, left_out


def warn_of_left_out(data: JointData) -> None:
    """Warn the caller's caller (BayesIsaWarning) of published covariates that the data set cannot inform."""
    if data.left_out:
        listed = "; ".join(f"{name} ({reason})" for name, reason in data.left_out.items())
        warnings.warn(f"published covariates left out: {listed}", BayesIsaWarning, stacklevel=3)


def warn_of_own_levels(data: JointData) -> None:
    """Warn the caller's caller (BayesIsaWarning) of covariates with missing values that imputing leaves alone."""
    kept = categorical_with_missing(data.covariates) if data.spec.imputes else {}
    if kept:
        listed = ", ".join(f"{name} ({count} patients)" for name, count in kept.items())
        warnings.warn(
            f'missing_covariates="impute" is for continuous covariates: missing values of {listed} get a level of '
            "their own, as published",
            BayesIsaWarning,
            stacklevel=3,
        )


def continued_doses(trial: Trial, until_day: float) -> pd.DataFrame:
    """The trial's doses, each patient's and drug's last dosing interval and amount repeated up to `until_day`.

    For predictions past the end of a patient's own record: what a longer stay on treatment would have looked like. A
    drug given once is not continued.
    """
    extra = []
    for (patient, drug), rows in trial.doses.groupby(["id", "drug"], sort=False):
        if len(rows) < 2:
            continue
        last = rows.iloc[-1]
        step = float(last["day"] - rows["day"].iloc[-2])
        if step <= 0.0:
            continue
        days = np.arange(last["day"] + step, until_day, step)
        extra.append(
            pd.DataFrame(
                {
                    "id": patient,
                    "drug": drug,
                    "day": days,
                    "amount_mg": last["amount_mg"],
                    "duration_h": last["duration_h"],
                }
            )
        )
    if not extra:
        return trial.doses
    return pd.concat([trial.doses, *extra], ignore_index=True)
