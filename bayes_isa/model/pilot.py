"""Draws from each patient's own posterior at a population estimate: what the population and coordinates are fitted to.

Given the population, patients are independent and each has 4 or 5 parameters: one Hamiltonian chain per patient, all
advanced together, costs a few evaluations of the kernel a draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numba import njit

from bayes_isa.kernels.response import Window
from bayes_isa.kernels.threads import in_threads
from bayes_isa.model.gaussian import Gaussian, modes
from bayes_isa.model.individuals import fill_by_psi, given_at, make_room, patient_parts
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.population import Population
from bayes_isa.model.windows import psi_all

_LEAPFROGS = 4
_SHORTEST_TRAJECTORY = 0.7  # of its length: no trajectory returns to where it began, draw after draw
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

    def only(self, patients: np.ndarray) -> Pilot:
        """The chains of some patients; the others stand at NaN, and are passed over."""
        others = np.ones(len(self.x), dtype=bool)
        others[patients] = False
        return replace(self, x=np.where(others[:, None], np.nan, self.x))

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

    def freed(self, phi: np.ndarray, population: Population) -> Pilot:
        """The chains, but those that stood still in these draws of phi (draw, patient, d) start anew at modes.

        The population went on and left them beyond a wall, where any step is too long. Patients for whom no mode was
        found before are left alone: the search is long where it ends in nothing.
        """
        stuck = stood_still(phi) & self.frame.sound
        if not stuck.any():
            return self
        found = modes(self.data, self.window, population, stuck)
        anew = found.sound[:, None]
        frame = replace(
            self.frame,
            centre=np.where(anew, found.centre, self.frame.centre),
            root=np.where(anew[..., None], found.root, self.frame.root),
        )
        step = np.where(found.sound, _FIRST_STEP, self.step)
        return replace(self, frame=frame, x=np.where(anew, 0.0, self.x), step=step)

    def draw(self, population: Population, draws: int, power: float = 1.0) -> Draws:
        """The next draws of every chain, given a population; step sizes keep adapting.

        The likelihood counts to the given power.
        """
        given = given_at(self.data, population, power)
        shape = (draws, *self.x.shape)
        random = _Random(
            self.rng.normal(size=shape),
            self.rng.uniform(_SHORTEST_TRAJECTORY, 1.0, shape[:2]),
            self.rng.random(shape[:2]),
        )
        drawn = Draws(np.empty(shape), np.empty(shape[:2]), np.empty(shape))
        self.x, self.step = self.x.copy(), self.step.copy()
        frame = (np.ascontiguousarray(self.frame.centre), np.ascontiguousarray(self.frame.root))

        def advance(first: int, last: int) -> None:
            _advance(given, self.window, *frame, first, last, random, self.x, self.step, drawn)

        in_threads(advance, patient_parts(given))
        return drawn


def stood_still(phi: np.ndarray) -> np.ndarray:
    """Patients (n_patients,) whose draws of phi (draw, patient, d) are all the same."""
    return np.asarray((phi == phi[0]).all(axis=(0, 2)))


class Draws(NamedTuple):
    """Draws of every chain, with the log-density that they are from, up to a constant, and its gradients."""

    phi: np.ndarray  # (draw, patient, d)
    density: np.ndarray  # (draw, patient)
    by_phi: np.ndarray  # (draw, patient, d)


class _Random(NamedTuple):
    """The random numbers of `_advance`."""

    momentum: np.ndarray  # (draw, patient, d) standard normal
    shortened: np.ndarray  # (draw, patient) share of the step
    chance: np.ndarray  # (draw, patient) uniform


class _State(NamedTuple):
    """Where chains stand: x, log-density and gradient there; phi, and density and gradient by phi."""

    x: np.ndarray
    value: np.ndarray
    by_x: np.ndarray
    phi: np.ndarray
    of_phi: np.ndarray
    by_phi: np.ndarray


@njit(inline="always")
def _make_state(x):
    return _State(
        x.copy(),
        np.empty(x.shape[0]),
        np.empty_like(x),
        np.empty_like(x),
        np.empty(x.shape[0]),
        np.empty_like(x),
    )


@njit(inline="always", error_model="numpy")
def _evaluate(given, window, centre, root, first, last, at, psi, by_psi, room):
    """Log-densities and gradients of patients first to last - 1 at their x. What is no number is -inf, with slope 0."""
    d = psi.shape[1]
    for i in range(first, last):
        for j in range(d):
            psi[i, j] = centre[i, j]
            for m in range(d):
                psi[i, j] += root[i, j, m] * at.x[i, m]
    fill_by_psi(given, window, psi, first, last, room, at.phi, at.of_phi, at.by_phi, at.value, by_psi)
    for i in range(first, last):
        sound = math.isfinite(at.value[i])
        for m in range(d):
            at.by_x[i, m] = 0.0
            for j in range(d):
                at.by_x[i, m] += root[i, j, m] * by_psi[i, j]
            sound = sound and math.isfinite(at.by_x[i, m])
        if not sound:
            at.value[i] = -math.inf
            for m in range(d):
                at.by_x[i, m] = 0.0


@njit(inline="always", error_model="numpy")
def _leap(length, share, by_x, momentum, x, first, last):
    """A share of a step's momentum, then its whole way."""
    for i in range(first, last):
        for j in range(x.shape[1]):
            momentum[i, j] += share * length[i] * by_x[i, j]
            x[i, j] += length[i] * momentum[i, j]


@njit(inline="always", error_model="numpy")
def _chance(i, length, at, momentum, energy):
    """The chance to accept where a trajectory of patient i has come to, after its last half step of momentum."""
    gain = at.value[i] - energy
    for j in range(momentum.shape[1]):
        momentum[i, j] += 0.5 * length * at.by_x[i, j]
        gain -= 0.5 * momentum[i, j] ** 2
    # Away from where there is no density it is infinite; where there is none to go to, NaN.
    return 0.0 if math.isnan(gain) else math.exp(min(gain, 0.0))


@njit(inline="always", error_model="numpy")
def _copy(i, source, target):
    """Patient i's rows of a state."""
    target.value[i], target.of_phi[i] = source.value[i], source.of_phi[i]
    for j in range(source.x.shape[1]):
        target.x[i, j], target.by_x[i, j] = source.x[i, j], source.by_x[i, j]
        target.phi[i, j], target.by_phi[i, j] = source.phi[i, j], source.by_phi[i, j]


@njit(nogil=True, cache=True, error_model="numpy")
def _advance(given, window, centre, root, first, last, random, x, step, drawn):
    """`Pilot.draw` of patients first to last - 1: moves their rows of x and step, and fills those of the draws."""
    d = x.shape[1]
    room, psi, by_psi = make_room(given), np.empty_like(x), np.empty_like(x)
    now, at, momentum = _make_state(x), _make_state(x), np.empty_like(x)
    length, energy = np.empty(x.shape[0]), np.empty(x.shape[0])
    _evaluate(given, window, centre, root, first, last, now, psi, by_psi, room)
    for t in range(drawn.phi.shape[0]):
        for i in range(first, last):
            _copy(i, now, at)
            length[i] = step[i] * random.shortened[t, i]
            energy[i] = now.value[i]
            for j in range(d):
                momentum[i, j] = random.momentum[t, i, j]
                energy[i] -= 0.5 * momentum[i, j] ** 2
        for leap in range(_LEAPFROGS):
            _leap(length, 1.0 if leap else 0.5, at.by_x, momentum, at.x, first, last)
            _evaluate(given, window, centre, root, first, last, at, psi, by_psi, room)
        for i in range(first, last):
            chance = _chance(i, length[i], at, momentum, energy[i])
            if random.chance[t, i] < chance:
                _copy(i, at, now)
            step[i] = min(step[i] * math.exp(_ADAPTATION * (chance - _ACCEPT)), _LONGEST_STEP)
            drawn.density[t, i] = now.of_phi[i]
            for j in range(d):
                drawn.phi[t, i, j], drawn.by_phi[t, i, j] = now.phi[i, j], now.by_phi[i, j]
                x[i, j] = now.x[i, j]


def _root(covariance: np.ndarray) -> np.ndarray:
    """Cholesky factors (n, d, d), of near ones where some matrix has none to rounding."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        pass
    scale = np.sqrt(np.einsum("nii->ni", covariance))
    correlation = covariance / (scale[:, :, None] * scale[:, None, :])
    return scale[:, :, None] * np.linalg.cholesky(correlation + _OFF_A_LINE * np.eye(scale.shape[1]))
