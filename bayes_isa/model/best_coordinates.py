"""For each patient, the coordinates to sample in: the best of several windows and whitenings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

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
# One above which a patient has draws made anew and coordinates fitted to those, so often: what a hundred draws show of
# a steep posterior is partly luck. Of 12 000 trajectories of eight such patients in each of ten searches 5 diverged
# without it and 0.4 with it; made anew once it left as many in two searches of ten, more often it gained nothing.
_ROUGH = 5.0
_TIMES = 2

# Draws near the estimate and at a wide population, of some patients and with a number of their own.
Redrawn = Callable[[np.ndarray, int], tuple[IndividualDraws, IndividualDraws]]


def best_coordinates(
    windows: list[Window],
    near: IndividualDraws,
    wide: IndividualDraws,
    far: Sequence[FarRegions],
    redrawn: Redrawn,
) -> Coordinates:
    """For each patient the best of the whitenings in the given windows, bent where that helps and at walls.

    `near` are draws at about the population's posterior mean, `wide` at one with wider omegas: coordinates must do at
    both, for the sampler goes from one to the other. `far` are places that must lie near. The last window is for
    patients who are open in it and rough in the others. Rough patients are `redrawn`, and what fits their new draws is
    judged by the first. Trial runs have the last word on open coordinates.
    """
    last, both = windows[-1], (near, wide)
    uninformed = _uninformed(last, near.population)
    nothing = replace(uninformed, score=np.full(last.open.shape, np.inf))
    chosen = _tried(_Chosen(nothing, nothing), windows, np.arange(last.open.size), both, both)
    for number in range(_TIMES):
        rough = np.flatnonzero(chosen.best.score > _ROUGH)
        if not rough.size:
            break
        chosen = _tried(chosen, windows, rough, redrawn(rough, number), both)
    rough = np.flatnonzero(chosen.best.score > _SMOOTH)
    best = _with_better(chosen.best, uninformed.of(rough), rough, both)
    best = drawn_in(best, far, near, wide)
    best = closed_where_open_explode(best, chosen.closed, near, wide, far)
    return replace(best, score=np.where(np.isfinite(best.score), score_of(best, (near,)), np.inf))


class _Chosen(NamedTuple):
    """The best coordinates so far, of all and of the closed ones."""

    best: Coordinates
    closed: Coordinates


def _tried(
    chosen: _Chosen,
    windows: list[Window],
    patients: np.ndarray,
    fitted: tuple[IndividualDraws, IndividualDraws],
    both: tuple[IndividualDraws, IndividualDraws],
) -> _Chosen:
    """With the best for some patients of what is fitted to some draws, near and wide, judged by the draws `both`.

    In open coordinates it is left open which of the draws they are fitted to: some posteriors look simpler from one
    side.
    """
    *closed, last = windows
    near, wide = fitted
    theirs = _of(fitted, patients)
    candidate = _best_of([window.of(patients) for window in closed], theirs)
    best_closed = _with_better(chosen.closed, bent_at_walls(candidate, theirs), patients, both)
    best = better(chosen.best, best_closed)
    for fitted_to in ((near,), fitted, (wide,)):
        rough = patients[last.open[patients] & (best.score[patients] > _SMOOTH)]
        candidate = _best_of([last.of(rough)], _of(fitted_to, rough))
        # Walls and cliffs cost most: looked for only where a candidate is ahead without them.
        ahead = candidate.score < best.score[rough]
        rough, candidate = rough[ahead], candidate.of(ahead)
        best = _with_better(best, bent_at_walls(candidate, _of(fitted_to, rough)), rough, both)
    return _Chosen(best, best_closed)


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
