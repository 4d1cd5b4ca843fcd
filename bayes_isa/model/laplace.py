"""Warm start: a rough population estimate and a Gaussian approximation of each patient's posterior.

Rounds of an approximate EM: a Laplace approximation of each patient's posterior at its mode, then the population from
averages over cubature points of those Gaussians. At the end each Gaussian takes a few steps towards the variational
one, which, unlike curvature at the mode, sees the breadth of skewed posteriors. The result only sets starting points
and the whitening of the coordinates: a poor one costs speed, never correctness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from bayes_isa.kernels.evaluate import Parameters, evaluate_terms, measurement_terms
from bayes_isa.kernels.response import Whitening, Window
from bayes_isa.kernels.trajectory import EVENT_PARTIALS, MARKER_PARTIALS, pull_back
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.prior import Prior
from bayes_isa.model.priors import PriorSet
from bayes_isa.model.windows import map_all, psi_all, response_window

_ROUNDS = (
    6  # further rounds moved no population value of the built-in trial by more than half its posterior SD
)
# Two steps of at most one SD: enough to leave the mode of a skewed posterior, too few to wander off in a flat one.
_GAUSSIAN_STEPS = 2
_WORST_CONDITION = (
    1e-13  # smallest over largest eigenvalue of a precision that double arithmetic still factorises
)
_WALL_AT = 3.0  # SDs from the centre at which a wall is looked for,
_WALL = 3.0  # and how many times steeper than a normal's fall it must be
_SHARED_STEPS = 20  # of L-BFGS a round: the next round continues
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

    @property
    def k(self) -> float:
        """k in L/umol; 0 without dexamethasone, where it is no parameter."""
        return self.shared.get("k", 0.0)


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
    """Population estimate, individual starting points and whitening for `data`; deterministic."""
    window = response_window(data)
    population = _initial_population(data, priors)
    phi = population.mean.copy()
    phi[:, 0] = np.log(data.trial.baseline_mprotein.to_numpy(dtype=float))
    gaussian = _modes(data, window, population, phi)
    for _ in range(rounds):
        points = _phi_points(window, population, gaussian)
        population = _update_shared(data, priors, population, points)
        population = _update_individual(data, priors, population, points)
        gaussian = _modes(data, window, population, points[0])
    chosen = _best_whitening(data, window, population, gaussian)
    phi = map_all(window, chosen.centre, population.k).phi
    window = _stretched_window(data, window, population, chosen)
    chosen = _best_whitening(data, window, population, _modes(data, window, population, phi))
    failed = np.flatnonzero(~(gaussian.sound & np.isfinite(chosen.score)))
    phi = map_all(window, chosen.centre, population.k).phi
    return WarmStart(population, phi, window, chosen.whitening, tuple(data.patient_ids[i] for i in failed))


def _stretched_window(data: JointData, window: Window, population: Population, chosen: _Scored) -> Window:
    """Bend the third coordinate of patients whose density falls off a wall above the centre: see `kernels.response`."""
    density = _log_density(data, window, population, with_prior=True)
    base = density(chosen.centre)[0]
    with np.errstate(invalid="ignore", over="ignore"):
        fall = np.array([base - density(chosen.centre + _WALL_AT * step)[0] for step in chosen.steps])
    # A standard normal would have fallen by half the square.
    wall = np.where(np.isfinite(fall), fall, np.inf).max(axis=0) > _WALL * 0.5 * _WALL_AT**2
    sd = np.sqrt(np.sum(chosen.steps[:, :, 2] ** 2, axis=0))
    return window._replace(knee=chosen.centre[:, 2].copy(), bend=np.where(wall, 1.0 / sd, 0.0))


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
        k=population.k,
        hazard_lp=data.covariates["hazard"].to_numpy() @ population.effects["hazard"],
        beta_link=population.shared.get("beta_link", 0.0),
        te=population.shared["Te"],
        s=population.shared.get("s", 1.0),
    )


@dataclass(frozen=True)
class _Likelihood:
    """Log-likelihood by patient with its derivatives; -inf where a curve overflows."""

    marker: np.ndarray  # (n_patients,) all measurements of a patient
    event: np.ndarray  # (n_patients,) the PFS time
    by_phi: np.ndarray  # (n_patients, d)
    by_lp: np.ndarray  # (n_patients,)
    by_shared: dict[str, np.ndarray]  # each (n_patients,)


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
    individual = np.empty((n_patients, 6))
    pull_back(
        design,
        np.ascontiguousarray(partial[:, 0]),
        np.full(n_patients, -1.0),
        event,
        terms.by_marker,
        terms.by_cumulative,
        terms.by_log_hazard,
        individual,
        np.empty(4),
    )
    patient = np.repeat(np.arange(n_patients), np.diff(design.measurement_offset))

    def by_patient(rows: np.ndarray) -> np.ndarray:
        return np.bincount(patient, weights=rows, minlength=n_patients)

    marker = by_patient(term)
    from_pfs = np.where(data.event, terms.log_hazard, 0.0) - terms.cumulative_hazard
    from_event = event[:, None] * terms.by_log_hazard - terms.by_cumulative
    by_shared = {name: from_event[:, EVENT_PARTIALS.index(name)] for name in ("k", "beta_link", "Te", "s")}
    by_shared["k"] = by_shared["k"] + by_patient(
        partial[:, 0] * terms.by_marker[:, MARKER_PARTIALS.index("k")]
    )
    by_shared |= {"sigma_add": by_patient(partial[:, 1]), "sigma_prop": by_patient(partial[:, 2])}
    return _Likelihood(
        np.where(np.isfinite(marker), marker, -np.inf),
        np.where(np.isfinite(from_pfs), from_pfs, -np.inf),
        individual[:, : phi.shape[1]],
        individual[:, 5],
        by_shared,
    )


_Density = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def _log_density(data: JointData, window: Window, population: Population, *, with_prior: bool) -> _Density:
    """Of psi (n_patients, d): log-likelihood plus log Jacobian, on request plus the population's density; gradient."""
    k = population.k
    weight = population.omega**-2.0

    def density(psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mapped = map_all(window, psi, k)
        likelihood = _likelihood(data, population, mapped.phi)
        value = likelihood.marker + likelihood.event + mapped.log_jacobian
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


@dataclass(frozen=True)
class _Gaussian:
    """Centre (n_patients, d) in psi, square root of the covariance (n_patients, d, d), and whether both are sound."""

    centre: np.ndarray
    root: np.ndarray
    sound: np.ndarray

    def points(self) -> np.ndarray:
        """Cubature points: the centre, then centre +- root e_j: (1 + 2 d, n_patients, d).

        One SD away, not the sqrt(d) of equal weights: further out curves may explode.
        """
        spread = np.moveaxis(self.root, 2, 0)
        return np.concatenate([self.centre[None], self.centre + spread, self.centre - spread])


def _average(values: np.ndarray) -> np.ndarray:
    """Gaussian expectation from values (1 + 2 d, n_patients, ...) at `_Gaussian.points`, exact to degree 3.

    Where a patient's values are not all finite, the value at the centre.
    """
    d = (values.shape[0] - 1) // 2
    finite = np.isfinite(values).all(axis=0)
    spread = np.where(finite, values[1:], values[0])
    return values[0] + 0.5 * np.sum(spread - values[0], axis=0) if d else values[0]


def _modes(data: JointData, window: Window, population: Population, phi: np.ndarray) -> _Gaussian:
    """Laplace approximation at the modes of all patients at once, found by damped Newton in psi from `phi`."""
    density = _log_density(data, window, population, with_prior=True)
    psi = psi_all(window, phi, population.k)
    value, gradient = density(psi)
    gain = np.full(value.shape, np.inf)
    for _ in range(_NEWTON_STEPS):
        step, gain = _newton_step(_hessian(density, psi), gradient)
        if np.all(gain < _CONVERGED):
            break
        psi, value, gradient = _line_search(density, psi, step, value, gradient)
    root = _root(-_hessian(density, psi))
    return _Gaussian(psi, root, (gain < _CONVERGED) & np.isfinite(value) & np.isfinite(root).all(axis=(1, 2)))


def _root(precision: np.ndarray) -> np.ndarray:
    """Symmetric root of the covariance; directions without curvature get a unit SD, the scale of a log parameter."""
    usable = np.isfinite(precision).all(axis=(1, 2))
    eigenvalue, vector = np.linalg.eigh(
        np.where(usable[:, None, None], precision, np.eye(precision.shape[1]))
    )
    return np.einsum(
        "nij,nj,nkj->nik", vector, np.maximum(eigenvalue, 1.0 / _LONGEST_STEP**2) ** -0.5, vector
    )


def _expectations(density: _Density, gaussian: _Gaussian) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean gradient (n, d) and mean Hessian (n, d, d) of a log-density over a Gaussian, by cubature; and where finite.

    The mean Hessian follows from gradients alone: E[gradient (x - centre)'] covariance^-1 (Stein's identity).
    """
    d = gaussian.centre.shape[1]
    evaluated = [density(point) for point in gaussian.points()]
    gradients = np.stack([gradient for _, gradient in evaluated])
    finite = np.isfinite(gradients).all(axis=(0, 2)) & np.all([np.isfinite(v) for v, _ in evaluated], axis=0)
    gradients = np.where(finite[None, :, None], gradients, 0.0)
    slopes = 0.5 * (gradients[1 : d + 1] - gradients[d + 1 :])
    hessian = np.einsum("jni,njk->nik", slopes, np.linalg.inv(gaussian.root))
    return _average(gradients), 0.5 * (hessian + hessian.transpose(0, 2, 1)), finite


def _gaussian_fit(data: JointData, window: Window, population: Population, start: _Gaussian) -> _Gaussian:
    """Fixed-point iterations of the variational Gaussian: precision = -E[Hessian], centre += covariance E[gradient]."""
    density = _log_density(data, window, population, with_prior=True)
    gaussian = start
    for _ in range(_GAUSSIAN_STEPS):
        gradient, hessian, finite = _expectations(density, gaussian)
        root = _root(-hessian)
        step = np.einsum("nij,nkj,nk->ni", root, root, gradient)
        # At most one SD a step: the approximation holds only near where it was made.
        length = np.sqrt(np.einsum("ni,ni->n", step, gradient).clip(min=0.0))
        step *= np.minimum(1.0, 1.0 / np.maximum(length, 1e-300))[:, None]
        finite &= np.isfinite(step).all(axis=1) & np.isfinite(root).all(axis=(1, 2))
        # The root moves half the way: a wide Gaussian and the narrow one it suggests would otherwise alternate.
        moved = 0.5 * (gaussian.root + root)
        gaussian = _Gaussian(
            np.where(finite[:, None], gaussian.centre + step, gaussian.centre),
            np.where(finite[:, None, None], moved, gaussian.root),
            start.sound & finite,
        )
    return gaussian


def _phi_points(window: Window, population: Population, gaussian: _Gaussian) -> np.ndarray:
    """phi at the cubature points: (1 + 2 d, n_patients, d)."""
    k = population.k
    return np.stack([map_all(window, psi, k).phi for psi in gaussian.points()])


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


def _update_individual(
    data: JointData, priors: PriorSet, population: Population, points: np.ndarray
) -> Population:
    """Typical values, covariate effects and omegas: least squares with the priors as ridge, averaged over `points`."""
    typical, omega = population.typical.copy(), population.omega.copy()
    effects = dict(population.effects)
    centre_of = _average(points)
    for j, name in enumerate(data.spec.individual):
        matrix = np.column_stack([np.ones(len(centre_of)), data.covariates[name].to_numpy()])
        covariates = [str(c) for c in data.covariates[name]["covariate"].to_numpy()]
        beta_priors = [priors.covariate_effect(name, c) for c in covariates]
        centre = np.array([np.log(_median(priors.parameters[f"{name}_pop"])), *map(_median, beta_priors)])
        sd = np.array([_log_sd(priors.parameters[f"{name}_pop"]), *map(_sd, beta_priors)])
        precision = matrix.T @ matrix / omega[j] ** 2 + np.diag(sd**-2.0)
        solution = np.linalg.solve(precision, matrix.T @ centre_of[:, j] / omega[j] ** 2 + centre / sd**2)
        typical[j] = np.exp(solution[0])
        effects[name] = solution[1:]
        square = _average((points[:, :, j] - matrix @ solution) ** 2)
        omega[j] = np.clip(np.sqrt(np.mean(square)), *_OMEGA_RANGE)
    updated = replace(population, typical=typical, effects=effects, omega=omega)
    return replace(updated, mean=_means(data, typical, effects))


def _sd(prior: Prior) -> float:
    low, high = prior.quantiles([0.16, 0.84])
    return float(0.5 * (high - low))


def _log_sd(prior: Prior) -> float:
    low, high = np.log(prior.quantiles([0.16, 0.84]))
    return float(0.5 * (high - low))


def _update_shared(
    data: JointData, priors: PriorSet, population: Population, points: np.ndarray
) -> Population:
    """Shared parameters and hazard effects: posterior mode averaged over `points`, by L-BFGS on the log scale."""
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
        # Measurements are averaged over the points, or sigma comes out too small. The hazard is taken at the centre: it
        # is exponential in the slope, and its average would be ruled by curves that the event itself excludes.
        at_points = [_likelihood(data, candidate, phi) for phi in points]
        centre = at_points[0]
        value = _average(np.stack([each.marker for each in at_points])).sum()
        value = value + centre.event.sum() + log_prior(natural)
        by_lp = data.covariates["hazard"].to_numpy().T @ centre.by_lp
        by_sigma = {
            name: _average(np.stack([each.by_shared[name] for each in at_points]))
            for name in ("sigma_add", "sigma_prop")
        }
        slope = np.concatenate([[(centre.by_shared | by_sigma)[name].sum() for name in names], by_lp])
        for j, density in enumerate(frozen):
            h = 1e-5 * max(1e-3, abs(natural[j]))
            slope[j] += (density.logpdf(natural[j] + h) - density.logpdf(natural[j] - h)) / (2.0 * h)
        slope = np.where(positive, slope * natural, slope)
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            return 1e100, np.zeros_like(u)
        return -value, -slope

    u0 = np.where(positive, np.log(np.where(positive, start, 1.0)), start)
    found = minimize(objective, u0, jac=True, method="L-BFGS-B", options={"maxiter": _SHARED_STEPS})
    return unpack(found.x)[1]


def _whitening(data: JointData, window: Window, population: Population, gaussian: _Gaussian) -> Whitening:
    """Curvature H and pull h of the log-likelihood averaged over each Gaussian; map A, c linearised at its centre."""
    density = _log_density(data, window, population, with_prior=False)
    gradient, hessian, finite = _expectations(density, gaussian)
    information = np.where(finite[:, None, None], -hessian, 0.0)
    eigenvalue, vector = np.linalg.eigh(information)
    curvature = np.einsum("nij,nj,nkj->nik", vector, np.maximum(eigenvalue, 0.0), vector)
    pull = np.einsum("nij,nj->ni", curvature, gaussian.centre) + np.where(finite[:, None], gradient, 0.0)
    mapped = map_all(window, gaussian.centre, population.k)
    offset = mapped.phi - np.einsum("nij,nj->ni", mapped.by_psi, gaussian.centre)
    return Whitening(*(np.ascontiguousarray(a) for a in (curvature, pull, mapped.by_psi, offset)))


def _from_measurements(data: JointData, window: Window, population: Population, psi: np.ndarray) -> Whitening:
    """Whitening by the Fisher information of the measurements alone, centred at psi: always positive semi-definite."""
    mapped = map_all(window, psi, population.k)
    terms = evaluate_terms(data.panels, data.shape, _kernel_parameters(data, population, mapped.phi))
    design = data.panels.design
    patient = np.repeat(np.arange(len(psi)), np.diff(design.measurement_offset))
    d = psi.shape[1]
    slope = np.einsum("mj,mji->mi", terms.by_marker[:, :d], mapped.by_psi[patient])
    m = np.exp(np.minimum(terms.log_m, 50.0))
    shared = population.shared
    weight = np.where(data.below, 0.0, m**2 / (shared["sigma_add"] ** 2 + (shared["sigma_prop"] * m) ** 2))
    curvature = np.zeros((len(psi), d, d))
    np.add.at(curvature, patient, weight[:, None, None] * slope[:, :, None] * slope[:, None, :])
    curvature[~np.isfinite(curvature).all(axis=(1, 2))] = 0.0
    offset = mapped.phi - np.einsum("nij,nj->ni", mapped.by_psi, psi)
    return Whitening(curvature, np.einsum("nij,nj->ni", curvature, psi), mapped.by_psi, offset)


@dataclass(frozen=True)
class _Scored:
    """A whitening, the psi that eps = 0 stands for, and how far each patient's posterior is from standard normal."""

    whitening: Whitening
    centre: np.ndarray
    steps: np.ndarray  # (d, n_patients, d) in psi, one for each direction of eps
    score: np.ndarray


def _scored(data: JointData, window: Window, population: Population, whitening: Whitening) -> _Scored:
    """Tries one step of +-2 in every direction of eps, where a standard normal falls by 2 on either side."""
    weight = population.omega**-2.0
    precision = whitening.curvature + np.einsum("nji,j,njk->nik", whitening.linear, weight, whitening.linear)
    right = whitening.pull + np.einsum(
        "nji,j,nj->ni", whitening.linear, weight, population.mean - whitening.offset
    )
    # A sampler must be able to factorise the precision, also somewhat away from this population.
    eigenvalue = np.linalg.eigvalsh(np.where(np.isfinite(precision), precision, 0.0))
    usable = eigenvalue[:, 0] > _WORST_CONDITION * eigenvalue[:, -1]
    precision = np.where(usable[:, None, None], precision, np.eye(precision.shape[1]))
    lower = np.linalg.cholesky(precision)
    centre = np.linalg.solve(precision, right[:, :, None])[:, :, 0]
    steps = np.moveaxis(np.linalg.inv(lower), 1, 0)  # row j of C^-1 is column j of C^-T
    density = _log_density(data, window, population, with_prior=True)
    base = density(centre)[0]
    # Where a step leads to a curve that explodes, the score is not finite: the worst there is, and no error.
    with np.errstate(over="ignore", invalid="ignore"):
        up = np.stack([density(centre + 2.0 * step)[0] - base for step in steps])
        down = np.stack([density(centre - 2.0 * step)[0] - base for step in steps])
        bend = np.maximum(-0.25 * (up + down), 1e-6)
        score = np.sum(np.log(bend) ** 2 + (0.25 * (up - down)) ** 2, axis=0)
    return _Scored(whitening, centre, steps, np.where(usable & np.isfinite(score), score, np.inf))


def _best_whitening(data: JointData, window: Window, population: Population, laplace: _Gaussian) -> _Scored:
    """For each patient the best of: averaged curvature, curvature at the mode, that of the measurements, none."""
    # A root a thousand times smaller turns cubature into finite differences at the mode.
    at_mode = replace(laplace, root=1e-3 * laplace.root)
    best: _Scored | None = None
    averaged = _gaussian_fit(data, window, population, laplace)
    for whitening in (
        _whitening(data, window, population, averaged),
        _whitening(data, window, population, at_mode),
        measured := _from_measurements(data, window, population, laplace.centre),
        measured._replace(curvature=0.0 * measured.curvature, pull=0.0 * measured.pull),
    ):
        candidate = _scored(data, window, population, whitening)
        best = candidate if best is None else _better(best, candidate)
    assert best is not None
    return best


def _better(first: _Scored, second: _Scored) -> _Scored:
    take = second.score < first.score

    def pick(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(take.reshape(-1, *[1] * (a.ndim - 1)), b, a)

    whitening = Whitening(
        *(np.ascontiguousarray(pick(a, b)) for a, b in zip(first.whitening, second.whitening, strict=True))
    )
    steps = np.moveaxis(pick(np.moveaxis(first.steps, 1, 0), np.moveaxis(second.steps, 1, 0)), 1, 0)
    return _Scored(whitening, pick(first.centre, second.centre), steps, np.minimum(first.score, second.score))
