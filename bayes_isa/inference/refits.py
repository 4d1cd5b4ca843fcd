"""`refit_without`: the exact way to leave a patient out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.data.covariates import design_matrix
from bayes_isa.errors import BayesIsaWarning, ModelError
from bayes_isa.inference.fit import fit as sample
from bayes_isa.inference.marginal import (
    N_DRAWS,
    N_POINTS,
    chosen_draws,
    evaluate_marginal,
    populations_at,
)
from bayes_isa.inference.proposal import Proposal
from bayes_isa.inference.storage import priors_of, spec_of, trial_of
from bayes_isa.kernels.response import Window
from bayes_isa.kernels.whitening import Whitening
from bayes_isa.model.build import build_model
from bayes_isa.model.imputation import Imputation
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.priors import PriorSet
from bayes_isa.model.spec import ModelSpec
from bayes_isa.model.warm_start import warm_start

_SETTINGS = ("draws", "tune", "chains", "target_accept")
_MORE_POINTS = 4  # for one patient alone they cost next to nothing


def refit_without(
    fit: xr.DataTree,
    patient: str,
    *,
    n_points: int = N_POINTS,
    n_draws: int = N_DRAWS,
    seed: int = 0,
    fit_options: Mapping[str, Any] | None = None,
    trial: Trial | None = None,
    spec: ModelSpec | None = None,
    priors: PriorSet | None = None,
) -> xr.Dataset:
    """`marginal_likelihood` of one patient at posterior draws that have not seen that patient.

    The model is the same: the covariates of the fit, centred at the medians of the patients left. fit_options go to
    `fit`; by default draws, tune, chains and target_accept are those of the fit. Raises ModelError where the other
    patients cannot inform a covariate (it does not vary among them), or none of them lacks one that this patient lacks
    and the model imputes.
    """
    trial = trial_of(fit) if trial is None else trial
    spec = spec_of(fit) if spec is None else spec
    priors = priors_of(fit) if priors is None else priors
    if patient not in trial.patients.index:
        raise ModelError(f"there is no patient {patient!r} in the trial")
    whole = prepare(trial, spec)
    fixed = replace(spec, covariates=_covariate_names(whole))
    others = trial.subset([i for i in trial.patients.index if i != patient])
    settings = {name: fit.attrs[name] for name in _SETTINGS if name in fit.attrs}
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", BayesIsaWarning
        )  # of the patients without a mode, told at the first fit
        model = build_model(others, priors, fixed)
    again = sample(model, **{"seed": seed, "progressbar": False, **settings, **(fit_options or {})})
    data = _alone(whole, others, patient, fixed)
    start = warm_start(whole, priors)
    row = slice(*(whole.patient_ids.index(patient) + np.array([0, 1])))
    d = len(spec.individual)
    fields: list[Any] = [a[row] if isinstance(a, np.ndarray) else a for a in start.window]
    proposal = Proposal(
        Window(*fields),
        Whitening(*(np.ascontiguousarray(a[row]) for a in start.whitening)),
        np.zeros((1, d)),
        np.eye(d)[None],
    )
    # The individual parameters of any one patient: they are integrated out, but the kernel wants their place.
    draws = chosen_draws(again, n_draws).isel(patient=[0]).assign_coords(patient=[patient])
    return evaluate_marginal(
        data, proposal, draws, populations_at(data, draws), n_points=_MORE_POINTS * n_points, seed=seed
    )


def _covariate_names(data: JointData) -> dict[str, tuple[str, ...]]:
    """The covariates of a fit, asked for by name; indicators of missing values come by themselves."""
    names = {t: [str(c) for c in m["covariate"].to_numpy()] for t, m in data.covariates.items()}
    return {t: tuple(c for c in own if not c.endswith("_missing")) for t, own in names.items()}


def _alone(whole: JointData, others: Trial, patient: str, spec: ModelSpec) -> JointData:
    """One patient made ready for the kernel, with covariates coded as those of the other patients."""
    bare = prepare(whole.trial.subset([patient]), replace(spec, covariates={}))
    reference = prepare(others, spec)
    coded = {}
    for target, matrix in reference.covariates.items():
        names = [str(c) for c in matrix["covariate"].to_numpy()]
        everyone = design_matrix(whole.trial, names, centers=matrix.attrs["centers"])
        coded[target] = everyone.sel(patient=[patient]).sel(covariate=names)
    return replace(bare, covariates=coded, imputation=_own_imputation(reference, coded, patient))


def _own_imputation(others: JointData, coded: dict[str, xr.DataArray], patient: str) -> Imputation | None:
    """What the patient lacks, to be predicted as the other patients' model does."""
    values: dict[str, float] = {}
    for matrix in coded.values() if others.spec.imputes else ():
        missing = {name for name, ids in matrix.attrs["imputed"].items() if patient in ids}
        for name, value in zip(matrix["covariate"].to_numpy(), matrix.to_numpy()[0], strict=True):
            hidden = name in missing and name in matrix.attrs["centers"]
            values[str(name)] = np.nan if hidden else float(value)
    known = others.imputation
    alone = [
        name for name, value in values.items() if np.isnan(value) and (not known or name not in known.names)
    ]
    if alone:
        raise ModelError(
            f"patient {patient} alone has no {', '.join(alone)}: without that patient there is nothing to impute, "
            "and the model is another one; leave the Pareto k as it is, or the covariate out"
        )
    if known is None:
        return None
    return replace(
        known,
        given=np.array([[values[name] for name in known.names]]),
        values=np.array([[values[name] for name in known.predictors]]) - known.center,
        ids=(patient,),
    )
