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
from bayes_isa.model.trial_runs import closed_where_open_explode
from bayes_isa.model.walls import bent_at_walls, judged
from bayes_isa.model.whitenings import Coordinates, IndividualDraws, bent_to, better, score_of, whitened
from bayes_isa.model.windows import map_all, psi_all

# A score at which a leapfrog step of the usual length errs little: other windows are not tried for such a patient.
_SMOOTH = 2.0


def best_coordinates(
    windows: list[Window], near: IndividualDraws, wide: IndividualDraws, far: Sequence[FarRegions]
) -> Coordinates:
    """For each patient the best of the whitenings in the given windows, bent where that helps and at walls.

    `near` are draws at about the population's posterior mean, `wide` at one with wider omegas: coordinates must do at
    both, for the sampler goes from one to the other. `far` are places that must lie near. The last window is for
    patients who are open in it and rough in the others; which of the draws coordinates are fitted to is left open
    there: some posteriors look simpler from one side. Trial runs have the last word on it.
    """
    *closed, last = windows
    both = (near, wide)
    uninformed = _uninformed(last, near.population)
    best = replace(uninformed, score=np.full(last.open.shape, np.inf))
    best_closed = judged(bent_at_walls(_best_of(closed, both), both), both)
    best = better(best, best_closed)
    for fitted_to in ((near,), both, (wide,)):
        rough = np.flatnonzero(last.open & (best.score > _SMOOTH))
        candidate = _best_of([last.of(rough)], _of(fitted_to, rough))
        # Walls and cliffs cost most: looked for only where a candidate is ahead without them.
        ahead = candidate.score < best.score[rough]
        rough, candidate = rough[ahead], candidate.of(ahead)
        best = _with_better(best, bent_at_walls(candidate, _of(fitted_to, rough)), rough, both)
    rough = np.flatnonzero(best.score > _SMOOTH)
    best = _with_better(best, uninformed.of(rough), rough, both)
    best = drawn_in(best, far, near, wide)
    best = closed_where_open_explode(best, best_closed, near, wide, far)
    return replace(best, score=np.where(np.isfinite(best.score), score_of(best, (near,)), np.inf))


def _with_better(
    best: Coordinates, candidate: Coordinates, patients: np.ndarray, draws: Sequence[IndividualDraws]
) -> Coordinates:
    """The best with a candidate for some patients where that is better, all things considered."""
    candidate = judged(candidate, _of(draws, patients), best.score[patients])
    lower = candidate.score < best.score[patients]
    return best.with_those(patients[lower], candidate.of(lower))


def _of(draws: Sequence[IndividualDraws], patients: np.ndarray) -> list[IndividualDraws]:
    return [each.of(patients) for each in draws]


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
