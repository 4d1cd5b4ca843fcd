"""The families of distributions a prior may have: how each is written, checked, and handed to PyMC and SciPy.

Each family is one entry of `FAMILIES`; to allow another distribution, add an entry.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
import scipy  # whose `stats`, half a second to import, is there when first used; what checks priors does without
from scipy.special import betaincinv, gammaincinv, log_ndtr, ndtri, ndtri_exp, stdtrit


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
    of_matrix  True for a distribution of correlation matrices; SciPy then gets that of one correlation
    quantile   kwargs as PyMC takes them, probabilities -> quantiles; at 0 and 1 the ends of the support
    frozen     kwargs as PyMC takes them -> frozen SciPy distribution
    conflict   what is wrong with kwargs that are fine one by one ("" if nothing)
    """

    forms: tuple[tuple[str, ...], ...]
    quantile: Callable[[Mapping[str, float], np.ndarray], np.ndarray]
    frozen: Callable[[Mapping[str, float]], Any]
    positive: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    canonical: Callable[[Mapping[str, float]], dict[str, float]] = dict
    conflict: Callable[[Mapping[str, float]], str] = lambda kwargs: ""
    of_matrix: bool = False

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


def _standard_bounds(kwargs: Mapping[str, float]) -> tuple[float, float]:
    mu, sigma = kwargs["mu"], kwargs["sigma"]
    return (kwargs.get("lower", -math.inf) - mu) / sigma, (kwargs.get("upper", math.inf) - mu) / sigma


def _truncated_normal(kwargs: Mapping[str, float]) -> Any:
    return scipy.stats.truncnorm(*_standard_bounds(kwargs), loc=kwargs["mu"], scale=kwargs["sigma"])


def _truncated_normal_quantile(kwargs: Mapping[str, float], q: np.ndarray) -> np.ndarray:
    """In the lower tail on the log scale; what is cut off below the mean is the mirror of that."""
    low, high = _standard_bounds(kwargs)
    sign = 1.0
    if low > 0.0:
        low, high, q, sign = -high, -low, 1.0 - q, -1.0
    below = np.logaddexp(log_ndtr(low) + np.log1p(-q), log_ndtr(high) + np.log(q))
    z = np.clip(ndtri_exp(below), low, high)  # rounding alone leads out of the bounds
    return kwargs["mu"] + kwargs["sigma"] * sign * z


def _student_t_quantile(kwargs: Mapping[str, float], q: np.ndarray) -> np.ndarray:
    z = np.where(q > 0.0, stdtrit(kwargs["nu"], q), -np.inf)  # SciPy has +inf at 0
    return z * kwargs["sigma"] + kwargs["mu"]


def _correlation_shape(kwargs: Mapping[str, float]) -> float:
    """Beta shape of each entry of an LKJ matrix of n rows (Lewandowski et al. 2009, doi:10.1016/j.jmva.2009.04.008)."""
    return kwargs["eta"] - 1.0 + kwargs.get("n", _INDIVIDUAL_PARAMETERS) / 2.0


def _one_correlation(kwargs: Mapping[str, float]) -> Any:
    shape = _correlation_shape(kwargs)
    return scipy.stats.beta(shape, shape, loc=-1.0, scale=2.0)


def _one_correlation_quantile(kwargs: Mapping[str, float], q: np.ndarray) -> np.ndarray:
    shape = _correlation_shape(kwargs)
    return 2.0 * betaincinv(shape, shape, q) - 1.0


def _correlation_conflict(kwargs: Mapping[str, float]) -> str:
    n = kwargs.get("n", _INDIVIDUAL_PARAMETERS)
    return (
        "" if n >= 2 and float(n).is_integer() else f"n = {n:g} is no number of rows of a correlation matrix"
    )


_INDIVIDUAL_PARAMETERS = 5.0

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "LogNormal": Family(
            forms=(("median", "sigma"), ("mu", "sigma")),
            positive=("median", "sigma"),
            canonical=_lognormal,
            quantile=lambda p, q: np.exp(p["sigma"] * ndtri(q)) * math.exp(p["mu"]),
            frozen=lambda p: scipy.stats.lognorm(p["sigma"], scale=math.exp(p["mu"])),
        ),
        "Normal": Family(
            forms=(("mu", "sigma"),),
            positive=("sigma",),
            quantile=lambda p, q: ndtri(q) * p["sigma"] + p["mu"],
            frozen=lambda p: scipy.stats.norm(p["mu"], p["sigma"]),
        ),
        "HalfNormal": Family(
            forms=(("sigma",),),
            positive=("sigma",),
            quantile=lambda p, q: ndtri(0.5 * (1.0 + q)) * p["sigma"],
            frozen=lambda p: scipy.stats.halfnorm(scale=p["sigma"]),
        ),
        "Gamma": Family(
            forms=(("alpha", "beta"), ("mu", "sigma")),
            positive=("alpha", "beta", "mu", "sigma"),
            canonical=_gamma,
            quantile=lambda p, q: gammaincinv(p["alpha"], q) / p["beta"],
            frozen=lambda p: scipy.stats.gamma(p["alpha"], scale=1 / p["beta"]),
        ),
        "Beta": Family(
            forms=(("alpha", "beta"), ("mu", "sigma")),
            positive=("alpha", "beta", "mu", "sigma"),
            canonical=_beta,
            conflict=_beta_conflict,
            quantile=lambda p, q: betaincinv(p["alpha"], p["beta"], q),
            frozen=lambda p: scipy.stats.beta(p["alpha"], p["beta"]),
        ),
        "Uniform": Family(
            forms=(("lower", "upper"),),
            conflict=_bounds_conflict,
            quantile=lambda p, q: q * (p["upper"] - p["lower"]) + p["lower"],
            frozen=lambda p: scipy.stats.uniform(p["lower"], p["upper"] - p["lower"]),
        ),
        "TruncatedNormal": Family(
            forms=(("mu", "sigma"),),
            positive=("sigma",),
            optional=("lower", "upper"),
            conflict=_bounds_conflict,
            quantile=_truncated_normal_quantile,
            frozen=_truncated_normal,
        ),
        "StudentT": Family(
            forms=(("nu", "mu", "sigma"),),
            positive=("nu", "sigma"),
            quantile=_student_t_quantile,
            frozen=lambda p: scipy.stats.t(p["nu"], p["mu"], p["sigma"]),
        ),
        "Exponential": Family(
            forms=(("lam",), ("scale",)),
            positive=("lam", "scale"),
            canonical=lambda p: {"lam": p["lam"] if "lam" in p else 1 / p["scale"]},
            quantile=lambda p, q: -np.log1p(-q) / p["lam"],
            frozen=lambda p: scipy.stats.expon(scale=1 / p["lam"]),
        ),
        "LKJCorr": Family(
            forms=(("eta",),),
            positive=("eta",),
            optional=("n",),
            conflict=_correlation_conflict,
            quantile=_one_correlation_quantile,
            frozen=_one_correlation,
            of_matrix=True,
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
            low, high = family.quantile(family.canonical(kwargs), np.array([0.05, 0.95]))
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
