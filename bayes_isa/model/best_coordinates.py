"""For each patient, the coordinates to sample in: the best of several windows and whitenings."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bayes_isa.kernels.response import Window
from bayes_isa.kernels.whitening import Whitening
from bayes_isa.model.far_regions import FarRegions, drawn_in
from bayes_isa.model.population import Population
from bayes_isa.model.walls import bent_at_walls, judged
from bayes_isa.model.whitenings import Coordinates, IndividualDraws, bent_to, better, score_of, whitened
from bayes_isa.model.windows import map_all, psi_all


def best_coordinates(
    windows: list[Window], near: IndividualDraws, wide: IndividualDraws, far: Sequence[FarRegions]
) -> Coordinates:
    """For each patient the best of the whitenings in the given windows, bent where that helps and at walls.

    `near` are draws at about the population's posterior mean, `wide` at one with wider omegas: coordinates must do at
    both, for the sampler goes from one to the other. Which of them they are fitted to is left open: some posteriors
    look simpler from one side. `far` are places that must lie near.
    """
    *nets, last = windows
    both = (near, wide)
    everyone = np.ones_like(last.open)
    fits = ((nets, both, everyone), *(([last], draws, last.open) for draws in ((near,), both, (wide,))))
    uninformed = _uninformed(last, near.population)
    best = replace(uninformed, score=np.full(len(everyone), np.inf))
    # Walls and cliffs cost most: looked for only where a candidate is not worse than the best so far without them.
    for of_windows, draws, allowed in fits:
        candidate = _best_of(of_windows, draws)
        racing = allowed & (candidate.score < best.score)
        best = better(best, judged(bent_at_walls(candidate, draws, racing), both, racing, best.score))
    best = better(best, judged(uninformed, both, everyone, best.score))
    best = drawn_in(best, far, near, wide)
    return replace(best, score=np.where(np.isfinite(best.score), score_of(best, (near,)), np.inf))


def _best_of(windows: list[Window], draws: Sequence[IndividualDraws]) -> Coordinates:
    """The best whitenings in the windows, judged by all the draws, with bends."""
    # What the data say of their own shows best against a wide population; near the estimate it may not show at all.
    candidates = [candidate for window in windows for candidate in whitened(window, draws)]
    return bent_to(functools.reduce(better, candidates), draws)


def _uninformed(window: Window, population: Population) -> Coordinates:
    """Coordinates that rest on the population alone, as for a patient without data."""
    centre = psi_all(window, population.mean, population.k)
    nothing = np.zeros((*centre.shape, centre.shape[1]))
    mapped = map_all(window, centre, population.k)
    offset = mapped.phi - np.einsum("nij,nj->ni", mapped.by_psi, centre)
    zero = 0.0 * centre
    whitening = Whitening(nothing, zero, mapped.by_psi, offset, zero + 1.0, zero, zero.copy())
    return Coordinates(window, whitening, np.zeros(len(centre)))
