"""`build_model`: the joint model of M-protein and progression-free survival as a plain `pm.Model`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayes_isa.data import Trial
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.observed import measurement_random, pfs_random
from bayes_isa.model.op import JointTrajectory, MeasurementTerm, design_inputs
from bayes_isa.model.prior import vector_prior
from bayes_isa.model.priors import PriorSet, load_priors
from bayes_isa.model.spec import ModelSpec

UNITS: Mapping[str, str] = {
    "M0_pop": "g/L",
    "KL_pop": "1/day",
    "KD_pop": "1/day",
    "R_pop": "1/day",
    "EC50_pop": "mg/L",
    "k": "L/umol",
    "Te": "day",
    "sigma_add": "g/L",
    "phi": "log of M0 g/L, KL 1/day, KD 1/day, R 1/day, EC50 mg/L",
    "m_protein": "g/L",
    "pfs": "day",
}


@dataclass(frozen=True)
class ModelRecord:
    """What a model was built from; `fit` stores it beside the draws."""

    data: JointData
    priors: PriorSet


def record_of(model: pm.Model) -> ModelRecord | None:
    """The record that `build_model` left on its model, None on other models."""
    return getattr(model, "bayes_isa_record", None)


def build_model(trial: Trial, priors: PriorSet | str = "weakly_informative", spec: ModelSpec | None = None) -> pm.Model:
    """The joint model of `trial` as a plain `pm.Model`, with two observed variables.

    `m_protein` (dims measurement, g/L; a value below its LLOQ is left-censored there) and `pfs` (dims patient, days;
    right-censored). Individual parameters are `phi` (patient, parameter), logs of M0 (g/L), KL, KD, R (1/day) and EC50
    (mg/L); population parameters bear their usual names (`KL_pop`, `omega_KL`, `beta_KL`, ...).

    Predictive draws of `m_protein` are at the measured days, with values below the LLOQ reported as the LLOQ; those of
    `pfs` run to the longest follow-up of the trial, doses continued as last given, and are inf where nothing happened
    by then.

    priors: a `PriorSet` or the name or path of one. Raises ModelError for a specification that the data cannot carry,
    PriorError for an impossible prior set. Source: CPT:PSP 2023 (see README).
    """
    prior_set = load_priors(priors) if isinstance(priors, str) else priors
    data = prepare(trial, spec or ModelSpec())
    with pm.Model(coords=_coords(data)) as model:
        means, omegas = _population(data, prior_set)
        phi = _individuals(data, means, omegas)
        _outcomes(data, prior_set, phi)
    model.bayes_isa_record = ModelRecord(data, prior_set)
    return model


def _coords(data: JointData) -> dict[str, Any]:
    coords: dict[str, Any] = {
        "patient": data.patient_ids,
        "parameter": list(data.spec.individual),
        "measurement": np.arange(data.value.size),
    }
    for target, matrix in data.covariates.items():
        if matrix.sizes["covariate"]:
            coords[f"covariate_{target}"] = [str(name) for name in matrix["covariate"].to_numpy()]
    return coords


def _effects(data: JointData, priors: PriorSet, target: str) -> Any:
    """X beta of one target, (n_patients,); 0 without covariates."""
    matrix = data.covariates[target]
    names = [str(name) for name in matrix["covariate"].to_numpy()]
    if not names:
        return 0.0
    dist, kwargs = vector_prior([priors.covariate_effect(target, name) for name in names])
    beta = getattr(pm, dist)(f"beta_{target}", **kwargs, dims=f"covariate_{target}")
    return pt.dot(pt.as_tensor_variable(matrix.to_numpy()), beta)


def _population(data: JointData, priors: PriorSet) -> tuple[list[Any], list[Any]]:
    """Mean (n_patients,) and SD of each individual log parameter."""
    means, omegas = [], []
    baseline = data.trial.baseline_mprotein.to_numpy(dtype=float)
    for name in data.spec.individual:
        # The chains start at the observed baseline: far from it, every other parameter would first adapt to a wrong M0.
        start = {"initval": float(np.median(baseline))} if name == "M0" else {}
        typical = priors.parameters[f"{name}_pop"].pymc(f"{name}_pop", **start)
        omegas.append(priors.parameters[f"omega_{name}"].pymc(f"omega_{name}"))
        effects = _effects(data, priors, name)
        means.append(pt.log(typical) + effects + np.zeros(data.trial.n_patients))
    return means, omegas


def _individuals(data: JointData, means: list[Any], omegas: list[Any]) -> Any:
    """phi (n_patients, n_parameters) in the coordinates asked for."""
    mean = pt.stack(means, axis=1)
    omega = pt.stack(omegas)
    log_baseline = np.log(data.trial.baseline_mprotein.to_numpy(dtype=float))
    match data.spec.coordinates:
        case "centered":
            return pm.Normal("phi", mean, omega, dims=("patient", "parameter"))
        case "noncentered":
            eta = pm.Normal("eta", 0.0, 1.0, dims=("patient", "parameter"))
            return pm.Deterministic("phi", mean + omega * eta, dims=("patient", "parameter"))
        case "mixed":
            log_m0 = pm.Normal("log_M0", mean[:, 0], omega[0], dims="patient", initval=log_baseline)
            pm.modelcontext(None).add_coord("parameter_noncentered", list(data.spec.individual[1:]))
            eta = pm.Normal("eta", 0.0, 1.0, dims=("patient", "parameter_noncentered"))
            rest = mean[:, 1:] + omega[1:] * eta
            return pm.Deterministic(
                "phi", pt.concatenate([log_m0[:, None], rest], axis=1), dims=("patient", "parameter")
            )
        case unknown:
            raise NotImplementedError(unknown)


def _hazard_parameters(data: JointData, priors: PriorSet) -> dict[str, Any]:
    te = priors.parameters["Te"].pymc("Te")
    s = priors.parameters["s"].pymc("s") if data.spec.hazard != "exponential" else pt.constant(1.0)
    link = data.spec.link
    beta_link = priors.link(link).pymc("beta_link") if link != "none" else pt.constant(0.0)
    return {"te": te, "s": s, "beta_link": beta_link}


def _outcomes(data: JointData, priors: PriorSet, phi: Any) -> None:
    n_patients = data.trial.n_patients
    hazard = _hazard_parameters(data, priors)
    # Without dexamethasone in the data k acts on nothing, so it is no parameter.
    k = priors.parameters["k"].pymc("k") if data.has_dexamethasone else pt.constant(0.0)
    lp = _effects(data, priors, "hazard") + pt.zeros(n_patients)
    sigma_add = priors.parameters["sigma_add"].pymc("sigma_add")
    sigma_prop = priors.parameters["sigma_prop"].pymc("sigma_prop")
    complete = phi
    if len(data.spec.individual) == 4:  # constant exposure is the limit EC50 -> 0
        complete = pt.concatenate([phi, pt.full((n_patients, 1), -np.inf)], axis=1)
    trajectory = JointTrajectory(data.shape, data.panels.rule.order)
    log_m, cumulative, log_hazard = trajectory(
        complete, k, lp, hazard["beta_link"], hazard["te"], hazard["s"], *design_inputs(data.panels.design)
    )[:3]
    pm.CustomDist(
        "m_protein",
        log_m,
        sigma_add,
        sigma_prop,
        data.lloq,
        data.below,
        logp=_measurement_logp,
        random=measurement_random,
        observed=data.value,
        dims="measurement",
    )
    pm.CustomDist(
        "pfs",
        cumulative,
        log_hazard,
        data.event.astype(float),
        complete,
        lp,
        k,
        hazard["beta_link"],
        hazard["te"],
        hazard["s"],
        logp=_pfs_logp,
        random=pfs_random(data),
        signature="(),(),(),(q),(),(),(),(),()->()",
        observed=data.trial.pfs["day"].to_numpy(dtype=float),
        dims="patient",
    )


def _measurement_logp(value: Any, log_m: Any, sigma_add: Any, sigma_prop: Any, lloq: Any, below: Any) -> Any:
    # CustomDist broadcasts its parameters: both sigmas arrive with one element.
    return MeasurementTerm()(log_m, value, below, pt.squeeze(sigma_add), pt.squeeze(sigma_prop))[0]


def _pfs_logp(value: Any, cumulative: Any, log_hazard: Any, event: Any, *_: Any) -> Any:
    # The kernel has its panels end at the trial's own times, which `value` repeats.
    return event * log_hazard - cumulative
