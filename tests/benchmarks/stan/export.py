"""The package's own quadrature, data and priors as data of the Stan programs, and its parameters as Stan's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bayes_isa.kernels.quadrature import gauss_legendre
from bayes_isa.kernels.trajectory import INDIVIDUAL
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.priors import Prior, PriorSet
from benchmarks.equal_panels import ORDER, node_places

RK45_TOLERANCE = 1e-6  # Stan's default for ode_rk45
_SCALARS = ("k", "Te", "s", "sigma_add", "sigma_prop")
_TARGETS = (*INDIVIDUAL, "hazard")


def stan_data(data: JointData, priors: PriorSet) -> dict[str, Any]:
    """Data of the Stan programs, JSON-ready, names and units as in `programs/data.stan`.

    Raises ValueError for a specification that the programs do not hold: they have the default link, hazard and effect,
    exposure from pharmacokinetics, dexamethasone in the data, panels of equally many nodes (`equal_panels`), log-normal
    priors on positive parameters, normal ones on effects.
    """
    spec = data.spec
    given = (spec.link, spec.hazard, spec.exposure, spec.effect, spec.random_effects, data.has_dexamethasone)
    if given != ("slope", "loglogistic", "pk", "emax", "diagonal", True):
        raise ValueError(
            f"the Stan programs hold the default specification with dexamethasone, found {given}"
        )
    below = np.flatnonzero(data.below) + 1
    quantified = np.flatnonzero(~data.below) + 1
    return {
        **_panels(data),
        "event": data.event.astype(int).tolist(),
        "value": data.value.tolist(),
        "n_below": below.size,
        "below": below.tolist(),
        "quantified": quantified.tolist(),
        **_solver(data),
        **_covariates(data, priors),
        **_priors(priors),
    }


def _panels(data: JointData) -> dict[str, Any]:
    design, rule = data.panels.design, gauss_legendre(ORDER)
    n_panels = int(design.panel_offset[-1])
    place = node_places(design)

    def by_panel(array: np.ndarray) -> list[list[float]]:
        return array[place].tolist()

    return {
        "n_patients": design.event_day.size,
        "order": rule.order,
        "n_panels": n_panels,
        "first_panel": (design.panel_offset[:-1] + 1).tolist(),
        "last_panel": design.panel_offset[1:].tolist(),
        "hazard_panels": design.hazard_panels.tolist(),
        "share": rule.share.tolist(),
        "weight": by_panel(design.node_weight),
        "day": by_panel(design.node_day),
        "log_day": by_panel(design.node_log_day),
        "concentration": by_panel(design.node_effect),
        "dexamethasone": by_panel(design.node_dexamethasone),
        "event_day": design.event_day.tolist(),
        "event_concentration": design.event_effect.tolist(),
        "event_dexamethasone": design.event_dexamethasone.tolist(),
        "n_measurements": design.measurement_day.size,
        "first_measurement": (design.measurement_offset[:-1] + 1).tolist(),
        "last_measurement": design.measurement_offset[1:].tolist(),
        "measurement_day": design.measurement_day.tolist(),
        "measurement_panel": design.measurement_panel.tolist(),
    }


def _solver(data: JointData) -> dict[str, Any]:
    """What the rk45 program has beside the quadrature."""
    doses = data.exposure.dexamethasone
    return {
        "solver_tolerance": RK45_TOLERANCE,
        "n_doses": doses.dose_day.size,
        "first_dose": (doses.dose_offsets[:-1] + 1).tolist(),
        "last_dose": doses.dose_offsets[1:].tolist(),
        "dose_day": doses.dose_day.tolist(),
        "dose_level": doses.level.tolist(),
        "dose_rate": doses.rate_per_day,
    }


def _covariates(data: JointData, priors: PriorSet) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for target in _TARGETS:
        matrix = data.covariates[target]
        names = [str(name) for name in matrix["covariate"].to_numpy()]
        out[f"n_{target}"] = len(names)
        out[f"x_{target}"] = matrix.to_numpy().astype(float).tolist()
        chosen = [priors.covariate_effect(target, name) for name in names]
        out[f"prior_beta_{target}"] = np.transpose([_mu_sigma(prior, "Normal") for prior in chosen]).tolist()
        if not names:
            out[f"prior_beta_{target}"] = [[], []]
    return out


def _priors(priors: PriorSet) -> dict[str, Any]:
    def positive(names: Sequence[str]) -> list[list[float]]:
        return np.transpose([_mu_sigma(priors.parameters[name], "LogNormal") for name in names]).tolist()

    return {
        "prior_pop": positive([f"{name}_pop" for name in INDIVIDUAL]),
        "prior_omega": positive([f"omega_{name}" for name in INDIVIDUAL]),
        **{f"prior_{name}": _mu_sigma(priors.parameters[name], "LogNormal") for name in _SCALARS},
        "prior_beta_link": _mu_sigma(priors.link("slope"), "Normal"),
    }


def _mu_sigma(prior: Prior, family: str) -> list[float]:
    if prior.dist != family:
        raise ValueError(f"the Stan programs expect a {family} prior here, found {prior}")
    kwargs = prior.pymc_kwargs()
    return [kwargs["mu"], kwargs["sigma"]]


def package_name(stan_name: str) -> tuple[str, tuple[int, ...]]:
    """The package's variable and the position in it of one Stan parameter, e.g. "pop.2" -> ("KL_pop", ())."""
    name, *index = stan_name.split(".")
    place = tuple(int(number) - 1 for number in index)
    if name in ("pop", "omega"):
        individual = INDIVIDUAL[place[0]]
        return (f"{individual}_pop" if name == "pop" else f"omega_{individual}"), ()
    return name, place


def unconstrained(names: Sequence[str], point: Mapping[str, np.ndarray]) -> np.ndarray:
    """Stan's unconstrained vector, in the order of `names`, from a PyMC point of the same coordinates.

    Both take logs of positive parameters and leave the others alone.
    """
    values = {name.removesuffix("_log__"): np.asarray(value) for name, value in point.items()}
    vector = np.empty(len(names))
    for number, stan_name in enumerate(names):
        name, place = package_name(stan_name)
        vector[number] = values[name][place]
    return vector
