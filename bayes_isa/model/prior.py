"""One prior distribution: checked when made, drawn with SciPy, turned into a PyMC variable on request.

The key names `dist` and `kwargs` are those of pymc-extras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from bayes_isa.errors import PriorError, Problem
from bayes_isa.model.families import FAMILIES, distribution_faults


@dataclass(frozen=True)
class Prior:
    """A prior distribution with its unit, where it comes from and why it is what it is.

    dist       a key of `FAMILIES`, e.g. "LogNormal"
    kwargs     its parameters as written, e.g. {"median": 0.006, "sigma": 0.6}
    unit       unit of the quantity, e.g. "1/day"
    source     where the numbers come from
    rationale  why they suit

    Raises PriorError for an unknown distribution or impossible parameters.
    """

    dist: str
    kwargs: Mapping[str, float] = field(hash=False)
    unit: str = ""
    source: str = ""
    rationale: str = ""

    def __post_init__(self) -> None:
        faults = distribution_faults(self.dist, self.kwargs)
        if faults:
            raise PriorError(
                "This prior cannot be used", [Problem(fault.message, fault.remedy) for fault in faults]
            )
        frozen = MappingProxyType({str(name): float(value) for name, value in self.kwargs.items()})
        object.__setattr__(self, "kwargs", frozen)

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy does not pickle; rebuilding the prior from its fields does.
        return Prior, (self.dist, dict(self.kwargs), self.unit, self.source, self.rationale)

    def __str__(self) -> str:
        inside = ", ".join(f"{name}={value:g}" for name, value in self.kwargs.items())
        return f"{self.dist}({inside}) {self.unit}".rstrip()

    def of_rows(self, n: int) -> Prior:
        """The same prior for a correlation matrix of n rows."""
        return replace(self, kwargs={**self.kwargs, "n": n})

    def pymc_kwargs(self) -> dict[str, float]:
        """The parameters as PyMC takes them, e.g. mu = log(median)."""
        return FAMILIES[self.dist].canonical(self.kwargs)

    def pymc(self, name: str, **kwargs: Any) -> Any:
        """The PyMC variable `name` in the current model context; `dims`, `initval` ... pass through."""
        import pymc as pm  # here, because a prior file is read and checked without the cost of importing PyMC

        return getattr(pm, self.dist)(name, **self.pymc_kwargs(), **kwargs)

    def dist_obj(self, **kwargs: Any) -> Any:
        """The same distribution as an unregistered PyMC variable (`pm.<dist>.dist`)."""
        import pymc as pm

        return getattr(pm, self.dist).dist(**self.pymc_kwargs(), **kwargs)

    def scipy(self) -> Any:
        """The same distribution, frozen, in SciPy."""
        return FAMILIES[self.dist].frozen(self.pymc_kwargs())

    def support(self) -> tuple[float, float]:
        """Lower and upper end of the values the prior allows, in `unit`."""
        lower, upper = self.quantiles([0.0, 1.0])
        return float(lower), float(upper)

    def quantiles(self, q: Sequence[float] | np.ndarray) -> np.ndarray:
        """Quantiles at the probabilities `q`, same shape as `q`, in `unit`."""
        with np.errstate(divide="ignore"):  # the ends of the support, the logarithm of 0
            return np.asarray(FAMILIES[self.dist].quantile(self.pymc_kwargs(), np.asarray(q, dtype=float)))

    def spread(self) -> float:
        """Half the width of the central 68 %, the SD of a normal prior, in `unit`."""
        low, high = self.quantiles([0.16, 0.84])
        return float(0.5 * (high - low))

    def draw(self, rng: np.random.Generator, size: int | tuple[int, ...] | None = None) -> np.ndarray:
        """Independent draws of shape `size`, in `unit`."""
        return np.asarray(self.scipy().rvs(size=1 if size is None else size, random_state=rng)).reshape(
            () if size is None else size
        )

    def to_dict(self) -> dict[str, Any]:
        """The entry of a prior file: plain strings and numbers."""
        return {
            "dist": self.dist,
            "kwargs": dict(self.kwargs),
            "unit": self.unit,
            "source": self.source,
            "rationale": self.rationale,
        }


def vector_prior(priors: Sequence[Prior]) -> tuple[str, dict[str, np.ndarray]]:
    """One vector variable for several priors of one family.

    Returns the PyMC name of the distribution and its parameters, each an array with one entry per prior, so
    that `getattr(pm, dist)("beta_M0", **kwargs, dims="covariate_M0")` is the whole vector. Raises PriorError
    when there are no priors, or when they are not all of one family with the same parameters.
    """
    if not priors:
        raise PriorError("A vector of priors needs at least one prior")
    canonical = [prior.pymc_kwargs() for prior in priors]
    shapes = {(prior.dist, frozenset(kwargs)) for prior, kwargs in zip(priors, canonical, strict=True)}
    if len(shapes) > 1:
        found = sorted(f"{dist}({', '.join(sorted(names))})" for dist, names in shapes)
        raise PriorError(
            "The effects of one target's covariates are one vector and need one distribution; found "
            + " and ".join(found)
        )
    names = canonical[0]
    return priors[0].dist, {name: np.array([kwargs[name] for kwargs in canonical]) for name in names}
