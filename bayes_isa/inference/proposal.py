"""Where to look for a patient's individual parameters: a mixture of the patient's own Gaussian and the population."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from bayes_isa.kernels.response import Window
from bayes_isa.kernels.whitening import Whitening, unwhiten, whiten

# Shares of the points and SDs, in those of the patient's Gaussian, of its two components; the rest of the points comes
# from the population. The narrow one is the efficient one; the wide one covers skewed posteriors; the population bounds
# every weight, so that none has infinite variance (Owen and Zhou 2000, doi:10.1080/01621459.2000.10473909).
_SHARES = (0.5, 0.25, 0.25)
_SDS = (1.1, 2.0)
_LEAST_DRAWS = 50  # posterior draws from which a patient's mean and covariance in eps are taken, else 0 and 1
_RIDGE = 1e-6
_LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True)
class Proposal:
    """The map eps -> phi of the response coordinates, and each patient's mean and root of the covariance in eps."""

    window: Window
    whitening: Whitening
    centre: np.ndarray  # (n_patients, d)
    root: np.ndarray  # (n_patients, d, d) lower triangular

    def to_phi(self, eps: np.ndarray, at: PopulationAt) -> tuple[np.ndarray, np.ndarray]:
        """phi (n_patients, d) and log |d phi / d eps| (n_patients,)."""
        phi, log_jacobian = np.empty_like(eps), np.empty(eps.shape[0])
        unwhiten(self.window, self.whitening, eps, at.mean, at.spread, at.k, phi, log_jacobian)
        return phi, log_jacobian

    def to_eps(self, phi: np.ndarray, at: PopulationAt) -> np.ndarray:
        eps = np.empty_like(phi)
        whiten(self.window, self.whitening, np.ascontiguousarray(phi), at.mean, at.spread, at.k, eps)
        return eps


@dataclass(frozen=True)
class HazardGivenPhi:
    """Linear predictor of the hazard given phi, where missing covariates act on it: normal.

    mean (n_patients,) at the mean of phi, slope (n_patients, d), sd (n_patients,) of what phi leaves open.
    """

    mean: np.ndarray
    slope: np.ndarray
    sd: np.ndarray

    def at(self, away: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Draws (..., n_patients) at phi - mean (..., n_patients, d) and standard normal z (..., n_patients)."""
        return self.mean + np.sum(self.slope * away, axis=-1) + self.sd * z


@dataclass(frozen=True)
class PopulationAt:
    """The population at one draw: means (n_patients, d), SDs (d,), k (L/umol).

    cholesky: factor (d, d) of the correlation matrix of random effects, None for independent ones. Where missing
    covariates are integrated out (`bayes_isa.inference.unseen_covariates`): roots (n_patients, d, d) of the covariance
    of each patient's phi, which include them, `hazard`, and log densities (n_patients,) of the covariates given.
    """

    mean: np.ndarray
    omega: np.ndarray
    k: float
    cholesky: np.ndarray | None = None
    roots: np.ndarray | None = None
    hazard: HazardGivenPhi | None = None
    covariate_log_density: np.ndarray | None = None

    @cached_property
    def spread(self) -> np.ndarray:
        """For `bayes_isa.kernels.whitening`: omega (d,), or the precision (d, d) of correlated random effects."""
        if self.cholesky is None:
            return self.omega
        half = np.linalg.solve(self.cholesky, np.diag(1.0 / self.omega))
        return half.T @ half

    def at(self, z: np.ndarray) -> np.ndarray:
        """phi (..., n_patients, d) at independent standard normal z."""
        if self.roots is not None:
            return self.mean + np.einsum("nij,...nj->...ni", self.roots, z)
        return self.mean + self.omega * (z if self.cholesky is None else z @ self.cholesky.T)

    def log_density(self, phi: np.ndarray) -> np.ndarray:
        """log p(phi | population), (..., n_patients)."""
        if self.roots is not None:
            z = np.einsum("nij,...nj->...ni", np.linalg.inv(self.roots), phi - self.mean)
            log_determinants = np.log(np.diagonal(self.roots, axis1=1, axis2=2)).sum(axis=1)
            return -0.5 * np.sum(z * z + _LOG_2PI, axis=-1) - log_determinants
        z = (phi - self.mean) / self.omega
        log_determinant = np.sum(np.log(self.omega))
        if self.cholesky is not None:
            z = z @ np.linalg.inv(self.cholesky).T
            log_determinant += np.sum(np.log(np.diagonal(self.cholesky)))
        return -0.5 * np.sum(z * z + _LOG_2PI, axis=-1) - log_determinant


def adapted_proposal(
    window: Window, whitening: Whitening, phi: np.ndarray, populations: list[PopulationAt]
) -> Proposal:
    """A proposal whose Gaussians are those of posterior draws phi (n_draws, n_patients, d), each at its population.

    In eps these are near standard normal whatever the draw; what is left of mean and covariance is taken from the draws
    where there are enough, and any patient whose map fails at some draw keeps the standard normal.
    """
    _, n_patients, d = phi.shape
    plain = Proposal(window, whitening, np.zeros((n_patients, d)), np.tile(np.eye(d), (n_patients, 1, 1)))
    if len(populations) < _LEAST_DRAWS:
        return plain
    eps = np.stack([plain.to_eps(one, at) for one, at in zip(phi, populations, strict=True)])
    usable = np.isfinite(eps).all(axis=(0, 2))
    eps = np.where(usable[:, None], eps, 0.0)
    centre = eps.mean(axis=0)
    deviation = eps - centre
    covariance = np.einsum("sni,snj->nij", deviation, deviation) / (len(eps) - 1) + _RIDGE * np.eye(d)
    root = np.linalg.cholesky(np.where(usable[:, None, None], covariance, np.eye(d)))
    return Proposal(window, whitening, centre, root)


@dataclass(frozen=True)
class Points:
    """phi (n_points, n_patients, d) with log p(phi | population) - log q(phi), (n_points, n_patients).

    Points lie in two independent halves, even and odd. Unusable ones have a log ratio of -inf.
    """

    phi: np.ndarray
    log_ratio: np.ndarray


def draw_points(proposal: Proposal, at: PopulationAt, n_points: int, rng: np.random.Generator) -> Points:
    """Two independent randomly shifted Sobol point sets for each patient, spread over the mixture's components."""
    n_patients, d = proposal.centre.shape
    half = n_points // 2
    counts = [half // 2, half // 4, half // 4]
    # A point set for each component: every fourth point of one Sobol set would be no Sobol set.
    base = np.concatenate([qmc.Sobol(d, scramble=True, seed=rng).random(count) for count in counts])
    shift = rng.random((2, n_patients, d))
    uniform = (base[:, None, None, :] + shift) % 1.0  # (half, 2, n_patients, d)
    normal = ndtri(np.clip(uniform, 1e-12, 1.0 - 1e-12)).reshape(2 * half, n_patients, d)
    component = np.repeat(np.repeat(np.arange(3), counts), 2)
    own = component < 2
    scale = np.asarray(_SDS)[component[own]]
    eps, phi = np.empty_like(normal), np.empty_like(normal)
    eps[own] = proposal.centre + scale[:, None, None] * np.einsum("nij,pnj->pni", proposal.root, normal[own])
    phi[~own] = at.at(normal[~own])
    log_jacobian = np.empty((2 * half, n_patients))
    for number in range(2 * half):
        if not own[number]:
            eps[number] = proposal.to_eps(phi[number], at)
        mapped, log_jacobian[number] = proposal.to_phi(eps[number], at)
        if own[number]:
            phi[number] = mapped
    with np.errstate(invalid="ignore", over="ignore"):
        log_prior = at.log_density(phi)
        log_ratio = log_prior - _log_mixture(proposal, eps, log_jacobian, log_prior)
    return Points(phi, np.where(np.isfinite(log_ratio) & np.isfinite(phi).all(axis=-1), log_ratio, -np.inf))


def _log_mixture(
    proposal: Proposal, eps: np.ndarray, log_jacobian: np.ndarray, log_prior: np.ndarray
) -> np.ndarray:
    """log q of the whole mixture (n_points, n_patients), by phi."""
    d = eps.shape[-1]
    z = np.einsum("nij,pnj->pni", np.linalg.inv(proposal.root), eps - proposal.centre)
    square = np.sum(z * z, axis=-1)
    log_root = np.log(np.diagonal(proposal.root, axis1=1, axis2=2)).sum(axis=1)
    total = np.log(_SHARES[2]) + log_prior
    for share, sd in zip(_SHARES[:2], _SDS, strict=True):
        part = (
            np.log(share) - 0.5 * square / sd**2 - d * (np.log(sd) + 0.5 * _LOG_2PI) - log_root - log_jacobian
        )
        # So far out that eps overflows a Gaussian has no mass, whatever the map's slope there.
        total = np.logaddexp(total, np.where(np.isfinite(square), part, -np.inf))
    return total
