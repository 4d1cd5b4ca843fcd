"""One prior distribution: checked when made, drawn with SciPy, turned into a PyMC variable on request.

The key names `dist` and `kwargs` are those of pymc-extras. Each family is one entry of `FAMILIES`; to allow
another distribution, add an entry.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy import stats

from bayes_isa.errors import PriorError, Problem


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a prior: the key to mend, what was found, what was expected."""

    key: tuple[str, ...]
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """How one distribution is written, checked, handed to PyMC and to SciPy.

    forms      the accepted sets of kwargs, the preferred one first
    optional   kwargs that may be left out
    positive   kwargs that must be > 0
    canonical  kwargs as written -> kwargs as PyMC takes them
    frozen     kwargs as PyMC takes them -> frozen SciPy distribution
    conflict   what is wrong with kwargs that are fine one by one ("" if nothing)
    """

    forms: tuple[tuple[str, ...], ...]
    frozen: Callable[[Mapping[str, float]], Any]
    positive: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    canonical: Callable[[Mapping[str, float]], dict[str, float]] = dict
    conflict: Callable[[Mapping[str, float]], str] = lambda kwargs: ""

    def names(self) -> tuple[str, ...]:
        """Every keyword the family knows."""
        return tuple(dict.fromkeys([name for form in self.forms for name in form] + list(self.optional)))

    def expected(self) -> str:
        """The accepted keywords in words."""
        forms = " or ".join("{" + ", ".join(form) + "}" for form in self.forms)
        return forms + (f", optionally {', '.join(self.optional)}" if self.optional else "")


def _lognormal(kwargs: Mapping[str, float]) -> dict[str, float]:
    mu = math.log(kwargs["median"]) if "median" in kwargs else kwargs["mu"]
    return {"mu": mu, "sigma": kwargs["sigma"]}


def _gamma(kwargs: Mapping[str, float]) -> dict[str, float]:
    if "alpha" in kwargs:
        return dict(kwargs)
    variance = kwargs["sigma"] ** 2
    return {"alpha": kwargs["mu"] ** 2 / variance, "beta": kwargs["mu"] / variance}


def _beta(kwargs: Mapping[str, float]) -> dict[str, float]:
    if "alpha" in kwargs:
        return dict(kwargs)
    mu, concentration = kwargs["mu"], kwargs["mu"] * (1 - kwargs["mu"]) / kwargs["sigma"] ** 2 - 1
    return {"alpha": mu * concentration, "beta": (1 - mu) * concentration}


def _beta_conflict(kwargs: Mapping[str, float]) -> str:
    if "alpha" in kwargs:
        return ""
    if kwargs["mu"] >= 1:
        return f"mu = {kwargs['mu']:g} is not below 1"
    if kwargs["sigma"] ** 2 >= kwargs["mu"] * (1 - kwargs["mu"]):
        return f"sigma = {kwargs['sigma']:g} is not below sqrt(mu (1 - mu))"
    return ""


def _bounds_conflict(kwargs: Mapping[str, float]) -> str:
    if kwargs.get("lower", -math.inf) < kwargs.get("upper", math.inf):
        return ""
    return f"lower = {kwargs['lower']:g} is not below upper = {kwargs['upper']:g}"


def _truncated_normal(kwargs: Mapping[str, float]) -> Any:
    mu, sigma = kwargs["mu"], kwargs["sigma"]
    lower, upper = kwargs.get("lower", -math.inf), kwargs.get("upper", math.inf)
    return stats.truncnorm((lower - mu) / sigma, (upper - mu) / sigma, loc=mu, scale=sigma)


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "LogNormal": Family(
            forms=(("median", "sigma"), ("mu", "sigma")),
            positive=("median", "sigma"),
            canonical=_lognormal,
            frozen=lambda p: stats.lognorm(p["sigma"], scale=math.exp(p["mu"])),
        ),
        "Normal": Family(
            forms=(("mu", "sigma"),), positive=("sigma",), frozen=lambda p: stats.norm(p["mu"], p["sigma"])
        ),
        "HalfNormal": Family(
            forms=(("sigma",),), positive=("sigma",), frozen=lambda p: stats.halfnorm(scale=p["sigma"])
        ),
        "Gamma": Family(
            forms=(("alpha", "beta"), ("mu", "sigma")),
            positive=("alpha", "beta", "mu", "sigma"),
            canonical=_gamma,
            frozen=lambda p: stats.gamma(p["alpha"], scale=1 / p["beta"]),
        ),
        "Beta": Family(
            forms=(("alpha", "beta"), ("mu", "sigma")),
            positive=("alpha", "beta", "mu", "sigma"),
            canonical=_beta,
            conflict=_beta_conflict,
            frozen=lambda p: stats.beta(p["alpha"], p["beta"]),
        ),
        "Uniform": Family(
            forms=(("lower", "upper"),),
            conflict=_bounds_conflict,
            frozen=lambda p: stats.uniform(p["lower"], p["upper"] - p["lower"]),
        ),
        "TruncatedNormal": Family(
            forms=(("mu", "sigma"),),
            positive=("sigma",),
            optional=("lower", "upper"),
            conflict=_bounds_conflict,
            frozen=_truncated_normal,
        ),
        "StudentT": Family(
            forms=(("nu", "mu", "sigma"),),
            positive=("nu", "sigma"),
            frozen=lambda p: stats.t(p["nu"], p["mu"], p["sigma"]),
        ),
        "Exponential": Family(
            forms=(("lam",), ("scale",)),
            positive=("lam", "scale"),
            canonical=lambda p: {"lam": p["lam"] if "lam" in p else 1 / p["scale"]},
            frozen=lambda p: stats.expon(scale=1 / p["lam"]),
        ),
    }
)


def nearest(word: object, choices: Iterable[str]) -> str:
    """'Did you mean ...?' when a choice looks like `word`, else the choices."""
    names = list(choices)
    lowered = {name.lower(): name for name in names}
    close = difflib.get_close_matches(str(word).lower(), list(lowered), n=2, cutoff=0.6)
    if close:
        return "Did you mean " + " or ".join(lowered[match] for match in close) + "?"
    return "Choose from " + ", ".join(names)


def distribution_faults(dist: object, kwargs: object) -> list[Fault]:
    """Everything wrong with a distribution as written; empty if it can be used."""
    if not isinstance(dist, str) or dist not in FAMILIES:
        return [Fault(("dist",), f"unknown distribution {dist!r}", nearest(dist, FAMILIES))]
    family = FAMILIES[dist]
    if not isinstance(kwargs, Mapping):
        return [
            Fault(("kwargs",), f"kwargs of {dist} are {kwargs!r}", f"Give {family.expected()} with numbers")
        ]
    faults = [
        Fault(("kwargs", str(name)), f"{dist} takes no {name!r}", f"It takes {family.expected()}")
        for name in kwargs
        if name not in family.names()
    ]
    given = {name for name in kwargs if name in family.names() and name not in family.optional}
    if not faults and not any(given == set(form) for form in family.forms):
        found = ", ".join(sorted(given)) or "nothing"
        faults.append(Fault(("kwargs",), f"{dist} has {found}", f"It takes {family.expected()}"))
    faults += [fault for name in kwargs for fault in _value_faults(dist, family, str(name), kwargs[name])]
    if not faults and (conflict := family.conflict(kwargs)):
        faults.append(Fault(("kwargs",), f"{dist}: {conflict}", "Change one of them"))
    if not faults and not _computable(family, kwargs):
        faults.append(Fault(("kwargs",), f"{dist} is out of a computer's range", "Use less extreme numbers"))
    return faults


def _computable(family: Family, kwargs: Mapping[str, float]) -> bool:
    """Whether the bulk of the distribution is finite and has a width in floating point."""
    try:
        with np.errstate(all="ignore"):
            low, high = family.frozen(family.canonical(kwargs)).ppf([0.05, 0.95])
    except (OverflowError, ZeroDivisionError):
        return False
    return bool(np.isfinite(low) and np.isfinite(high) and low < high)


def _value_faults(dist: str, family: Family, name: str, value: object) -> list[Fault]:
    key = ("kwargs", name)
    if isinstance(value, bool) or not isinstance(value, Real):
        return [Fault(key, f"{name} of {dist} is {value!r}, not a number", "Write a number without quotes")]
    if not math.isfinite(value):
        unbounded = name in family.optional and not math.isnan(value)
        remedy = f"Leave {name} out for no bound" if unbounded else "Write a finite number"
        return [Fault(key, f"{name} of {dist} is {float(value)}", remedy)]
    if name in family.positive and value <= 0:
        return [Fault(key, f"{name} of {dist} is {float(value):g}", "It must be greater than 0")]
    return []


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
        lower, upper = self.scipy().support()
        return float(lower), float(upper)

    def quantiles(self, q: Sequence[float] | np.ndarray) -> np.ndarray:
        """Quantiles at the probabilities `q`, same shape as `q`, in `unit`."""
        return np.asarray(self.scipy().ppf(np.asarray(q, dtype=float)))

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
