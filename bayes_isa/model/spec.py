"""`ModelSpec`: which joint model, in the field's own words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from bayes_isa.data.covariates import PUBLISHED_COVARIATES
from bayes_isa.errors import ModelError
from bayes_isa.kernels.hazard import EFFECTS, HAZARDS, LINKS
from bayes_isa.pk.kpd import KPD_HALF_LIFE_DAY

EXPOSURES = ("pk", "kpd", "constant")
COORDINATES = ("response", "mixed", "noncentered", "centered")
RESIDUALS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "combined": ("sigma_add", "sigma_prop"),
        "additive": ("sigma_add",),
        "proportional": ("sigma_prop",),
        "student_t": ("sigma_add", "sigma_prop", "nu"),
    }
)
RANDOM_EFFECTS = ("diagonal", "correlated")
TARGETS = ("M0", "KL", "KD", "R", "EC50", "hazard")
COVARIATE_PRIORS = ("normal", "horseshoe")
MISSING_COVARIATES = ("published", "impute")


@dataclass(frozen=True)
class ModelSpec:
    """What to model; every choice has a name.

    link: what of M-protein drives the hazard: "slope" (dM/dt, default, as published), "value", "log_value",
        "relative_slope" or "none".
    hazard: baseline hazard: "loglogistic" (default, as published), "weibull" or "exponential".
    exposure: "pk" (isatuximab concentration from individual or typical pharmacokinetics), "kpd" (isatuximab doses
        alone, through a virtual compartment: what drives the effect is the rate in mg/day at which they leave it, and
        `EC50` is the one of half effect in mg/day, EDK50 elsewhere) or "constant" (full effect while on treatment: the
        Claret model, for data without pharmacokinetics; no EC50).
    kpd_half_life_day: half-life in that virtual compartment, fixed (default 28: isatuximab at steady state); of "kpd"
        alone.
    effect: "emax" (default, as published) or "linear" in the concentration or rate (EC50 is then the one at which
        the kill rate is KD).
    residual: SD of a measurement: "combined" (default, as published: sqrt(sigma_add^2 + (sigma_prop M)^2)), "additive",
        "proportional", or "student_t" (combined scale, with `nu` degrees of freedom estimated: outlying values count
        less).
    random_effects: "diagonal" (default, as published: etas of one patient are independent) or "correlated" (their
        correlation matrix is estimated, with an LKJ prior: `correlation`, dims parameter and parameter_other).
    covariates: covariate names for each of M0, KL, KD, R, EC50 and hazard; None takes the published set, as far as
        the data set has it (what is left out is warned of); `all_covariates(trial)` gives every candidate.
    covariate_prior: of their effects: "normal" (default: those of the prior set, one by one) or "horseshoe" (the
        regularised horseshoe of the prior set's [horseshoe]: most effects next to nothing, a few free; for choosing
        among many candidates, see `covariate_selection`).
    missing_covariates: "published" (default: a missing continuous covariate is taken as the median, a missing binary or
        text one gets a level of its own) or "impute" (each missing value of a continuous covariate is a latent
        variable, `imputed_<covariate>`, dim patient_without_<covariate>, on the scale on which it enters the model,
        normal given the patient's other covariates, informed by marker and PFS; missing at random is assumed, see
        `bayes_isa.model.imputation`. Binary and text covariates keep a level of their own, which is warned of).
    coordinates: sampling geometry; it changes the speed, never the posterior. "response" (default: net response,
        whitened by each patient's own curvature), or textbook ones: "noncentered" (phi = mean + omega eta), "centered"
        (phi itself), "mixed" (log M0 centred, the rest non-centred: M0 is well measured in each patient).
    tolerance: error allowed in any patient's log-likelihood by the quadrature (1e-3: a hundredth of the Monte-Carlo
        error of the log-likelihood of one patient).

    Raises ModelError, listing every impossible choice.
    """

    link: str = "slope"
    hazard: str = "loglogistic"
    exposure: str = "pk"
    kpd_half_life_day: float = KPD_HALF_LIFE_DAY
    effect: str = "emax"
    residual: str = "combined"
    random_effects: str = "diagonal"
    covariates: Mapping[str, tuple[str, ...]] | None = None
    covariate_prior: str = "normal"
    missing_covariates: str = "published"
    coordinates: str = "response"
    tolerance: float = field(default=1e-3)

    def __post_init__(self) -> None:
        wrong = [
            _unknown(name, value, known)
            for name, value, known in (
                ("link", self.link, tuple(LINKS)),
                ("hazard", self.hazard, tuple(HAZARDS)),
                ("exposure", self.exposure, EXPOSURES),
                ("effect", self.effect, tuple(EFFECTS)),
                ("residual", self.residual, tuple(RESIDUALS)),
                ("random_effects", self.random_effects, RANDOM_EFFECTS),
                ("covariate_prior", self.covariate_prior, COVARIATE_PRIORS),
                ("missing_covariates", self.missing_covariates, MISSING_COVARIATES),
                ("coordinates", self.coordinates, COORDINATES),
            )
            if value not in known
        ]
        if self.covariates is not None:
            wrong += [
                _unknown("covariates", target, TARGETS) for target in self.covariates if target not in TARGETS
            ]
            frozen = {target: tuple(names) for target, names in self.covariates.items()}
            object.__setattr__(self, "covariates", frozen)
        if not 0.0 < self.tolerance <= 1.0:
            wrong.append(f"tolerance: expected a number in (0, 1], found {self.tolerance!r}")
        if not 0.0 < self.kpd_half_life_day < float("inf"):
            wrong.append(f"kpd_half_life_day: expected a positive number, found {self.kpd_half_life_day!r}")
        if self.exposure != "kpd" and self.kpd_half_life_day != KPD_HALF_LIFE_DAY:
            wrong.append('kpd_half_life_day: only exposure="kpd" has one')
        if self.exposure == "constant" and self.effect != "emax":
            wrong.append('effect: constant exposure has no concentration; leave effect="emax"')
        if self.exposure == "constant" and (self.covariates or {}).get("EC50"):
            wrong.append("covariates: constant exposure has no EC50 to put covariates on")
        if wrong:
            raise ModelError("; ".join(wrong))

    @property
    def individual(self) -> tuple[str, ...]:
        """Names of the individual parameters."""
        return ("M0", "KL", "KD", "R") if self.exposure == "constant" else ("M0", "KL", "KD", "R", "EC50")

    @property
    def imputes(self) -> bool:
        """Whether missing continuous covariates are latent variables."""
        return self.missing_covariates == "impute"

    @property
    def correlated(self) -> bool:
        """Whether the random effects of one patient are correlated."""
        return self.random_effects == "correlated"

    @property
    def residual_parameters(self) -> tuple[str, ...]:
        """Names of the residual error's parameters."""
        return RESIDUALS[self.residual]

    @property
    def wanted_covariates(self) -> dict[str, tuple[str, ...]]:
        """Covariate names by target, before a data set has had its say."""
        wanted: Mapping[str, tuple[str, ...]] = (
            PUBLISHED_COVARIATES if self.covariates is None else self.covariates
        )
        return {target: tuple(wanted.get(target, ())) for target in (*self.individual, "hazard")}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; `ModelSpec(**d)` reads it back."""
        return dataclasses.asdict(self)


def _unknown(name: str, value: object, known: tuple[str, ...]) -> str:
    near = get_close_matches(str(value), known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{name}: expected one of {', '.join(known)}, found {value!r}{hint}"
