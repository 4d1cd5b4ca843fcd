"""`vpc`: visual predictive check of M-protein with dropout by the model's own progression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.errors import ModelError
from bayes_isa.prediction.envelope import band, global_p_value
from bayes_isa.prediction.strata import strata_of

QUANTILES = (0.1, 0.5, 0.9)
# A bin holds at least this share of all measurements: percentiles of fewer say little. 20 of a study of 400 values.
_LEAST_SHARE = 0.05
_SAME_VISIT_DAY = 3.0  # measurements no further apart belong to one visit: common visit windows
_LEAST_OBSERVED = 5  # measurements of a stratum in a bin below which it is drawn and tested no more


def vpc(
    replicates: xr.Dataset,
    *,
    by: str | pd.Series | None = None,
    bins: Sequence[float] | None = None,
    quantiles: Sequence[float] = QUANTILES,
    level: float = 0.9,
) -> xr.Dataset:
    """Percentiles of observed M-protein over time against those of replicates, and the share below the LLOQ.

    replicates: what `replicate_trial` returns: observed and simulated series both end at progression. by: a grouping
    column such as "arm" or "study", or labels by id. bins: edges in days; by default visits are joined until a bin
    holds a twentieth of all measurements. level: of the simulated percentiles' bands.

    Values below the LLOQ rank lowest and count as the LLOQ on both sides, so a percentile at the LLOQ means at or below
    it (Bergstrand and Karlsson 2009, doi:10.1208/s12248-009-9112-5).

    Returns a Dataset, dims (stratum, quantile, bin): `observed`, `low`, `median`, `high` in g/L; `below_observed`,
    `below_low`, `below_median`, `below_high` (stratum, bin) shares; `n_observed`; `day` (mean observed day of a bin),
    `day_low`, `day_high`; `p_value` (stratum, statistic): of all percentiles over time together (log scale) and of the
    shares, by `global_p_value`. Bins of a stratum with fewer than 5 measurements are NaN. Raises ModelError for
    replicates, strata or bins that make no sense.
    """
    if not 0.0 < level < 1.0 or not all(0.0 < q < 1.0 for q in quantiles):
        raise ModelError(f"level and quantiles: expected numbers between 0 and 1, found {level}, {quantiles}")
    names, stratum = strata_of(replicates, by)
    day = replicates["visit_day"].to_numpy()
    seen = replicates["observed_on_study"].to_numpy()
    edges = _edges(day[seen]) if bins is None else np.asarray(bins, dtype=float)
    if edges.size < 2 or not (np.diff(edges) > 0.0).all():
        raise ModelError(f"bins: expected rising days, found {bins!r}")
    bin_of = np.digitize(day, edges) - 1
    visit_stratum = stratum[
        pd.Index(replicates["patient"].to_numpy()).get_indexer(replicates["visit_patient"])
    ]
    cells = [
        [_Cell(replicates, (visit_stratum == s) & (bin_of == b), quantiles) for b in range(edges.size - 1)]
        for s in range(len(names))
    ]
    observed = np.array([[c.observed for c in row] for row in cells])
    simulated = np.array(
        [[c.simulated for c in row] for row in cells]
    )  # (stratum, bin, replicate, quantile + 1)
    return _labelled(replicates, names, edges, quantiles, level, cells, observed, simulated)


class _Cell:
    """Percentiles and share below the LLOQ of one stratum in one bin, observed (q + 1,) and simulated (n, q + 1)."""

    def __init__(self, replicates: xr.Dataset, chosen: np.ndarray, quantiles: Sequence[float]) -> None:
        part = replicates.isel(visit=np.flatnonzero(chosen))
        seen = part["observed_on_study"].to_numpy()
        self.n_observed = int(seen.sum())
        self.n_simulated = float(part["on_study"].sum("visit").mean())
        self.day = float(part["visit_day"].to_numpy()[seen].mean()) if self.n_observed else np.nan
        value = np.where(seen, part["observed_m_protein"].to_numpy(), np.nan)
        below = part["observed_below_lloq"].to_numpy()
        self.observed = _statistics(value[None], (below & seen)[None], seen[None], quantiles)[0]
        on_study = part["on_study"].to_numpy()
        value = np.where(on_study, part["m_protein"].to_numpy(), np.nan)
        self.simulated = _statistics(value, part["below_lloq"].to_numpy() & on_study, on_study, quantiles)
        if self.n_observed < _LEAST_OBSERVED:
            self.observed = np.full_like(self.observed, np.nan)


def _statistics(
    value: np.ndarray, below: np.ndarray, counted: np.ndarray, quantiles: Sequence[float]
) -> np.ndarray:
    """Percentiles and share below the LLOQ of each row: (n, q + 1); NaN for a row without values."""
    n_rows = value.shape[0]
    result = np.full((n_rows, len(quantiles) + 1), np.nan)
    filled = counted.any(axis=1)
    if filled.any():
        result[filled, :-1] = np.nanquantile(value[filled], quantiles, axis=1).T
        result[filled, -1] = below[filled].sum(axis=1) / counted[filled].sum(axis=1)
    return result


def _edges(day: np.ndarray) -> np.ndarray:
    """Bin edges between visits, so that each bin holds its share of the measurements; the baseline is a bin."""
    distinct, count = np.unique(np.maximum(day, 0.0), return_counts=True)
    least = max(_LEAST_OBSERVED, _LEAST_SHARE * day.size)
    edges, held = [min(float(day.min()), 0.0) - 0.5], 0
    for number in range(distinct.size - 1):
        held += count[number]
        left = count[number + 1 :].sum()
        # Days of visits scatter: an edge lies in a gap, the middle of it.
        apart = distinct[number + 1] - distinct[number] > _SAME_VISIT_DAY
        if apart and held >= least and left >= least:
            edges.append(0.5 * float(distinct[number] + distinct[number + 1]))
            held = 0
    return np.array([*edges, float(day.max()) + 0.5])


def _labelled(
    replicates: xr.Dataset,
    names: list[str],
    edges: np.ndarray,
    quantiles: Sequence[float],
    level: float,
    cells: list[list[_Cell]],
    observed: np.ndarray,
    simulated: np.ndarray,
) -> xr.Dataset:
    low, middle, high = band(np.moveaxis(simulated, 2, 0), level)
    hidden = np.array([[c.n_observed < _LEAST_OBSERVED for c in row] for row in cells])
    low, middle, high = (np.where(hidden[:, :, None], np.nan, x) for x in (low, middle, high))
    p_values = np.array(
        [
            [
                global_p_value(
                    np.log(observed[s, :, :-1]).ravel(),
                    np.log(simulated[s, :, :, :-1]).transpose(1, 0, 2).reshape(simulated.shape[2], -1),
                ),
                global_p_value(observed[s, :, -1], simulated[s, :, :, -1].T),
            ]
            for s in range(len(names))
        ]
    )
    dims, units = ("stratum", "quantile", "bin"), {"units": "g/L"}
    percentile = {
        "observed": observed[:, :, :-1],
        "low": low[:, :, :-1],
        "median": middle[:, :, :-1],
        "high": high[:, :, :-1],
    }
    share = {
        "below_observed": observed[:, :, -1],
        "below_low": low[:, :, -1],
        "below_median": middle[:, :, -1],
        "below_high": high[:, :, -1],
    }
    per_cell = ("stratum", "bin")
    return xr.Dataset(
        {name: (dims, values.transpose(0, 2, 1), units) for name, values in percentile.items()}
        | {name: (per_cell, values, {"units": "1"}) for name, values in share.items()}
        | {
            "n_observed": (per_cell, np.array([[c.n_observed for c in row] for row in cells])),
            "n_simulated": (per_cell, np.array([[c.n_simulated for c in row] for row in cells])),
            "day": (per_cell, np.array([[c.day for c in row] for row in cells]), {"units": "day"}),
            "p_value": (("stratum", "statistic"), p_values),
        },
        coords={
            "stratum": names,
            "quantile": np.asarray(quantiles, dtype=float),
            "bin": np.arange(edges.size - 1),
            "day_low": ("bin", edges[:-1], {"units": "day"}),
            "day_high": ("bin", edges[1:], {"units": "day"}),
            "statistic": ["m_protein", "below_lloq"],
        },
        attrs={
            "level": level,
            "n_replicates": replicates.sizes["replicate"],
            "individuals": replicates.attrs["individuals"],
            "lloq": float(np.median(replicates["lloq"])),
        },
    )
