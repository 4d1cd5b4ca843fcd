"""Covariate effects under the regularised horseshoe: variables of the PyMC model, and a normal stand-in for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.errors import ModelError
from bayes_isa.model.horseshoe import regularised, scales_of
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.population import median
from bayes_isa.model.priors import PriorSet


def information(trial: Trial, target: str) -> float:
    """n of a target: its patients, or the events of the hazard. Raises ModelError without events."""
    n = int(trial.pfs["event"].sum()) if target == "hazard" else trial.n_patients
    if n == 0:
        raise ModelError(
            'covariate_prior="horseshoe" needs events: none of these patients has one; put no covariates on the hazard'
        )
    return float(n)


def spreads(matrix: xr.DataArray, *, imputed: bool = False) -> np.ndarray:
    """SDs (covariate,) of coded covariates (patient, covariate): what they are standardised with.

    imputed: continuous ones are latent variables where missing; then their SDs are those of the values given.
    """
    if not imputed:
        return matrix.to_numpy().std(axis=0)
    lacking = {n: ids for n, ids in matrix.attrs["imputed"].items() if n in matrix.attrs["centers"]}
    return np.array(
        [
            column.to_numpy()[~column["patient"].isin(lacking.get(str(name), ())).to_numpy()].std()
            for name, column in zip(matrix["covariate"].to_numpy(), matrix.T, strict=True)
        ]
    )


def horseshoe_effects(
    data: JointData, target: str, priors: PriorSet, *, sigma: Any, start: np.ndarray, start_sigma: float
) -> Any:
    """`beta_<target>` on the model's own scale, (covariate,), from `tau_<target>`, `lambda_<target>`, `z_<target>`.

    sigma: SD of the target between patients, 1 for the hazard. start, start_sigma: effects and sigma to start at.
    """
    horseshoe = priors.of_horseshoe()
    n, spread = information(data.trial, target), spreads(data.covariates[target], imputed=data.spec.imputes)
    slab, by_error = horseshoe.slab_in_errors(n), np.sqrt(n) * spread
    local, z = scales_of(start * by_error / start_sigma, horseshoe, slab)
    tau0 = horseshoe.global_scale(spread.size)
    dims = f"covariate_{target}"
    global_scale = pm.HalfCauchy(f"tau_{target}", tau0, initval=tau0)
    local_scale = pm.HalfStudentT(f"lambda_{target}", horseshoe.local_nu, 1.0, dims=dims, initval=local)
    normal = pm.Normal(f"z_{target}", 0.0, 1.0, dims=dims, initval=z)
    # Shared, because they differ between data sets of one form: code is then compiled once.
    constants = pytensor.shared(
        np.stack([np.full(spread.size, slab), 1.0 / by_error]), name=f"horseshoe_{target}"
    )
    scale = global_scale * regularised(local_scale, global_scale, constants[0])
    return pm.Deterministic(f"beta_{target}", sigma * constants[1] * scale * normal, dims=dims)


def with_normal_effects(data: JointData, priors: PriorSet) -> PriorSet:
    """`priors` with normal ones in the horseshoe's place where `data` is modelled with it: for the warm start.

    Each has the SD of an effect of which p0 in D come from the slab, at the prior's median of omega.
    """
    if data.spec.covariate_prior != "horseshoe":
        return priors
    horseshoe = priors.of_horseshoe()
    document = priors.to_dict()
    for target, matrix in data.covariates.items():
        names = [str(name) for name in matrix["covariate"].to_numpy()]
        sigma = 1.0 if target == "hazard" else median(priors.parameter(f"omega_{target}"))
        document["covariate_effects"][target] = {
            name: {
                "dist": "Normal",
                "kwargs": {"mu": 0.0, "sigma": sigma * horseshoe.rough_sd(len(names)) / float(spread)},
                "unit": "log per unit of the covariate",
                "source": "stands in for the horseshoe",
            }
            for name, spread in zip(names, spreads(matrix, imputed=data.spec.imputes), strict=True)
        }
    return PriorSet.from_dict(document)
