"""Is an observed curve one of the simulated ones? Pointwise bands, and one p-value for the whole curve."""

from __future__ import annotations

import numpy as np


def band(simulated: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower bound, median and upper bound of the central `level` over the first axis; NaN entries are left out."""
    tail = 0.5 * (1.0 - level)
    empty = np.isnan(simulated).all(axis=0)
    filled = np.where(empty, 0.0, simulated)
    low, middle, high = np.nanquantile(filled, [tail, 0.5, 1.0 - tail], axis=0)
    return tuple(np.where(empty, np.nan, x) for x in (low, middle, high))  # type: ignore[return-value]


def global_p_value(observed: np.ndarray, simulated: np.ndarray) -> float:
    """Monte-Carlo p-value of `observed` (k,) among `simulated` (n, k) by the largest studentised deviation.

    Exact for curves exchangeable with the observed one (Myllymäki et al. 2017, doi:10.1111/rssb.12172; mean and SD
    taken over all n + 1 curves). An entry that a simulated curve lacks (NaN) counts as its mean; entries that the
    observed curve lacks are left out. NaN when nothing is left.
    """
    usable = np.isfinite(observed) & (np.isfinite(simulated).sum(axis=0) > 1)
    if not usable.any():
        return float("nan")
    curves = np.concatenate([observed[None, usable], simulated[:, usable]])
    mean, sd = np.nanmean(curves, axis=0), np.nanstd(curves, axis=0)
    deviation = np.nan_to_num(np.abs(curves - mean))
    largest = (deviation / np.where(sd > 0.0, sd, 1.0)).max(axis=1)
    # Ties count as extreme; a relative hair's breadth is a tie, as where all curves are equal.
    return float(np.mean(largest >= largest[0] * (1.0 - 1e-12)))
