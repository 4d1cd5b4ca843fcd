"""The population estimate of the warm start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bayes_isa.model.joint_data import JointData
from bayes_isa.model.prior import Prior
from bayes_isa.model.priors import PriorSet


@dataclass(frozen=True)
class Population:
    """A population estimate: mean (n_patients, d) and SD (d,) of the log parameters, and what all patients share."""

    typical: np.ndarray  # (d,) natural scale
    effects: Mapping[str, np.ndarray]  # target -> betas
    omega: np.ndarray
    shared: Mapping[str, float]  # k, Te, s, beta_link, sigma_add, sigma_prop, nu
    mean: np.ndarray
    correlation: np.ndarray | None = None  # (d, d) of random effects; None: they are independent

    @cached_property
    def precision(self) -> np.ndarray:
        """(d, d) inverse of the covariance of random effects."""
        correlation = np.eye(self.omega.size) if self.correlation is None else self.correlation
        return np.linalg.inv(self.omega[:, None] * correlation * self.omega)

    @property
    def spread(self) -> np.ndarray:
        """For `bayes_isa.kernels.whitening`: omega (d,), or the precision (d, d) of correlated random effects."""
        return self.omega if self.correlation is None else self.precision

    @property
    def k(self) -> float:
        """k in L/umol; 0 without dexamethasone, where it is no parameter."""
        return self.shared.get("k", 0.0)


def initial_population(data: JointData, priors: PriorSet) -> Population:
    names = data.spec.individual
    typical = np.array([median(priors.typical(name, data.spec.exposure)) for name in names])
    typical[0] = np.exp(np.mean(np.log(data.trial.baseline_mprotein.to_numpy(dtype=float))))
    omega = np.array([median(priors.parameters[f"omega_{name}"]) for name in names])
    effects = {target: np.zeros(matrix.sizes["covariate"]) for target, matrix in data.covariates.items()}
    shared = {name: median(prior) for name, prior in shared_priors(data, priors).items()}
    independent = np.eye(omega.size) if data.spec.correlated else None
    return Population(typical, effects, omega, shared, means(data, typical, effects), independent)


def median(prior: Prior) -> float:
    return float(prior.quantiles([0.5])[0])


def shared_priors(data: JointData, priors: PriorSet) -> dict[str, Prior]:
    """Priors of the parameters that all patients share, those the model has."""
    names = [*data.spec.residual_parameters, "Te"]
    names += ["s"] if data.spec.hazard != "exponential" else []
    names += ["k"] if data.has_dexamethasone else []
    chosen = {name: priors.parameter(name) for name in names}
    if data.spec.link != "none":
        chosen["beta_link"] = priors.link(data.spec.link)
    return chosen


def means(data: JointData, typical: np.ndarray, effects: Mapping[str, np.ndarray]) -> np.ndarray:
    columns = [
        np.log(value) + data.covariates[name].to_numpy() @ effects[name]
        for name, value in zip(data.spec.individual, typical, strict=True)
    ]
    return np.stack(columns, axis=1)


def averaged(data: JointData, estimates: list[Population]) -> Population:
    """Mean of several estimates, positive parameters on the log scale."""
    typical = np.exp(np.mean([np.log(each.typical) for each in estimates], axis=0))
    effects = {
        name: np.mean([each.effects[name] for each in estimates], axis=0) for name in estimates[0].effects
    }
    omega = np.exp(np.mean([np.log(each.omega) for each in estimates], axis=0))
    shared = {}
    for name in estimates[0].shared:
        values = np.array([each.shared[name] for each in estimates])
        shared[name] = float(np.mean(values) if name == "beta_link" else np.exp(np.mean(np.log(values))))
    matrices = [each.correlation for each in estimates if each.correlation is not None]
    correlation = np.mean(matrices, axis=0) if matrices else None
    return Population(typical, effects, omega, shared, means(data, typical, effects), correlation)
