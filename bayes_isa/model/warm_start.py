"""Warm start: a rough population estimate and coordinates in which each patient's posterior is close to normal.

Stochastic approximate EM (Delyon et al. 1999, doi:10.1214/aos/1018031103): a few draws of every patient given the
population, then the population given those draws. More draws at the end show what each patient's posterior looks like.
The result only sets starting points and the coordinates a sampler works in: a poor one costs speed, never correctness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bayes_isa.kernels.response import Window
from bayes_isa.kernels.whitening import Whitening
from bayes_isa.model.gaussian import modes
from bayes_isa.model.individuals import density_of_phi
from bayes_isa.model.joint_data import JointData, coarse_panels
from bayes_isa.model.pilot import Pilot
from bayes_isa.model.population import Population, averaged, initial_population
from bayes_isa.model.population_update import update_individual, update_shared
from bayes_isa.model.priors import PriorSet
from bayes_isa.model.whitenings import IndividualDraws, best_coordinates
from bayes_isa.model.windows import response_windows

# Rounds of EM, by frame: the chains' scale is set anew where the population has moved most.
_ROUNDS = (3, 4, 8)
_DRAWS = 10  # a round
_FOR_SHARED = 4  # of which this many, far apart, set the parameters that all patients share
_AVERAGED = 6  # last rounds, whose average is the estimate
_FINAL_DRAWS = 240  # moments of 5 numbers to about a tenth of an SD, at the autocorrelation of these chains
_SEED = 2023


@dataclass(frozen=True)
class WarmStart:
    """What `build_model` takes from the warm start."""

    population: Population
    phi: np.ndarray  # (n_patients, d) individual starting points: one draw
    window: Window
    whitening: Whitening
    score: (
        np.ndarray
    )  # (n_patients,) roughness of each posterior in these coordinates, 1 for a standard normal
    failed: tuple[str, ...]  # patients without a mode or usable coordinates


def warm_start(data: JointData, priors: PriorSet) -> WarmStart:
    """Population estimate, individual starting points and coordinates for `data`; the same in every call."""
    data = replace(data, panels=coarse_panels(data))
    windows = response_windows(data)
    population = initial_population(data, priors)
    phi = population.mean.copy()
    phi[:, 0] = np.log(data.trial.baseline_mprotein.to_numpy(dtype=float))
    estimates = []
    for rounds in _ROUNDS:
        frame = modes(data, windows[0], population, phi)
        pilot = Pilot.start(data, windows[0], frame, _SEED)
        for _ in range(rounds):
            draws = pilot.draw(population, _DRAWS)
            population = update_individual(data, priors, population, draws)
            population = update_shared(data, priors, population, draws[:: -(_DRAWS // _FOR_SHARED)])
            estimates.append(population)
        phi = draws[-1]
    population = averaged(data, estimates[-_AVERAGED:])
    draws = pilot.draw(population, _FINAL_DRAWS)
    gradient = np.stack([density_of_phi(data, population, phi)[1] for phi in draws])
    chosen = best_coordinates(
        windows,
        population,
        IndividualDraws(draws, gradient),
        lambda phi: density_of_phi(data, population, phi)[0],
    )
    failed = np.flatnonzero(~(frame.sound & np.isfinite(chosen.score)))
    names = tuple(data.patient_ids[i] for i in failed)
    return WarmStart(population, draws[-1], chosen.window, chosen.whitening, chosen.score, names)
