"""`marginal_likelihood`: each patient's likelihood with the individual parameters integrated out, draw by draw.

    p(y_i, T_i | theta) = int p(y_i | phi, theta) p(T_i | phi, theta) N(phi | mu_i(theta), Omega(theta)) dphi

by importance sampling from a mixture of the patient's own Gaussian in response coordinates and the population; the same
points give the marker's and the PFS time's marginal likelihoods. Imputed covariates are integrated out with phi, given
the patient's other covariates and the draw's covariate model.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayes_isa.data import Trial
from bayes_isa.errors import ModelError
from bayes_isa.inference.population import correlation_factors, population_means
from bayes_isa.inference.proposal import PopulationAt, Proposal, adapted_proposal, draw_points
from bayes_isa.inference.storage import priors_of, spec_of, trial_of
from bayes_isa.inference.unseen_covariates import with_covariates_integrated
from bayes_isa.kernels.evaluate import Parameters
from bayes_isa.kernels.residual import Residual
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.patient_terms import kernel_parameters, record_terms, residual_of
from bayes_isa.model.priors import PriorSet
from bayes_isa.model.spec import ModelSpec
from bayes_isa.model.warm_start import warm_start

PARTS = ("joint", "marker", "pfs")
# Of 30 virtual patients this left a standard deviation of the joint log-likelihood of 0.08 in the median, 0.16 at most;
# noise that independent halves keep from biasing the ELPD.
N_POINTS = 128
# The Monte-Carlo error of a mean over 1000 draws is below that of most fits, which have 400 to 4000 effective ones.
N_DRAWS = 1000
_ADAPT_DRAWS = 400  # a covariance of five parameters is then known to a few per cent


def marginal_likelihood(
    fit: xr.DataTree,
    *,
    n_points: int = N_POINTS,
    n_draws: int = N_DRAWS,
    seed: int = 0,
    trial: Trial | None = None,
    spec: ModelSpec | None = None,
    priors: PriorSet | None = None,
) -> xr.Dataset:
    """log p(y_i, T_i | draw), log p(y_i | draw) and log p(T_i | draw) of every patient, random effects integrated out.

    n_points: importance sampling points a patient and draw, a multiple of 16. n_draws: posterior draws used, evenly
    spaced. trial, spec, priors: of the fit by default.

    Returns a Dataset: `log_likelihood` (part, chain, draw, patient), parts "joint", "marker" and "pfs", and
    `half_log_likelihood` (half, part, ...) from two independent halves of the points; `ess` of the importance weights
    (part, chain, draw, patient), out of `n_points`; `noise_sd` (part, patient), the standard deviation of one estimated
    log-likelihood, from the halves; where covariates are imputed, `covariate_log_likelihood` (chain, draw, patient) of
    the values given of incomplete covariates. attrs "n_points", "n_unusable" (points whose map failed, which count as
    0). Raises ModelError for settings, or a fit, that this cannot be done with.
    """
    if n_points < 16 or n_points % 16 or n_draws < 1:
        raise ModelError(
            f"expected n_points a multiple of 16 and n_draws at least 1, found {n_points} and {n_draws}"
        )
    draws = chosen_draws(fit, n_draws)
    data = prepare(trial_of(fit) if trial is None else trial, spec_of(fit) if spec is None else spec)
    if [str(i) for i in draws["patient"].to_numpy()] != data.patient_ids:
        raise ModelError("the trial is not the one that was fitted, or its patients are in another order")
    start = warm_start(data, priors_of(fit) if priors is None else priors)
    populations = populations_at(data, draws)
    take = np.unique(np.linspace(0, len(populations) - 1, _ADAPT_DRAWS).round().astype(int))
    phi = draws["phi"].transpose("sample", "patient", "parameter").to_numpy()
    proposal = adapted_proposal(start.window, start.whitening, phi[take], [populations[j] for j in take])
    return evaluate_marginal(data, proposal, draws, populations, n_points=n_points, seed=seed)


def chosen_draws(fit: xr.DataTree, n_draws: int) -> xr.Dataset:
    """At most about `n_draws` evenly spaced draws, the same in every chain; dim sample, with coords chain and draw."""
    if "posterior" not in fit.children:
        raise ModelError("the fit has no group 'posterior': pass what `bayes_isa.fit` returned")
    posterior = fit["posterior"].to_dataset()
    size, chains = posterior.sizes["draw"], posterior.sizes["chain"]
    positions = np.unique(np.linspace(0, size - 1, min(size, max(1, n_draws // chains))).round().astype(int))
    return posterior.isel(draw=positions).stack(sample=("chain", "draw"), create_index=False)


def populations_at(data: JointData, draws: xr.Dataset) -> list[PopulationAt]:
    """The population of every draw, imputed covariates integrated out."""
    means, omegas = population_means(data.as_expected, draws)
    k = draws["k"].to_numpy() if "k" in draws else np.zeros(draws.sizes["sample"])
    factors = correlation_factors(data, draws)
    own_factors = [None] * len(means) if factors is None else list(factors)
    populations = [
        PopulationAt(np.ascontiguousarray(mean), np.ascontiguousarray(omega), float(own), factor)
        for mean, omega, own, factor in zip(means, omegas, k, own_factors, strict=True)
    ]
    if data.imputation is None:
        return populations
    return with_covariates_integrated(data, data.imputation, draws, populations)


@dataclass(frozen=True)
class _OneDraw:
    """Of one draw: (part, patient) each, and how many points were unusable."""

    log_likelihood: np.ndarray
    ess: np.ndarray
    halves: np.ndarray  # (half, part, patient)
    n_unusable: int


def evaluate_marginal(
    data: JointData,
    proposal: Proposal,
    draws: xr.Dataset,
    populations: list[PopulationAt],
    *,
    n_points: int,
    seed: int,
) -> xr.Dataset:
    """`marginal_likelihood` with everything prepared."""
    seeds = np.random.SeedSequence(seed).spawn(len(populations))

    def one(number: int) -> _OneDraw:
        rng = np.random.default_rng(seeds[number])
        return _at_draw(data, proposal, draws.isel(sample=number), populations[number], n_points, rng)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        results = list(workers.map(one, range(len(populations))))
    chains, size = np.unique(draws["chain"]).size, len(populations)
    shape = (len(PARTS), chains, size // chains, data.trial.n_patients)
    dims = ("part", "chain", "draw", "patient")

    def gathered(name: str) -> np.ndarray:
        values = np.stack([getattr(r, name) for r in results], axis=-2)
        return values.reshape(*values.shape[:-2], *shape[1:])

    halves = gathered("halves")
    with np.errstate(invalid="ignore"):  # a patient impossible in both halves
        squares = (halves[0] - halves[1]) ** 2
    of_covariates = {}
    densities = [at.covariate_log_density for at in populations if at.covariate_log_density is not None]
    if densities:
        of_covariates = {"covariate_log_likelihood": (dims[1:], np.stack(densities).reshape(shape[1:]))}
    return xr.Dataset(
        {
            "log_likelihood": (dims, gathered("log_likelihood")),
            "half_log_likelihood": (("half", *dims), halves),
            "ess": (dims, gathered("ess")),
            **of_covariates,
            # The halves' mean has a quarter of the variance of their difference.
            "noise_sd": (("part", "patient"), np.sqrt(squares.mean(axis=(1, 2)) / 4.0)),
        },
        coords={
            "part": list(PARTS),
            "chain": np.unique(draws["chain"]),
            "draw": draws["draw"].to_numpy()[: size // chains],
            "patient": data.patient_ids,
        },
        attrs={"n_points": n_points, "n_unusable": int(sum(r.n_unusable for r in results))},
    )


def _at_draw(
    data: JointData,
    proposal: Proposal,
    one: xr.Dataset,
    at: PopulationAt,
    n_points: int,
    rng: np.random.Generator,
) -> _OneDraw:
    points = draw_points(proposal, at, n_points, rng)
    shared = kernel_parameters(data.as_expected, one)
    residual = residual_of(one)
    n_patients, d = at.mean.shape
    complete = np.full((n_patients, 5), -np.inf)
    log_weight = np.empty((len(PARTS), n_points, n_patients))
    usable = np.isfinite(points.log_ratio)
    hazard_lp = _hazard_predictors(at, points.phi, usable, rng)
    for number in range(n_points):
        complete[:, :d] = np.where(usable[number][:, None], points.phi[number], at.mean)
        if hazard_lp is not None:
            shared = replace(shared, hazard_lp=hazard_lp[number])
        marker, pfs = patient_terms(data, shared, complete, residual)
        ratio = points.log_ratio[number]
        log_weight[:, number] = marker + pfs + ratio, marker + ratio, pfs + ratio
    whole = logsumexp(log_weight, axis=1) - np.log(n_points)
    halves = np.stack([logsumexp(log_weight[:, h::2], axis=1) - np.log(n_points // 2) for h in (0, 1)])
    # A point of no weight at all, or a patient without any other, is one that counts nothing.
    with np.errstate(over="ignore", invalid="ignore"):
        ess = np.exp(2.0 * logsumexp(log_weight, axis=1) - logsumexp(2.0 * log_weight, axis=1))
    return _OneDraw(whole, np.nan_to_num(ess), halves, int((~usable).sum()))


def _hazard_predictors(
    at: PopulationAt, phi: np.ndarray, usable: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """One draw of the hazard's linear predictor at each point (n_points, n_patients); None where none is open."""
    if at.hazard is None:
        return None
    away = np.where(usable[..., None], phi - at.mean, 0.0)
    return at.hazard.at(away, rng.standard_normal(usable.shape))


def patient_terms(
    data: JointData, shared: Parameters, phi: np.ndarray, residual: Residual
) -> tuple[np.ndarray, np.ndarray]:
    """log p(y_i | phi_i) and log p(T_i | phi_i), (n_patients,) each, at phi (n_patients, 5); -inf where M overflows."""
    records = record_terms(data, replace(shared, phi=phi), residual)
    return records.marker_by_patient(data), records.finite_event
