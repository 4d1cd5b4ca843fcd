"""Gaussian approximations of each patient's posterior in psi at its mode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayes_isa.kernels.response import Window
from bayes_isa.model.individuals import DensityOfPsi, density_of_psi, given_at
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.population import Population
from bayes_isa.model.windows import map_all, psi_all

_NEWTON_STEPS = 40
_CONVERGED = 1e-3  # expected gain in a patient's log-density from one more Newton step
_DIFFERENCE = 1e-4  # step of the finite differences in psi, whose posterior SDs are 0.01 to 2
_LONGEST_STEP = 2.0
_FAR = 8.0  # SDs from the population mean, where no patient can be


@dataclass(frozen=True)
class Gaussian:
    """Centre (n_patients, d) in psi, square root of the covariance (n_patients, d, d), and whether both are sound."""

    centre: np.ndarray
    root: np.ndarray
    sound: np.ndarray


def modes(
    data: JointData, window: Window, population: Population, patients: np.ndarray | None = None
) -> Gaussian:
    """Laplace approximation at the modes of all patients at once, or of the marked ones; the others' are not sound.

    Found by damped Newton in psi from the population's means and the patients' own baselines.
    """
    density = density_of_psi(given_at(data, population), window)
    phi = population.mean.copy()
    phi[:, 0] = np.log(data.trial.baseline_mprotein.to_numpy(dtype=float))
    start = psi_all(window, phi, population.k)
    wanted = np.full(len(start), True) if patients is None else patients
    psi = _only(wanted, start)
    value, gradient = density(psi)
    gain = np.where(wanted, np.inf, 0.0)
    for _ in range(_NEWTON_STEPS):
        moving = gain >= _CONVERGED
        if not moving.any():
            break
        step, found = _newton_step(hessian(density, _only(moving, psi)), gradient)
        gain = np.where(moving, found, gain)
        psi, value, gradient = _line_search(density, psi, step, value, gradient, gain < _CONVERGED)
    # Without data on the curve psi has spurious modes far out: such a patient goes back to where the search began.
    distance = np.abs(map_all(window, psi, population.k).phi - population.mean) / population.omega
    sound = (gain < _CONVERGED) & np.isfinite(value) & (distance < _FAR).all(axis=1)
    psi = np.where(sound[:, None], psi, start)
    root = _root(-hessian(density, psi))
    return Gaussian(psi, root, sound & np.isfinite(root).all(axis=(1, 2)))


def _root(precision: np.ndarray) -> np.ndarray:
    """Symmetric root of the covariance; directions without curvature get a unit SD, the scale of a log parameter."""
    usable = np.isfinite(precision).all(axis=(1, 2))
    eigenvalue, vector = np.linalg.eigh(
        np.where(usable[:, None, None], precision, np.eye(precision.shape[1]))
    )
    return np.einsum(
        "nij,nj,nkj->nik", vector, np.maximum(eigenvalue, 1.0 / _LONGEST_STEP**2) ** -0.5, vector
    )


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
    density: DensityOfPsi,
    psi: np.ndarray,
    step: np.ndarray,
    value: np.ndarray,
    gradient: np.ndarray,
    done: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Halve each patient's step until its density rises; patients that never rise, or are done, stay."""
    fraction = np.ones(value.shape)
    for _ in range(12):
        if done.all():
            break
        trial = psi + fraction[:, None] * step
        new_value, new_gradient = density(_only(~done, trial))
        better = ~done & (new_value > value)
        psi = np.where(better[:, None], trial, psi)
        value = np.where(better, new_value, value)
        gradient = np.where(better[:, None], new_gradient, gradient)
        done = done | better
        fraction[~done] *= 0.5
    return psi, value, gradient


def _only(patients: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """psi of the marked patients; the others are passed over."""
    return np.where(patients[:, None], psi, np.nan)


def hessian(density: DensityOfPsi, psi: np.ndarray) -> np.ndarray:
    """Central differences of the gradient, symmetric: (n_patients, d, d)."""
    columns = []
    for x in range(psi.shape[1]):
        step = np.zeros(psi.shape[1])
        step[x] = _DIFFERENCE
        columns.append((density(psi + step)[1] - density(psi - step)[1]) / (2.0 * _DIFFERENCE))
    hessian = np.stack(columns, axis=2)
    return 0.5 * (hessian + hessian.transpose(0, 2, 1))
