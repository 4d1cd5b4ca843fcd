"""`compare_models`: joint models of one trial side by side, by how well they predict patients left out."""

from __future__ import annotations

from collections.abc import Mapping

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.utils import ELPDDataLOO

from bayes_isa.errors import ModelError
from bayes_isa.inference.elpd import ELPD_PARTS, elpd_loo


def compare_models(
    models: Mapping[str, xr.DataTree | xr.Dataset], *, part: str = "joint", method: str = "stacking"
) -> pd.DataFrame:
    """ArviZ's comparison table of fits, or of what `elpd_loo` returned for them, best first.

    part: of what is predicted: "joint", "marker", "pfs" or "pfs_given_marker". method: of the weights, see
    `arviz.compare`. A difference within two of its standard errors (`dse`), or below 4, is none that the data can tell
    (Sivula et al. 2020, arXiv:2008.10296): column `verdict` says so. `n_high_k` counts patients whose Pareto k is too
    high; have them refitted with `elpd_loo(..., refit=True)`.

    Raises ModelError for fewer than two models, an unknown part, or models of different patients.
    """
    if part not in ELPD_PARTS:
        raise ModelError(f"part: expected one of {', '.join(ELPD_PARTS)}, found {part!r}")
    if len(models) < 2:
        raise ModelError(f"expected at least two models to compare, found {len(models)}")
    results = {
        name: elpd_loo(model) if isinstance(model, xr.DataTree) else model for name, model in models.items()
    }
    first_name, first = next(iter(results.items()))
    for name, result in results.items():
        if "elpd" not in result:
            raise ModelError(f"{name}: expected a fit or what `elpd_loo` returns")
        if list(result["patient"].to_numpy()) != list(first["patient"].to_numpy()):
            raise ModelError(f"{name} and {first_name} were fitted to different patients")
    table = az.compare(
        {name: _arviz(result, part) for name, result in results.items()}, method=method, round_to="none"
    )
    table["n_high_k"] = [results[str(name)].attrs["n_high_k"] for name in table.index]
    table["verdict"] = [_verdict(row) for _, row in table.iterrows()]
    table.attrs = {"part": part}
    return table


def _arviz(result: xr.Dataset, part: str) -> ELPDDataLOO:
    one = result.sel(part=part)
    return ELPDDataLOO(
        elpd=float(one["elpd_total"]),
        se=float(one["se"]),
        p=float(one["p_loo_total"]),
        n_samples=int(result.attrs["n_samples"]),
        n_data_points=int(result.sizes["patient"]),
        scale="log",
        warning=result.attrs["n_high_k"] > 0,
        good_k=float(result.attrs["good_k"]),
        elpd_i=one["elpd"],
        pareto_k=result["pareto_k"],
    )


# Below this, and within two standard errors, the normal approximation of the difference cannot be relied on.
_LEAST_DIFFERENCE = 4.0


def _verdict(row: pd.Series) -> str:
    difference, error = abs(float(row["elpd_diff"])), float(row["dse"])
    if difference == 0.0 and (error == 0.0 or np.isnan(error)):
        return "best"
    told = difference >= _LEAST_DIFFERENCE and difference > 2.0 * error
    return "worse" if told else "the data cannot tell"
