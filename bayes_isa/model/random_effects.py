"""Random effects of the individual parameters: independent or correlated, in the coordinates asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayes_isa.errors import ModelError
from bayes_isa.model.coordinates import phi_in_response_coordinates
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.prior import Prior
from bayes_isa.model.products import times_matrix
from bayes_isa.model.warm_start import WarmStart


@dataclass(frozen=True)
class RandomEffects:
    """phi ~ Normal(mean, diag(omega) C diag(omega)): mean (n_patients, d), omega (d,), Cholesky factor of C (d, d).

    No factor: C is the identity.
    """

    mean: Any
    omega: Any
    cholesky: Any | None = None

    def at(self, z: Any) -> Any:
        """phi (n_patients, d) at independent standard normal z (n_patients, d)."""
        return self.mean + self.omega * (z if self.cholesky is None else times_matrix(z, self.cholesky.T))


def correlation(prior: Prior, names: tuple[str, ...], start: np.ndarray) -> Any:
    """Cholesky factor (d, d) of the correlation matrix of random effects, which enters the model as `correlation`.

    start: the matrix that chains start from. Raises ModelError where the prior is for another number of parameters.
    """
    d = len(names)
    if int(prior.kwargs.get("n", d)) != d:
        raise ModelError(
            f"correlation: the prior is for n = {prior.kwargs['n']:g} parameters, this model has {d}"
        )
    pm.modelcontext(None).add_coord("parameter_other", list(names))
    dims = ("parameter", "parameter_other")
    factor = pm.LKJCorr(
        "correlation_cholesky", n=d, eta=prior.kwargs["eta"], dims=dims, initval=np.linalg.cholesky(start)
    )
    pm.Deterministic("correlation", times_matrix(factor, factor.T), dims=dims)
    return factor


def individuals(data: JointData, start: WarmStart, effects: RandomEffects, k: Any) -> Any:
    """phi (n_patients, d) in the coordinates asked for; every one starts at the individual modes."""
    dims = ("patient", "parameter")
    mean, omega = effects.mean, effects.omega
    match data.spec.coordinates:
        case "response":
            return phi_in_response_coordinates(
                mean, omega, k, start.window, start.whitening, start.phi, effects.cholesky
            )
        case "centered":
            if effects.cholesky is None:
                return pm.Normal("phi", mean, omega, dims=dims, initval=start.phi)
            factor = omega[:, None] * effects.cholesky
            return pm.MvNormal("phi", mean, chol=factor, dims=dims, initval=start.phi)
        case "noncentered":
            z = pm.Normal("eta", 0.0, 1.0, dims=dims, initval=_standardised(start))
            return pm.Deterministic("phi", effects.at(z), dims=dims)
        case "mixed":
            # The first row of the factor is (1, 0, ...): log M0 alone decides its own column.
            log_m0 = pm.Normal("log_M0", mean[:, 0], omega[0], dims="patient", initval=start.phi[:, 0])
            pm.modelcontext(None).add_coord("parameter_noncentered", list(data.spec.individual[1:]))
            z = pm.Normal(
                "eta",
                0.0,
                1.0,
                dims=("patient", "parameter_noncentered"),
                initval=_standardised(start)[:, 1:],
            )
            first = (log_m0 - mean[:, 0]) / omega[0]
            rest = effects.at(pt.concatenate([first[:, None], z], axis=1))[:, 1:]
            return pm.Deterministic("phi", pt.concatenate([log_m0[:, None], rest], axis=1), dims=dims)
        case unknown:
            raise NotImplementedError(unknown)


def _standardised(start: WarmStart) -> np.ndarray:
    """Independent standard normal coordinates (n_patients, d) of the starting points."""
    population = start.population
    eta = (start.phi - population.mean) / population.omega
    if population.correlation is None:
        return eta
    return np.linalg.solve(np.linalg.cholesky(population.correlation), eta.T).T
