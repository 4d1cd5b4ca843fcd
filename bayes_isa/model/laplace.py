"""Warm start: a rough population estimate, individual modes, and the curvature of each patient's log-likelihood there.

Rounds of "individual modes given the population, then the population given the modes and their Laplace covariances" (an
approximate EM). The result only sets starting points and the whitening of the response coordinates: a poor one costs
speed, never correctness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from bayes_isa.kernels.evaluate import Parameters, evaluate_terms, measurement_terms
from bayes_isa.kernels.response import Whitening, Window
from bayes_isa.kernels.trajectory import pull_back
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.prior import Prior
from bayes_isa.model.priors import PriorSet
from bayes_isa.model.windows import map_all, psi_all, response_window

_ROUNDS = 6  # further rounds moved no population value of the built-in trial by more than a tenth of its posterior SD
_NEWTON_STEPS = 40
_CONVERGED = 1e-3  # expected gain in a patient's log-density from one more Newton step
_DIFFERENCE = 1e-4  # step of the finite differences in psi, whose posterior SDs are 0.01 to 2
_LONGEST_STEP = 2.0
_OMEGA_RANGE = (0.05, 3.0)  # keeps a rough estimate from collapsing or exploding; not a bound on the model


@dataclass(frozen=True)
class Population:
    """A population estimate: mean (n_patients, d) and SD (d,) of the log parameters, and what all patients share."""

    typical: np.ndarray  # (d,) natural scale
    effects: Mapping[str, np.ndarray]  # target -> betas
    omega: np.ndarray
    shared: Mapping[str, float]  # k, Te, s, beta_link, sigma_add, sigma_prop
    mean: np.ndarray


@dataclass(frozen=True)
class WarmStart:
    """What `build_model` takes from the warm start."""

    population: Population
    phi: np.ndarray  # (n_patients, d) individual modes
    window: Window
    whitening: Whitening
    failed: tuple[
        str, ...
    ]  # patients whose optimisation failed; their coordinates rest on the population alone


def warm_start(data: JointData, priors: PriorSet, *, rounds: int = _ROUNDS) -> WarmStart:
    """Population estimate, individual modes and whitening for `data`; deterministic."""
    window = response_window(data)
    population = _initial_population(data, priors)
    phi = population.mean.copy()
    phi[:, 0] = np.log(data.trial.baseline_mprotein.to_numpy(dtype=float))
    for _ in range(rounds):
        phi, covariance, _ = _modes(data, window, population, phi)
        population = _update_shared(data, priors, population, phi)
        population = _update_individual(data, priors, population, phi, covariance)
    phi, _, converged = _modes(data, window, population, phi)
    whitening, sound = _whitening(data, window, population, phi)
    failed = np.flatnonzero(~(converged & sound))
    return WarmStart(population, phi, window, whitening, tuple(data.patient_ids[i] for i in failed))


def _initial_population(data: JointData, priors: PriorSet) -> Population:
    names = data.spec.individual
    typical = np.array([_median(priors.parameters[f"{name}_pop"]) for name in names])
    typical[0] = np.exp(np.mean(np.log(data.trial.baseline_mprotein.to_numpy(dtype=float))))
    omega = np.array([_median(priors.parameters[f"omega_{name}"]) for name in names])
    effects = {target: np.zeros(matrix.sizes["covariate"]) for target, matrix in data.covariates.items()}
    shared = {name: _median(prior) for name, prior in _shared_priors(data, priors).items()}
    return Population(typical, effects, omega, shared, _means(data, typical, effects))


def _median(prior: Prior) -> float:
    return float(prior.quantiles([0.5])[0])


def _shared_priors(data: JointData, priors: PriorSet) -> dict[str, Prior]:
    """Priors of the parameters that all patients share, those the model has."""
    names = ["sigma_add", "sigma_prop", "Te"]
    names += ["s"] if data.spec.hazard != "exponential" else []
    names += ["k"] if data.has_dexamethasone else []
    chosen = {name: priors.parameters[name] for name in names}
    if data.spec.link != "none":
        chosen["beta_link"] = priors.link(data.spec.link)
    return chosen


def _means(data: JointData, typical: np.ndarray, effects: Mapping[str, np.ndarray]) -> np.ndarray:
    columns = [
        np.log(value) + data.covariates[name].to_numpy() @ effects[name]
        for name, value in zip(data.spec.individual, typical, strict=True)
    ]
    return np.stack(columns, axis=1)


def _kernel_parameters(data: JointData, population: Population, phi: np.ndarray) -> Parameters:
    complete = np.full((phi.shape[0], 5), -np.inf)
    complete[:, : phi.shape[1]] = phi
    return Parameters(
        phi=complete,
        k=population.shared.get("k", 0.0),
        hazard_lp=data.covariates["hazard"].to_numpy() @ population.effects["hazard"],
        beta_link=population.shared.get("beta_link", 0.0),
        te=population.shared["Te"],
        s=population.shared.get("s", 1.0),
    )


@dataclass(frozen=True)
class _Likelihood:
    """Log-likelihood by patient with its derivatives."""

    value: np.ndarray  # (n_patients,)
    by_phi: np.ndarray  # (n_patients, d)
    by_lp: np.ndarray  # (n_patients,)
    by_shared: dict[str, float]


def _likelihood(data: JointData, population: Population, phi: np.ndarray) -> _Likelihood:
    design = data.panels.design
    n_patients = phi.shape[0]
    terms = evaluate_terms(data.panels, data.shape, _kernel_parameters(data, population, phi))
    term, partial = np.empty(data.value.size), np.empty((data.value.size, 3))
    shared = population.shared
    measurement_terms(
        terms.log_m, data.value, data.below, shared["sigma_add"], shared["sigma_prop"], term, partial
    )
    event = data.event.astype(float)
    individual, common = np.empty((n_patients, 6)), np.empty(4)
    pull_back(
        design,
        np.ascontiguousarray(partial[:, 0]),
        np.full(n_patients, -1.0),
        event,
        terms.by_marker,
        terms.by_cumulative,
        terms.by_log_hazard,
        individual,
        common,
    )
    patient = np.repeat(np.arange(n_patients), np.diff(design.measurement_offset))
    value = np.bincount(patient, weights=term, minlength=n_patients)
    value = value + np.where(data.event, terms.log_hazard, 0.0) - terms.cumulative_hazard
    by_shared = {name: float(x) for name, x in zip(("k", "beta_link", "Te", "s"), common, strict=True)}
    by_shared |= {"sigma_add": float(partial[:, 1].sum()), "sigma_prop": float(partial[:, 2].sum())}
    return _Likelihood(
        np.where(np.isfinite(value), value, -np.inf),
        individual[:, : phi.shape[1]],
        individual[:, 5],
        by_shared,
    )


_Density = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def _log_density(data: JointData, window: Window, population: Population, *, with_prior: bool) -> _Density:
    """Of psi (n_patients, d): log-likelihood plus log Jacobian, on request plus the population's density; gradient."""
    k = population.shared.get("k", 0.0)
    weight = population.omega**-2.0

    def density(psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mapped = map_all(window, psi, k)
        likelihood = _likelihood(data, population, mapped.phi)
        value = likelihood.value + mapped.log_jacobian
        by_phi = likelihood.by_phi
        if with_prior:
            distance = mapped.phi - population.mean
            value = value - 0.5 * np.sum(weight * distance**2, axis=1)
            by_phi = by_phi - weight * distance
        gradient = np.einsum("nji,nj->ni", mapped.by_psi, by_phi) + mapped.log_jacobian_by_psi
        return value, gradient

    return density


def _hessian(density: _Density, psi: np.ndarray) -> np.ndarray:
    """Central differences of the gradient, symmetric: (n_patients, d, d)."""
    columns = []
    for x in range(psi.shape[1]):
        step = np.zeros(psi.shape[1])
        step[x] = _DIFFERENCE
        columns.append((density(psi + step)[1] - density(psi - step)[1]) / (2.0 * _DIFFERENCE))
    hessian = np.stack(columns, axis=2)
    return 0.5 * (hessian + hessian.transpose(0, 2, 1))


def _modes(
    data: JointData, window: Window, population: Population, phi: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Modes of all patients at once by damped Newton in psi: phi, its Laplace variances (n_patients, d), converged."""
    density = _log_density(data, window, population, with_prior=True)
    k = population.shared.get("k", 0.0)
    psi = psi_all(window, phi, k)
    value, gradient = density(psi)
    gain = np.full(value.shape, np.inf)
    for _ in range(_NEWTON_STEPS):
        step, gain = _newton_step(_hessian(density, psi), gradient)
        if np.all(gain < _CONVERGED):
            break
        psi, value, gradient = _line_search(density, psi, step, value, gradient)
    # What little curvature is missing is that of an unbounded direction: at least the population's own.
    precision = -_hessian(density, psi)
    mapped = map_all(window, psi, k)
    variance = _variances(precision, mapped.by_psi, population.omega)
    return mapped.phi, variance, (gain < _CONVERGED) & np.isfinite(value)


def _newton_step(hessian: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascent step with the absolute values of the curvature's eigenvalues, and the gain it promises."""
    usable = np.isfinite(hessian).all(axis=(1, 2)) & np.isfinite(gradient).all(axis=1)
    hessian = np.where(usable[:, None, None], hessian, -np.eye(hessian.shape[1]))
    gradient = np.where(usable[:, None], gradient, 0.0)
    eigenvalue, vector = np.linalg.eigh(-hessian)
    # The floor is a curvature no coordinate has in earnest: it only bounds the step.
    along = np.einsum("nij,ni->nj", vector, gradient) / np.maximum(np.abs(eigenvalue), 1e-2)
    step = np.einsum("nij,nj->ni", vector, along)
    longest = np.abs(step).max(axis=1, keepdims=True)
    step = step * np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300))
    return step, np.where(usable, np.sum(step * gradient, axis=1), np.inf)


def _line_search(
    density: _Density, psi: np.ndarray, step: np.ndarray, value: np.ndarray, gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Halve each patient's step until its density rises; patients that never rise stay."""
    fraction = np.ones(value.shape)
    done = np.zeros(value.shape, dtype=bool)
    for _ in range(12):
        trial = psi + fraction[:, None] * step
        new_value, new_gradient = density(np.where(done[:, None], psi, trial))
        better = ~done & (new_value > value)
        psi = np.where(better[:, None], trial, psi)
        value = np.where(better, new_value, value)
        gradient = np.where(better[:, None], new_gradient, gradient)
        done |= better
        if done.all():
            break
        fraction[~done] *= 0.5
    return psi, value, gradient


def _variances(precision: np.ndarray, by_psi: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """Laplace variances of phi, at most the population's own."""
    usable = np.isfinite(precision).all(axis=(1, 2))
    eigenvalue, vector = np.linalg.eigh(np.where(usable[:, None, None], precision, np.eye(omega.size)))
    inverse = np.einsum("nij,nj,nkj->nik", vector, 1.0 / np.maximum(eigenvalue, 1e-2), vector)
    covariance = np.einsum("nij,njk,nlk->nil", by_psi, inverse, by_psi)
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    return np.where(usable[:, None], np.minimum(variance, omega**2), omega**2)


def _update_individual(
    data: JointData, priors: PriorSet, population: Population, phi: np.ndarray, variance: np.ndarray
) -> Population:
    """Typical values, covariate effects and omegas given modes: least squares with the priors as ridge."""
    typical, omega = population.typical.copy(), population.omega.copy()
    effects = dict(population.effects)
    n_patients = phi.shape[0]
    for j, name in enumerate(data.spec.individual):
        matrix = np.column_stack([np.ones(n_patients), data.covariates[name].to_numpy()])
        covariates = [str(c) for c in data.covariates[name]["covariate"].to_numpy()]
        beta_priors = [priors.covariate_effect(name, c) for c in covariates]
        centre = np.array([np.log(_median(priors.parameters[f"{name}_pop"])), *map(_median, beta_priors)])
        sd = np.array([_log_sd(priors.parameters[f"{name}_pop"]), *map(_sd, beta_priors)])
        precision = matrix.T @ matrix / omega[j] ** 2 + np.diag(sd**-2.0)
        solution = np.linalg.solve(precision, matrix.T @ phi[:, j] / omega[j] ** 2 + centre / sd**2)
        typical[j] = np.exp(solution[0])
        effects[name] = solution[1:]
        residual = phi[:, j] - matrix @ solution
        omega[j] = np.clip(np.sqrt(np.mean(residual**2 + variance[:, j])), *_OMEGA_RANGE)
    updated = replace(population, typical=typical, effects=effects, omega=omega)
    return replace(updated, mean=_means(data, typical, effects))


def _sd(prior: Prior) -> float:
    low, high = prior.quantiles([0.16, 0.84])
    return float(0.5 * (high - low))


def _log_sd(prior: Prior) -> float:
    low, high = np.log(prior.quantiles([0.16, 0.84]))
    return float(0.5 * (high - low))


def _update_shared(data: JointData, priors: PriorSet, population: Population, phi: np.ndarray) -> Population:
    """Shared parameters and hazard covariate effects given modes: the posterior mode, by L-BFGS on the log scale."""
    shared_priors = _shared_priors(data, priors)
    names = list(shared_priors)
    covariates = [str(c) for c in data.covariates["hazard"]["covariate"].to_numpy()]
    hazard_priors = [priors.covariate_effect("hazard", c) for c in covariates]
    densities = [*shared_priors.values(), *hazard_priors]
    positive = np.array([prior.support()[0] >= 0.0 for prior in densities])
    frozen = [prior.scipy() for prior in densities]
    start = np.array([population.shared[name] for name in names] + list(population.effects["hazard"]))

    def unpack(u: np.ndarray) -> tuple[np.ndarray, Population]:
        natural = np.where(positive, np.exp(np.where(positive, u, 0.0)), u)
        shared = dict(zip(names, natural[: len(names)].tolist(), strict=True))
        effects = {**population.effects, "hazard": natural[len(names) :]}
        return natural, replace(population, shared=shared, effects=effects)

    def log_prior(natural: np.ndarray) -> float:
        return float(sum(density.logpdf(x) for density, x in zip(frozen, natural, strict=True)))

    def objective(u: np.ndarray) -> tuple[float, np.ndarray]:
        natural, candidate = unpack(u)
        likelihood = _likelihood(data, candidate, phi)
        value = likelihood.value.sum() + log_prior(natural)
        by_lp = data.covariates["hazard"].to_numpy().T @ likelihood.by_lp
        slope = np.concatenate([[likelihood.by_shared[name] for name in names], by_lp])
        for j, density in enumerate(frozen):
            h = 1e-5 * max(1e-3, abs(natural[j]))
            slope[j] += (density.logpdf(natural[j] + h) - density.logpdf(natural[j] - h)) / (2.0 * h)
        slope = np.where(positive, slope * natural, slope)
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            return 1e100, np.zeros_like(u)
        return -value, -slope

    u0 = np.where(positive, np.log(np.where(positive, start, 1.0)), start)
    found = minimize(objective, u0, jac=True, method="L-BFGS-B", options={"maxiter": 50})
    return unpack(found.x)[1]


def _whitening(
    data: JointData, window: Window, population: Population, phi: np.ndarray
) -> tuple[Whitening, np.ndarray]:
    """Curvature H, pull h and linearised map A, c at the modes; and which patients' numbers are sound."""
    k = population.shared.get("k", 0.0)
    psi = psi_all(window, phi, k)
    density = _log_density(data, window, population, with_prior=False)
    _, gradient = density(psi)
    information = -_hessian(density, psi)
    sound = np.isfinite(information).all(axis=(1, 2)) & np.isfinite(gradient).all(axis=1)
    information = np.where(sound[:, None, None], information, 0.0)
    eigenvalue, vector = np.linalg.eigh(information)
    curvature = np.einsum("nij,nj,nkj->nik", vector, np.maximum(eigenvalue, 0.0), vector)
    pull = np.einsum("nij,nj->ni", curvature, psi) + np.where(sound[:, None], gradient, 0.0)
    linear = map_all(window, psi, k).by_psi
    offset = phi - np.einsum("nij,nj->ni", linear, psi)
    arrays = (np.ascontiguousarray(array) for array in (curvature, pull, linear, offset))
    return Whitening(*arrays), sound
