"""A fit's own draws, thinned and ready for the kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.errors import ModelError
from bayes_isa.inference.storage import spec_of, stack_draws, trial_of
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.likelihood import with_panels_at
from bayes_isa.model.spec import ModelSpec


@dataclass(frozen=True)
class Thinned:
    """Evenly spaced draws (dim `sample`) of a fit, with its data."""

    data: JointData
    draws: xr.Dataset


def require_finite(posterior: xr.Dataset) -> None:
    """Raise ModelError naming every parameter with draws that are not finite: nothing can be predicted from those."""
    broken = {
        str(name): int((~np.isfinite(values.to_numpy())).sum())
        for name, values in posterior.data_vars.items()
        if not np.isfinite(values.to_numpy()).all()
    }
    if broken:
        counts = ", ".join(f"{name} ({count})" for name, count in broken.items())
        raise ModelError(
            f"draws of these parameters are not finite: {counts}; the fit failed there, so fit again"
        )


def thin(fit: xr.DataTree, n_draws: int) -> xr.Dataset:
    """At most `n_draws` evenly spaced draws (dim `sample`). Raises ModelError without posterior or finite draws."""
    if n_draws < 1:
        raise ModelError(f"n_draws: expected at least 1, found {n_draws}")
    if "posterior" not in fit.children:
        raise ModelError("the fit has no group 'posterior': pass what `bayes_isa.fit` returned")
    draws = stack_draws(fit["posterior"].to_dataset())
    require_finite(draws)
    size = draws.sizes["sample"]
    chosen = np.unique(np.linspace(0, size - 1, min(n_draws, size)).round().astype(int))
    return draws.isel(sample=chosen)


def thinned(
    fit: xr.DataTree, n_draws: int, *, trial: Trial | None = None, spec: ModelSpec | None = None
) -> Thinned:
    """At most `n_draws` evenly spaced draws, and the data they were fitted to, made ready for the kernel.

    Raises ModelError for a fit without posterior, or of other patients than the trial's.
    """
    draws = thin(fit, n_draws)
    chosen = spec_of(fit) if spec is None else spec
    data = prepare(trial_of(fit) if trial is None else trial, chosen, rough=True)
    if [str(i) for i in draws["patient"].to_numpy()] != data.patient_ids:
        raise ModelError("the trial is not the one that was fitted, or its patients are in another order")
    return Thinned(with_panels_at(data, draws), draws)
