"""`build_model`: the joint model of M-protein and progression-free survival as a plain `pm.Model`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt

from bayes_isa.data import Trial
from bayes_isa.errors import BayesIsaWarning
from bayes_isa.kernels.residual import Residual
from bayes_isa.kernels.trajectory import INDIVIDUAL
from bayes_isa.model.coordinates import kd_by_effect
from bayes_isa.model.horseshoe_effects import horseshoe_effects
from bayes_isa.model.imputed_covariates import filled, imputed_covariates
from bayes_isa.model.joint_data import JointData, warn_of_left_out, warn_of_own_levels
from bayes_isa.model.observed import measurement_random, pfs_random
from bayes_isa.model.op import JointTrajectory, MeasurementTerm, design_inputs
from bayes_isa.model.population import Population
from bayes_isa.model.prior import vector_prior
from bayes_isa.model.priors import PriorSet, load_priors
from bayes_isa.model.products import times_vector
from bayes_isa.model.random_effects import RandomEffects, correlation, individuals
from bayes_isa.model.search import searched
from bayes_isa.model.spec import ModelSpec
from bayes_isa.model.warm_start import WarmStart

UNITS: Mapping[str, str] = {
    "M0_pop": "g/L",
    "KL_pop": "1/day",
    "KD_pop": "1/day",
    "R_pop": "1/day",
    "EC50_pop": "mg/L",
    "k": "L/umol",
    "Te": "day",
    "sigma_add": "g/L",
    "correlation": "1",
    "phi": "log of M0 g/L, KL 1/day, KD 1/day, R 1/day, EC50 mg/L",
    "m_protein": "g/L",
    "pfs": "day",
}

# With K-PD exposure EC50 is EDK50, the rate at which isatuximab leaves its virtual compartment at half effect.
KPD_UNITS: Mapping[str, str] = {
    "EC50_pop": "mg/day",
    "phi": "log of M0 g/L, KL 1/day, KD 1/day, R 1/day, EC50 mg/day",
}

_OFF = (0.0, 0.0, np.inf)  # what a residual error without sigma_add, sigma_prop or nu has in their place


@dataclass(frozen=True)
class ModelRecord:
    """What a model was built from; `fit` stores it beside the draws."""

    data: JointData
    priors: PriorSet


def record_of(model: pm.Model) -> ModelRecord | None:
    """The record that `build_model` left on its model, None on other models."""
    return getattr(model, "bayes_isa_record", None)


def build_model(
    trial: Trial, priors: PriorSet | str = "weakly_informative", spec: ModelSpec | None = None
) -> pm.Model:
    """The joint model of `trial` as a plain `pm.Model`, with two observed outcomes.

    `m_protein` (dims measurement, g/L; a value below its LLOQ is left-censored there) and `pfs` (dims patient, days;
    exact, right-censored, or known to lie in (day_lower, day_upper], whose upper end `pfs` then shows; all given
    survival to entry_day: with delayed entry, individual parameters are those of patients who reached it). Individual
    parameters are `phi` (patient, parameter), logs of M0 (g/L), KL, KD, R (1/day) and EC50 (mg/L; with K-PD exposure
    it is EDK50, mg/day); population parameters bear their usual names (`KL_pop`, `omega_KL`, `beta_KL`, ...); with
    correlated random effects there is their matrix `correlation` (parameter, parameter_other), sampled as its Cholesky
    factor. With `missing_covariates="impute"` missing continuous covariates are latent variables `imputed_<covariate>`
    (patient_without_<covariate>), with a normal model of their own (`bayes_isa.model.imputed_covariates`).

    Predictive draws of `m_protein` are at the measured days, with values below the LLOQ reported as the LLOQ; those of
    `pfs` run to the longest follow-up of the trial, doses continued as last given, and are inf where nothing happened
    by then.

    priors: a `PriorSet` or the name or path of one. Raises ModelError for a specification that the data cannot carry,
    PriorError for an impossible prior set; warns (BayesIsaWarning) of published covariates that the data set lacks or
    that do not vary in it, which are left out, and of binary ones that imputing leaves alone. Source: CPT:PSP 2023
    (see README).
    """
    prior_set = load_priors(priors) if isinstance(priors, str) else priors
    data, start = searched(trial, prior_set, spec or ModelSpec())
    warn_of_left_out(data)
    warn_of_own_levels(data)
    if start.failed.size:
        failed = ", ".join(data.patient_ids[i] for i in start.failed)
        warnings.warn(
            f"no mode, or no good coordinates, were found for patients {failed}: sampling may be "
            "slower there, the posterior is the same",
            BayesIsaWarning,
            stacklevel=2,
        )
    with pm.Model(coords=_coords(data)) as model:
        prior = _Priors(prior_set, start.population, imputed_covariates(data.imputation))
        means, omegas = _population(data, start, prior)
        # Without dexamethasone in the data k acts on nothing, so it is no parameter.
        k = prior.scalar("k") if data.has_dexamethasone else pt.constant(0.0)
        factor = None
        if start.population.correlation is not None:
            lkj = prior_set.parameter("correlation")
            factor = correlation(lkj, data.spec.individual, start.population.correlation)
        phi = individuals(data, start, RandomEffects(means, omegas, factor), k)
        _outcomes(data, prior, phi, k)
    model.bayes_isa_record = ModelRecord(data, prior_set)
    return model


@dataclass(frozen=True)
class _Priors:
    """Makes population variables from the prior set, started at the warm start's estimate."""

    priors: PriorSet
    start: Population
    complete: Mapping[str, Any]  # incomplete covariates, (n_patients,) each

    def scalar(self, name: str) -> Any:
        """A population parameter by name, made when first asked for."""
        known = pm.modelcontext(None).named_vars
        return (
            known[name]
            if name in known
            else self.priors.parameter(name).pymc(name, initval=self.initial(name))
        )

    def typical(self, name: str, exposure: str) -> Any:
        """The typical value of an individual parameter."""
        return self.priors.typical(name, exposure).pymc(f"{name}_pop", initval=self.initial(f"{name}_pop"))

    def link(self, link: str) -> Any:
        return self.priors.link(link).pymc("beta_link", initval=self.start.shared["beta_link"])

    def effects(self, data: JointData, target: str) -> Any:
        """X beta of one target, (n_patients,); zeros without covariates."""
        matrix = data.covariates[target]
        names = [str(name) for name in matrix["covariate"].to_numpy()]
        if not names:
            return pt.zeros(data.trial.n_patients)
        beta = (
            self._horseshoe(data, target)
            if data.spec.covariate_prior == "horseshoe"
            else self._one_by_one(target, names)
        )
        return times_vector(filled(matrix, self.complete, f"covariates_{target}"), beta)

    def _one_by_one(self, target: str, names: list[str]) -> Any:
        dist, kwargs = vector_prior([self.priors.covariate_effect(target, name) for name in names])
        dims = f"covariate_{target}"
        return getattr(pm, dist)(f"beta_{target}", **kwargs, dims=dims, initval=self.start.effects[target])

    def _horseshoe(self, data: JointData, target: str) -> Any:
        hazard = target == "hazard"
        return horseshoe_effects(
            data,
            target,
            self.priors,
            sigma=1.0 if hazard else self.scalar(f"omega_{target}"),
            start=self.start.effects[target],
            start_sigma=1.0 if hazard else self.initial(f"omega_{target}"),
        )

    def initial(self, name: str) -> float:
        if name in self.start.shared:
            return self.start.shared[name]
        kind, _, individual = name.partition("_")
        if kind == "omega":
            return float(self.start.omega[INDIVIDUAL.index(individual)])
        return float(self.start.typical[INDIVIDUAL.index(name.removesuffix("_pop"))])


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


def _population(data: JointData, start: WarmStart, prior: _Priors) -> tuple[Any, Any]:
    """Means (n_patients, d) and SDs (d,) of the individual log parameters."""
    names = data.spec.individual
    by_effect = data.spec.coordinates == "response" and "EC50" in names
    exposure = data.spec.exposure
    typical = {name: prior.typical(name, exposure) for name in names if not (by_effect and name == "KD")}
    if by_effect:
        typical["KD"] = kd_by_effect(
            prior.priors.parameters["KD_pop"],
            typical["EC50"],
            float(np.median(start.window.effect)),
            data.shape.effect_saturation,
            float(prior.initial("KD_pop")),
        )
    means = [pt.log(typical[name]) + prior.effects(data, name) for name in names]
    omegas = [prior.scalar(f"omega_{name}") for name in names]
    return pt.stack(means, axis=1), pt.stack(omegas)


def _outcomes(data: JointData, prior: _Priors, phi: Any, k: Any) -> None:
    """Baseline hazard, link and residual parameters, and the two observed variables."""
    n_patients = data.trial.n_patients
    te = prior.scalar("Te")
    s = prior.scalar("s") if data.spec.hazard != "exponential" else pt.constant(1.0)
    beta_link = prior.link(data.spec.link) if data.spec.link != "none" else pt.constant(0.0)
    lp = prior.effects(data, "hazard")
    own = {name: prior.scalar(name) for name in data.spec.residual_parameters}
    residual = [own.get(name, pt.constant(off)) for name, off in zip(Residual._fields, _OFF, strict=True)]
    complete = phi
    if len(data.spec.individual) == 4:  # constant exposure is the limit EC50 -> 0
        complete = pt.concatenate([phi, pt.full((n_patients, 1), -np.inf)], axis=1)
    trajectory = JointTrajectory(data.shape)
    log_m, cumulative, log_event = trajectory(
        complete, k, lp, beta_link, te, s, *design_inputs(data.panels.design)
    )[:3]
    limit = pytensor.shared(np.stack([data.lloq, data.below]), name="lloq_and_below")
    pm.CustomDist(
        "m_protein",
        log_m,
        *residual,
        limit[0],
        pt.gt(limit[1], 0.5),
        logp=_measurement_logp,
        random=measurement_random,
        observed=pytensor.shared(data.value, name="m_protein_observed"),
        dims="measurement",
    )
    pm.CustomDist(
        "pfs",
        cumulative,
        log_event,
        pytensor.shared(data.event.astype(float), name="event"),
        complete,
        lp,
        k,
        beta_link,
        te,
        s,
        logp=_pfs_logp,
        random=pfs_random(data),
        signature="(),(),(),(q),(),(),(),(),()->()",
        observed=pytensor.shared(data.trial.pfs["day"].to_numpy(dtype=float), name="pfs_observed"),
        dims="patient",
    )


def _measurement_logp(
    value: Any, log_m: Any, sigma_add: Any, sigma_prop: Any, nu: Any, lloq: Any, below: Any
) -> Any:
    # CustomDist broadcasts its parameters: those of the residual error arrive with one element.
    residual = [pt.squeeze(x) for x in (sigma_add, sigma_prop, nu)]
    return MeasurementTerm()(log_m, value, below, *residual)[0]


def _pfs_logp(value: Any, cumulative: Any, log_event: Any, event: Any, *_: Any) -> Any:
    # The kernel has its panels end at the trial's own times, which `value` repeats. A switch, not a product: where
    # nothing happened the kernel's log_event may be infinite.
    return pt.switch(pt.gt(event, 0.5), log_event, 0.0) - cumulative
