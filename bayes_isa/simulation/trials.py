"""What `simulate_trials` returned, as the functions that sum it up take it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import xarray as xr

from bayes_isa.errors import BayesIsaWarning, ModelError

Sims = xr.Dataset | xr.DataTree

# Trials summed up at once: 250 of 201 patients, 5 regimens and 22 visits are 25 MB.
_BLOCK = 250


def trial_data(sims: Sims, *needed: str) -> xr.Dataset:
    """The simulated trials themselves, dims (trial, regimen, patient, visit) in this order.

    Raises ModelError when one of the variables `needed` is missing.
    """
    root = sims.to_dataset() if isinstance(sims, xr.DataTree) else sims
    missing = [name for name in needed if name not in root]
    if missing:
        raise ModelError(
            f"these are no simulated trials: {', '.join(missing)} is missing; "
            "pass what simulate_trials returned"
        )
    return root.transpose("trial", "regimen", "patient", "visit", ..., missing_dims="ignore")


def marginal_survival(sims: Sims) -> xr.DataArray | None:
    """The group "marginal": PFS probability averaged over patients (trial, regimen, day); None when absent."""
    if isinstance(sims, xr.DataTree) and "marginal" in sims.children:
        return sims["marginal"].to_dataset()["survival"]
    return None


def trial_blocks(sims: Sims) -> Iterator[Sims]:
    """The same trials in pieces that fit memory, loaded one at a time."""
    count = sims.sizes["trial"]
    for first in range(0, count, _BLOCK):
        yield sims.isel(trial=slice(first, min(first + _BLOCK, count))).load()


def horizon(sims: xr.Dataset) -> float:
    """Day at which the simulation ends."""
    return float(sims.attrs["horizon_day"])


def require_followed(sims: xr.Dataset, day: float, what: str) -> None:
    """Raises ModelError when the simulation ends before `day`, which `what` needs."""
    if day > horizon(sims) + 1e-9:
        raise ModelError(
            f"{what} lies beyond the horizon of {horizon(sims):g} days: "
            f"simulate with horizon_day={np.ceil(day):g} or more"
        )


def by_trial(values: np.ndarray, sims: xr.Dataset, name: str, units: str) -> xr.DataArray:
    """Numbers by (trial, regimen) with their coordinates."""
    coords = {dim: sims[dim] for dim in ("trial", "regimen")}
    return xr.DataArray(values, coords, ("trial", "regimen"), name, {"units": units})


def warn_undefined(count: int, n_trials: int, what: str) -> None:
    """Tells of trials in which a quantity does not exist."""
    if count:
        warnings.warn(f"{what} does not exist in {count} of {n_trials} trials", BayesIsaWarning, stacklevel=3)
