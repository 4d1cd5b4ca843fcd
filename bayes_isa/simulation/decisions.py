"""How likely a regimen is to be the better one, and its rank among those simulated."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import xarray as xr
from scipy import stats

DECISIONS: Mapping[str, str] = MappingProxyType(
    {
        "probability_longer_median_pfs": "probability that median PFS is longer by more than the margin",
        "probability_hazard_ratio_below": "probability that the hazard ratio is below the bound",
        "rank": "rank by median PFS, 1: the longest",
        "probability_best": "probability of the longest median PFS",
    }
)


def decision_rows(
    values: xr.Dataset, reference: str, margin_weeks: float, hazard_ratio_below: float
) -> dict[str, list[dict[str, object]]]:
    """Rows of `compare_regimens` by regimen, from `endpoints` with median PFS, its difference and the hazard ratio.

    Ranks are means over ties, so that equal regimens share one; medians not reached are all equally long. A
    probability leaves out trials in which neither is longer for lack of follow-up (both medians not reached) or the
    hazard ratio does not exist, counted in n_undefined. Its interval is Wilson's at 90 %
    (doi:10.1080/01621459.1927.10502953).
    """
    median = values["median_pfs"].transpose("trial", "regimen").to_numpy()
    ranks = stats.rankdata(-median, axis=1, method="average")
    rows: dict[str, list[dict[str, object]]] = {}
    for column, regimen in enumerate(map(str, values["regimen"].to_numpy())):
        own: list[dict[str, object]] = []
        if regimen != reference:
            longer = values["median_pfs_difference"].sel(regimen=regimen).to_numpy()
            ratio = values["hazard_ratio"].sel(regimen=regimen).to_numpy()
            own.append(_probability(regimen, "probability_longer_median_pfs", longer > margin_weeks, longer))
            below = ratio < hazard_ratio_below
            own.append(_probability(regimen, "probability_hazard_ratio_below", below, ratio))
        low, middle, high = np.quantile(ranks[:, column], [0.05, 0.5, 0.95], method="inverted_cdf")
        interval = {"median": float(middle), "p5": float(low), "p95": float(high)}
        own.append(_named(regimen, "rank", len(ranks), 0) | interval)
        # Tied for the first place: a share of it each.
        first = ranks.min(axis=1, keepdims=True)
        tied = ranks == first
        own.append(
            _probability(regimen, "probability_best", tied[:, column] / tied.sum(axis=1), median[:, 0])
        )
        rows[regimen] = own
    return rows


def _probability(
    regimen: str, quantity: str, happened: np.ndarray, defined_by: np.ndarray
) -> dict[str, object]:
    defined = ~np.isnan(defined_by)
    n = int(defined.sum())
    row = _named(regimen, quantity, happened.size, happened.size - n)
    if n == 0:
        return row | {"median": np.nan, "p5": np.nan, "p95": np.nan}
    share = float(happened[defined].mean())
    low, high = wilson(share, n)
    return row | {"median": share, "p5": low, "p95": high}


def wilson(share: float, n: int, level: float = 0.9) -> tuple[float, float]:
    """Wilson's interval of a probability, from the share of `n` trials."""
    z = stats.norm.ppf(0.5 + level / 2)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def _named(regimen: str, quantity: str, n_trials: int, n_undefined: int) -> dict[str, object]:
    return {
        "regimen": regimen,
        "quantity": quantity,
        "median": np.nan,
        "p5": np.nan,
        "p95": np.nan,
        "unit": "1",
        "n_trials": n_trials,
        "n_not_reached": 0,
        "n_undefined": n_undefined,
    }
