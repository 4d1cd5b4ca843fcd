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
from bayes_isa.model.trial_runs import with_better_runs
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
    patients who are open in it and rough in the others; trial runs tell which of the two serves better.
    """
    *closed, last = windows
    both = (near, wide)
    uninformed = _uninformed(last, near.population)
    best = replace(uninformed, score=np.full(last.open.shape, np.inf))
    best = better(best, judged(bent_at_walls(_best_of(closed, both), both), both))
    rough = np.flatnonzero(best.score > _SMOOTH)
    best = _with_better(best, uninformed.of(rough), rough, both)
    rough = np.flatnonzero(last.open & (best.score > _SMOOTH))
    if rough.size:
        near_rough, wide_rough, far_rough = near.of(rough), wide.of(rough), [each.of(rough) for each in far]
        rivals = _best_open(last.of(rough), near_rough, wide_rough)
        rivals = drawn_in(rivals, far_rough, near_rough, wide_rough)
    best = drawn_in(best, far, near, wide)
    if rough.size:
        rivals = with_better_runs(best.of(rough), rivals, near_rough, wide_rough, far_rough)
        best = best.with_those(rough, rivals)
    return replace(best, score=np.where(np.isfinite(best.score), score_of(best, (near,)), np.inf))


def _best_open(window: Window, near: IndividualDraws, wide: IndividualDraws) -> Coordinates:
    """The best in the open window; to which draws they are fitted is left open: some look simpler from one side."""
    both = (near, wide)
    start = _uninformed(window, near.population)
    best = replace(start, score=np.full(len(start.score), np.inf))
    for fitted_to in ((near,), both, (wide,)):
        candidate = _best_of([window], fitted_to)
        # Walls and cliffs cost most: looked for only where a candidate is ahead without them.
        ahead = np.flatnonzero(candidate.score < best.score)
        bent = bent_at_walls(candidate.of(ahead), _of(fitted_to, ahead))
        best = _with_better(best, bent, ahead, both)
    return best


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
