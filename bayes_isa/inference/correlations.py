"""Correlations of random effects as numbers with names of their own: a matrix holds each twice, and ones."""

from __future__ import annotations

from itertools import combinations

import xarray as xr

_DIMS = ("parameter", "parameter_other")


def with_pairs(posterior: xr.Dataset) -> xr.Dataset:
    """The posterior with "correlation[KL, KD]" ... for the matrix and for its Cholesky factor, where it has these."""
    matrices = [str(name) for name, values in posterior.data_vars.items() if {*_DIMS} <= {*values.dims}]
    return posterior.drop_vars(matrices).assign(pairs(posterior))


def pairs(posterior: xr.Dataset) -> dict[str, xr.DataArray]:
    """Draws of each correlation by its label; empty for a model without."""
    if "correlation" not in posterior:
        return {}
    matrix = posterior["correlation"]
    names = [str(name) for name in matrix["parameter"].to_numpy()]
    return {
        f"correlation[{one}, {other}]": matrix.sel(parameter=one, parameter_other=other, drop=True)
        for one, other in combinations(names, 2)
    }
