"""The regularised horseshoe: its numbers, its formulas, and how a prior file gives it.

Piironen and Vehtari 2017, doi:10.1214/17-EJS1337SI. Of D candidate effects on one target, effect j is

    beta_j = (sigma / (sqrt(n) s_j)) tau lambda~_j z_j,    z_j ~ Normal(0, 1),    lambda_j ~ half-t(nu),
    lambda~_j^2 = c^2 lambda_j^2 / (c^2 + tau^2 lambda_j^2),    tau ~ half-Cauchy(tau0),    tau0 = p0 / (D - p0)

in which s_j is the SD of the covariate as the model has it: a continuous one, log(value/median), is divided by its SD,
and so is an indicator, which is not centred: typical values stay those of a patient with all indicators 0. Equal SDs
are what tau0 rests on: every effect has the same information a priori.

Their global scale is tau sigma / sqrt(n) here: tau counts in standard errors, those of an effect on standardised
covariates were the individual parameters known. sigma is the SD between patients, omega, and n the number of patients;
for the hazard sigma = 1 and n is the number of events, as the information on a log hazard ratio is (Schoenfeld 1983,
doi:10.2307/2531021), in place of their pseudo-variance for non-Gaussian models. The slab c is `slab` sqrt(n) standard
errors: `slab` times sigma for one SD of the covariate.

Each target has a tau of its own. How many effects there are differs between targets (of the publication's nine, five
act on M0 and none on R), and one tau would let M0, which every patient's data fix, set free the effects on others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bayes_isa.errors import PriorError, Problem
from bayes_isa.model.families import Fault, nearest

_NUMBERS = ("expected_effects", "local_nu", "slab")
_TEXTS = ("source", "rationale")
_MOST_EXPECTED = 0.5  # of the candidates


@dataclass(frozen=True)
class Horseshoe:
    """The section [horseshoe] of a prior set.

    expected_effects  p0: effects expected on each target; at most half of its candidates are
    local_nu          degrees of freedom of the half-t distribution of local scales; 1 is half-Cauchy
    slab              SD of an effect that is let free, in SDs of the target between patients (hazard: in logs) for one
                      SD of the covariate; constant, so the slab is normal
    source, rationale in words

    Raises PriorError for numbers that are not positive.
    """

    expected_effects: float
    local_nu: float
    slab: float
    source: str = ""
    rationale: str = ""

    def __post_init__(self) -> None:
        faults = list(horseshoe_faults(asdict(self) | {"source": self.source or "set in code"}))
        if faults:
            raise PriorError("This horseshoe cannot be used", [Problem(f.message, f.remedy) for f in faults])

    def expected(self, candidates: int) -> float:
        """p0 among so many candidates."""
        return min(self.expected_effects, _MOST_EXPECTED * candidates)

    def global_scale(self, candidates: int) -> float:
        """tau0 = p0 / (D - p0), in standard errors sigma / sqrt(n)."""
        expected = self.expected(candidates)
        return expected / (candidates - expected)

    def slab_in_errors(self, information: float) -> float:
        """The slab c in standard errors sigma / sqrt(n)."""
        return float(self.slab * np.sqrt(information))

    def rough_sd(self, candidates: int) -> float:
        """SD of an effect of which p0 in D come from the slab: a normal stand-in, in the unit of `slab`."""
        return float(self.slab * np.sqrt(self.expected(candidates) / candidates))

    def to_dict(self) -> dict[str, Any]:
        """The section of a prior file."""
        return asdict(self)


def regularised(local: Any, global_scale: Any, slab: Any) -> Any:
    """lambda~ = c lambda / sqrt(c^2 + tau^2 lambda^2); arrays or PyTensor variables, c and tau in one unit."""
    return slab * local / (slab**2 + (global_scale * local) ** 2) ** 0.5


def shrinkage_factor(global_scale: Any, local: Any, slab: Any) -> Any:
    """kappa = 1 / (1 + tau^2 lambda~^2), tau and c in standard errors: 1 is all noise, 0 left to the data.

    The paper's 1 / (1 + n tau^2 lambda~^2 s^2 / sigma^2) with its tau = sigma / sqrt(n) times ours and s = 1.
    """
    return 1.0 / (1.0 + (global_scale * regularised(local, global_scale, slab)) ** 2)


def scales_of(effect: np.ndarray, horseshoe: Horseshoe, slab: float) -> tuple[np.ndarray, np.ndarray]:
    """Local scales and z at which tau = tau0 gives `effect` (D,), in standard errors: starting values."""
    tau = horseshoe.global_scale(effect.size)
    # A local scale of 1 has z below 1 for small effects; large ones need as much as z = 1 asks for, short of the slab.
    wanted = np.minimum(np.maximum(np.abs(effect) / tau, 1.0), 0.9 * slab / tau)
    local = slab * wanted / np.sqrt(slab**2 - (tau * wanted) ** 2)
    return local, effect / (tau * regularised(local, tau, slab))


def horseshoe_faults(entry: object) -> Iterator[Fault]:
    """Everything wrong with a section [horseshoe] as written."""
    path = "horseshoe"
    if not isinstance(entry, Mapping):
        yield Fault((path,), f"horseshoe is {entry!r}", "Write a section [horseshoe]")
        return
    for key in entry:
        if key not in (*_NUMBERS, *_TEXTS):
            yield Fault(
                (path, str(key)), f"horseshoe: unknown key {key!r}", nearest(key, (*_NUMBERS, *_TEXTS))
            )
    for key in _NUMBERS:
        value = entry.get(key)
        if key not in entry:
            yield Fault((path, key), f"horseshoe has no {key}", f"Add {key} = ... to [horseshoe]")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < np.inf:
            yield Fault(
                (path, key), f"{key} of the horseshoe is {value!r}", "It must be a number greater than 0"
            )
    source, rationale = entry.get("source"), entry.get("rationale", "")
    if not isinstance(source, str) or not source.strip():
        yield Fault((path, "source"), "horseshoe has no source", "Add source = ... to [horseshoe]")
    if not isinstance(rationale, str):
        yield Fault((path, "rationale"), f"horseshoe: rationale is {rationale!r}", "Write text in quotes")
