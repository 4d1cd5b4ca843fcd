"""Fit-like objects without sampling: draws around the truth or at the warm start's population estimate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.kernels.whitening import unwhiten
from bayes_isa.model.joint_data import prepare
from bayes_isa.model.priors import PriorSet
from bayes_isa.model.spec import ModelSpec
from bayes_isa.model.warm_start import warm_start


def fit_at_estimate(
    trial: Trial, priors: PriorSet, spec: ModelSpec, *, n_draws: int = 20, seed: int = 0
) -> xr.DataTree:
    """What a fit of this model says, right or wrong as the model may be, without sampling.

    Population parameters at the warm start's estimate; individual ones drawn from each patient's Gaussian there.
    """
    data = prepare(trial, spec)
    with np.errstate(over="ignore", invalid="ignore"):  # a whitening tried and found useless
        start = warm_start(data, priors)
    population = start.population
    rng = np.random.default_rng(seed)
    phi = np.empty((n_draws, *start.phi.shape))
    for one in phi:
        eps, log_jacobian = rng.standard_normal(start.phi.shape), np.empty(len(start.phi))
        unwhiten(
            start.window,
            start.whitening,
            eps,
            population.mean,
            population.spread,
            population.k,
            one,
            log_jacobian,
        )
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    coords: dict[str, object] = {"patient": data.patient_ids, "parameter": list(spec.individual)}
    scalars = dict(population.shared)
    for j, name in enumerate(spec.individual):
        scalars |= {f"{name}_pop": population.typical[j], f"omega_{name}": population.omega[j]}
    for target, matrix in data.covariates.items():
        if matrix.sizes["covariate"]:
            coords[f"covariate_{target}"] = matrix["covariate"].to_numpy()
            variables[f"beta_{target}"] = ((f"covariate_{target}",), population.effects[target])
    variables |= {name: ((), np.asarray(value)) for name, value in scalars.items()}
    if population.correlation is not None:
        coords["parameter_other"] = list(spec.individual)
        variables["correlation"] = (("parameter", "parameter_other"), population.correlation)
    shared = xr.Dataset(variables, coords).expand_dims(chain=[0], draw=range(n_draws))
    posterior = shared.assign(phi=(("chain", "draw", "patient", "parameter"), phi[None]))
    return xr.DataTree.from_dict({"posterior": posterior})


def scattered(fit: xr.DataTree, n_draws: int, *, relative: float, seed: int) -> xr.DataTree:
    """Two chains of `n_draws` draws around a fit's one, each number off by a normal share `relative` of itself."""
    rng = np.random.default_rng(seed)
    single = fit["posterior"].to_dataset()
    wide = single.isel(chain=[0, 0], draw=[0] * n_draws).assign_coords(chain=[0, 1], draw=range(n_draws))
    for name, values in wide.items():
        wide[name] = values + relative * np.abs(values) * rng.standard_normal(values.shape)
    return xr.DataTree.from_dict({"posterior": wide})


def with_higher_lloq(trial: Trial, lloq: float) -> Trial:
    """The trial as a laboratory with this limit (g/L) after the first dose would have reported it."""
    from dataclasses import replace

    rows: pd.DataFrame = trial.mprotein.copy()
    after = rows["day"] > 0.0
    rows.loc[after, "lloq_g_per_l"] = lloq
    rows["below_lloq"] = rows["below_lloq"] | (after & (rows["value_g_per_l"] < lloq))
    rows.loc[rows["below_lloq"], "value_g_per_l"] = rows.loc[rows["below_lloq"], "lloq_g_per_l"]
    return replace(trial, mprotein=rows)
