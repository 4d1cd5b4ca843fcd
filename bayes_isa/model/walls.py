"""Walls: where growth raises the hazard of a patient so fast that its log-density falls off a cliff.

The hazard is exponential in the growth of a curve that is itself exponential. A leapfrog step that lands beyond a wall
diverges; an axis that is bent there comes to it in many small steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bayes_isa.model.posterior_in_eps import PosteriorInEps
from bayes_isa.model.whitenings import Coordinates, IndividualDraws, score_of, standardised_all

# A wall: at this many SDs from the centre along an axis the density has fallen this many times as far as a normal's.
_WALL_AT = 3.5
_WALL = 1.5
_BESIDE = 2.0  # SDs along another axis: a wall may stand askew
# There, of these bends the strongest that leaves all of a posterior this near: few draws come to a wall, so that a fit
# of bends hardly sees it, and what lies beyond a bend is thrown out exponentially far.
_WALL_BENDS = np.array([0.3, 0.6, 1.0, 1.3, 1.6, 2.0, 2.5])
_NEAR = 6.0
# SDs at which to look whether a posterior reaches there: its density has not fallen by more than a normal's in five
# dimensions has around 99 % of its mass.
_SCAN = (2.5, 3.5)
_IN_REACH = 8.0
# A point is beyond a cliff if the density there is this far (in logs) below a normal's: no chain is ever there, and a
# step to it diverges. Looked for where one of 150 draws of a standard normal in five dimensions lies as far out, in
# random directions, so many that a cliff across 2 % of them is seldom missed. Nearer, the cliffs that trajectories run
# into are missed; further, some stand around any good coordinates.
_CLIFF = 30.0
_CLIFF_AT = 4.0
_CLIFF_POINTS = 200
_CLIFF_SEED = 5
# What such a point counts for in open coordinates, where growth is exponential twice over: trajectories that come near
# it diverge, while in closed ones nearly all turn round. Of 16 000 trajectories in each of twelve searches 4 diverged
# when it counted for 1 and none when for 4; when for 10, closed coordinates with worse walls were taken again.
_OPEN_CLIFF = 4.0
_AT_ONCE = 32  # points: of thousands of patients they fill memory

# How far a log-density has fallen (point, n_patients) at points (point, n_patients, d).
Fall = Callable[[np.ndarray], np.ndarray]


def bent_at_walls(coordinates: Coordinates, draws: Sequence[IndividualDraws]) -> Coordinates:
    """Stronger bends where an axis runs into a wall of the posterior that the last draws are from.

    None stronger than leaves all that is in reach near.
    """
    whitening = coordinates.whitening
    falls = _falls(fall_of(coordinates, draws[-1]), whitening.pull.shape, _WALL_AT)
    falls[..., 1:] -= 0.5 * _BESIDE**2
    wall = (falls > _WALL * 0.5 * _WALL_AT**2).any(axis=3)
    reach = _reach(coordinates, draws)[..., None]
    with np.errstate(over="ignore"):  # what reaches so far is not near
        near = np.sinh(_WALL_BENDS * reach) / _WALL_BENDS <= _NEAR
    strongest = np.where(near, _WALL_BENDS, 0.0).max(axis=3)
    below, above = (
        np.where(at_wall, np.maximum(bend, most), np.minimum(bend, most))
        for bend, at_wall, most in zip((whitening.below, whitening.above), wall, strongest, strict=True)
    )
    return replace(coordinates, whitening=whitening._replace(below=below, above=above))


def cliffs(coordinates: Coordinates, draws: IndividualDraws) -> np.ndarray:
    """Of points far out in eps, the number (n_patients,) at which the density is far below a normal's."""
    shape = coordinates.whitening.pull.shape
    points = np.random.default_rng(_CLIFF_SEED).normal(size=(_CLIFF_POINTS, shape[1]))
    points *= _CLIFF_AT / np.linalg.norm(points, axis=1, keepdims=True)
    falls = fall_of(coordinates, draws)(np.tile(points[:, None], (1, shape[0], 1)))
    far = np.array([0.5 * np.sum(point**2) for point in points])
    return np.sum(falls - far[:, None] > _CLIFF, axis=0)


def judged(
    coordinates: Coordinates, draws: Sequence[IndividualDraws], rival: np.ndarray | float = np.inf
) -> Coordinates:
    """With the score that candidates are compared by: roughness at all draws, more where chains would diverge.

    inf where they cannot beat the score of a rival (n_patients,): cliffs cost most, and are looked for in the others
    alone. They are nearest to the last of the draws.
    """
    score = score_of(coordinates, draws)
    racing = np.flatnonzero(np.isfinite(coordinates.score) & (score < rival))
    weight = np.where(coordinates.window.open[racing], _OPEN_CLIFF, 1.0)
    with_cliffs = np.full_like(score, np.inf)
    with_cliffs[racing] = score[racing] * (
        1.0 + weight * cliffs(coordinates.of(racing), draws[-1].of(racing))
    )
    return replace(coordinates, score=with_cliffs)


def _falls(fall: Fall, shape: tuple[int, int], distance: float) -> np.ndarray:
    """Fall of the density to `distance` on either side of each axis and to places beside those.

    (2, n_patients, d, places), the first place the one on the axis.
    """
    n, d = shape
    points = []
    for sign in (-1.0, 1.0):
        for j in range(d):
            beside = [(other, move) for other in range(d) if other != j for move in (-_BESIDE, _BESIDE)]
            for other, move in [(j, 0.0), *beside]:
                at = np.zeros(shape)
                at[:, other] = move
                at[:, j] = sign * distance
                points.append(at)
    falls = fall(np.array(points)).reshape(2, d, 2 * d - 1, n)
    return falls.transpose(0, 3, 1, 2).copy()


def _reach(coordinates: Coordinates, draws: Sequence[IndividualDraws]) -> np.ndarray:
    """How far posteriors reach from 0 on either side of each axis before its bend: (2, n_patients, d).

    As far as the draws do, and as far as the density of the last ones is found: a chain may not have been there yet.
    """
    x, _ = standardised_all(coordinates, draws)
    x = x / coordinates.whitening.scale
    reach = np.stack([np.maximum(-x, 0.0).max(axis=0), np.maximum(x, 0.0).max(axis=0)])
    fall = fall_of(straightened(coordinates), draws[-1])
    for distance in _SCAN:
        falls = _falls(fall, coordinates.whitening.below.shape, distance)
        reach = np.where(falls.min(axis=3) <= _IN_REACH, np.maximum(reach, distance), reach)
    return reach


def straightened(coordinates: Coordinates) -> Coordinates:
    """The coordinates without bends."""
    zero = np.zeros_like(coordinates.whitening.below)
    return replace(coordinates, whitening=coordinates.whitening._replace(below=zero, above=zero))


def fall_of(coordinates: Coordinates, draws: IndividualDraws) -> Fall:
    """How far the log-density that the draws are from has fallen at points eps from its value at 0."""
    log_density = PosteriorInEps(coordinates, draws).log_density
    base = log_density(np.zeros((1, *coordinates.whitening.pull.shape)))

    def fall(points: np.ndarray) -> np.ndarray:
        # A curve that overflows falls without end.
        with np.errstate(over="ignore", invalid="ignore"):
            parts = np.array_split(points, max(1, -(-len(points) // _AT_ONCE)))
            fallen = base - np.concatenate([log_density(part) for part in parts])
        return np.where(np.isnan(fallen), np.inf, fallen)

    return fall
