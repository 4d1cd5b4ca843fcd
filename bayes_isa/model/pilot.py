"""Draws from each patient's own posterior at a population estimate: what the population and coordinates are fitted to.

Given the population, patients are independent and each has 4 or 5 parameters: one Hamiltonian chain per patient, all
advanced together, costs a few evaluations of the kernel a draw.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bayes_isa.kernels.response import Window
from bayes_isa.model.gaussian import Gaussian
from bayes_isa.model.individuals import Density, log_density
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.population import Population
from bayes_isa.model.windows import map_all, psi_all

_LEAPFROGS = 4
_COUNTS = 5.0  # draws that a mode's covariance counts for: as many as make one of the same rank
_FIRST_STEP = 0.4
_LEAST_KNOWN_STEP = 0.1  # where nothing is known of the density on the way: nearly always accepted
# With 4 leapfrogs of at most this no trajectory passes half a period, 3.1 SD, of a standard normal.
_LONGEST_STEP = 0.6
# Added to the correlations' diagonal: draws that lie on a line to rounding still span all axes.
_OFF_A_LINE = 1e-10
_ACCEPT = 0.8  # the usual aim of Hamiltonian samplers (Betancourt et al. 2014, arXiv:1411.6669)
# Share of a step's correction that an acceptance too high or too low brings: forgets a step in about ten draws.
_ADAPTATION = 0.1


@dataclass
class Pilot:
    """Chains of all patients: position x (psi = centre + root x, at some window) and step size of each."""

    data: JointData
    window: Window
    frame: Gaussian
    rng: np.random.Generator
    x: np.ndarray
    step: np.ndarray

    @classmethod
    def start(cls, data: JointData, window: Window, frame: Gaussian, seed: int) -> Pilot:
        """Chains at the centres of the frame."""
        n, _ = frame.centre.shape
        return cls(
            data,
            window,
            frame,
            np.random.default_rng(seed),
            np.zeros_like(frame.centre),
            np.full(n, _FIRST_STEP),
        )

    def copy(self, seed: int) -> Pilot:
        """The same chains, to go on from here with random numbers of their own."""
        return replace(self, rng=np.random.default_rng(seed))

    def at(self, phi: np.ndarray, k: float, seed: int) -> Pilot:
        """The chains set to phi (n_patients, d), with random numbers of their own."""
        x = np.linalg.solve(self.frame.root, (psi_all(self.window, phi, k) - self.frame.centre)[..., None])
        return replace(
            self,
            rng=np.random.default_rng(seed),
            x=x[..., 0],
            step=np.full_like(self.step, _LEAST_KNOWN_STEP),
        )

    def adapted(self, phi: np.ndarray, k: float) -> Pilot:
        """The chains from the last of these draws on, on the scale of the draws: a mode's is too small at a wall."""
        psi = np.stack([psi_all(self.window, each, k) for each in phi])
        centre = psi.mean(axis=0)
        spread = np.einsum("sni,snj->nij", psi - centre, psi - centre)
        at_mode = np.einsum("nij,nkj->nik", self.frame.root, self.frame.root)
        usable = np.isfinite(spread).all(axis=(1, 2))[:, None, None]
        root = _root(np.where(usable, spread + _COUNTS * at_mode, at_mode) / (len(phi) + _COUNTS))
        root = np.where(usable, root, self.frame.root)
        centre = np.where(usable[..., 0], centre, self.frame.centre)
        frame = replace(self.frame, centre=centre, root=root)
        x = np.linalg.solve(root, (psi[-1] - centre)[..., None])[..., 0]
        x = np.where(usable[..., 0], x, self.x)
        return replace(self, frame=frame, x=x, step=np.full_like(self.step, _FIRST_STEP))

    def psi(self, x: np.ndarray) -> np.ndarray:
        """Response coordinates at x."""
        return self.frame.centre + np.einsum("nij,nj->ni", self.frame.root, x)

    def draw(self, population: Population, draws: int, power: float = 1.0) -> np.ndarray:
        """phi (draw, patient, d) at the next draws of every chain, given a population; step sizes keep adapting.

        The likelihood counts to the given power.
        """
        density = log_density(self.data, self.window, population, power)

        def at(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            value, gradient = density(self.psi(x))
            gradient = np.einsum("nij,ni->nj", self.frame.root, gradient)
            sound = np.isfinite(value) & np.isfinite(gradient).all(axis=1)
            return np.where(sound, value, -np.inf), np.where(sound[:, None], gradient, 0.0)

        # A trajectory that explodes is refused like any other bad one.
        with np.errstate(over="ignore", invalid="ignore"):
            value, gradient = at(self.x)
            phi = np.empty((draws, *self.x.shape))
            for t in range(draws):
                new, new_value, new_gradient, chance = self._proposal(at, value, gradient)
                take = self.rng.random(chance.size) < chance
                self.x = np.where(take[:, None], new, self.x)
                value = np.where(take, new_value, value)
                gradient = np.where(take[:, None], new_gradient, gradient)
                self.step = np.minimum(self.step * np.exp(_ADAPTATION * (chance - _ACCEPT)), _LONGEST_STEP)
                phi[t] = map_all(self.window, self.psi(self.x), population.k).phi
        return phi

    def _proposal(
        self, at: Density, value: np.ndarray, gradient: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """A leapfrog trajectory of every chain: its end, value and gradient there, and the chance to accept it."""
        momentum = self.rng.normal(size=self.x.shape)
        energy = value - 0.5 * np.sum(momentum**2, axis=1)
        step = (self.step * self.rng.uniform(0.7, 1.0, self.step.size))[:, None]
        x = self.x
        for leap in range(_LEAPFROGS):
            momentum = momentum + (1.0 if leap else 0.5) * step * gradient
            x = x + step * momentum
            value, gradient = at(x)
        momentum = momentum + 0.5 * step * gradient
        gain = value - 0.5 * np.sum(momentum**2, axis=1) - energy
        return x, value, gradient, np.exp(np.minimum(np.where(np.isfinite(gain), gain, -np.inf), 0.0))


def _root(covariance: np.ndarray) -> np.ndarray:
    """Cholesky factors (n, d, d), of near ones where some matrix has none to rounding."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        pass
    scale = np.sqrt(np.einsum("nii->ni", covariance))
    correlation = covariance / (scale[:, :, None] * scale[:, None, :])
    return scale[:, :, None] * np.linalg.cholesky(correlation + _OFF_A_LINE * np.eye(scale.shape[1]))
