"""Prior sets: the priors of every parameter of the joint model, read from TOML, edited, stored with a fit.

Two sets come with the package: "weakly_informative" and "published_2023". `load_priors` reads those by name
and your own by path. A file of your own may hold everything, or say `extends = "weakly_informative"` under
[meta] and give only what differs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from bayes_isa.errors import PriorError, Problem
from bayes_isa.model.families import nearest
from bayes_isa.model.horseshoe import Horseshoe
from bayes_isa.model.prior import Prior, vector_prior
from bayes_isa.model.prior_rules import DEFAULT, KPD, LINKS, PARAMETERS, TARGETS, document_faults
from bayes_isa.model.toml_lines import key_lines, line_of, syntax_error

__all__ = ["Prior", "PriorSet", "available_priors", "load_priors", "vector_prior"]


@dataclass(frozen=True)
class PriorSet:
    """The priors of the joint model.

    parameters         by name, e.g. "KL_pop", "omega_KL", "Te"; each in the unit its prior states
    covariate_effects  by target ("M0", "KL", "KD", "R", "EC50": on the log parameter; "hazard": on the log
                       hazard), then by covariate; per unit of log(value/median) or for 1 against 0
    default_effect     for a covariate that is not listed
    links              of `beta_link`, by link: "slope", "value", "log_value", "relative_slope"
    horseshoe          of all covariate effects under `ModelSpec(covariate_prior="horseshoe")`, if the set has one
    path               file it was read from, if any
    kpd                of what has another unit under K-PD exposure: "EC50_pop" in mg/day
    """

    name: str
    description: str
    parameters: Mapping[str, Prior] = field(hash=False)
    covariate_effects: Mapping[str, Mapping[str, Prior]] = field(hash=False)
    default_effect: Prior
    links: Mapping[str, Prior] = field(hash=False)
    path: str | None = None
    kpd: Mapping[str, Prior] = field(hash=False, default_factory=lambda: MappingProxyType({}))

    def typical(self, name: str, exposure: str) -> Prior:
        """The prior of the typical value of an individual parameter, such as "EC50", under an exposure.

        EC50 is a concentration under "pk" and a dose rate under "kpd". Raises PriorError where the set has none.
        """
        if exposure != "kpd" or f"{name}_pop" not in KPD:
            return self.parameter(f"{name}_pop")
        if f"{name}_pop" not in self.kpd:
            raise PriorError(
                f"The prior set {self.name!r} has no prior for {name}_pop with K-PD exposure: add "
                f'[kpd.{name}_pop] with unit = "{KPD[f"{name}_pop"].unit}" to it, or say with_kpd("{name}_pop", ...)'
            )
        return self.kpd[f"{name}_pop"]

    horseshoe: Horseshoe | None = None

    def parameter(self, name: str) -> Prior:
        """The prior of one parameter; raises PriorError where the set has none (only some models need it)."""
        _known(name, PARAMETERS, "parameter")
        if name not in self.parameters:
            raise PriorError(
                f"The prior set {self.name!r} has no prior for {name} ({PARAMETERS[name].meaning}): add "
                f'[parameters.{name}] with unit = "{PARAMETERS[name].unit}" to it, or say with_({name}=...)'
            )
        return self.parameters[name]

    def covariate_effect(self, target: str, covariate: str) -> Prior:
        """The prior of one covariate effect; the default one if `covariate` is not listed for `target`."""
        _known(target, TARGETS, "target of covariate effects")
        return self.covariate_effects.get(target, {}).get(covariate, self.default_effect)

    def link(self, name: str) -> Prior:
        """The prior of `beta_link` under the link `name`."""
        _known(name, LINKS, "link")
        if name not in self.links:
            raise PriorError(
                f"The prior set {self.name!r} has no prior for the link {name}: add [link.{name}] with "
                f'unit = "{LINKS[name].unit}" to it'
            )
        return self.links[name]

    def of_horseshoe(self) -> Horseshoe:
        """The horseshoe of covariate effects; raises PriorError where the set has none."""
        if self.horseshoe is None:
            raise PriorError(
                f"The prior set {self.name!r} has no horseshoe for covariate effects: add [horseshoe] with "
                "expected_effects, local_nu, slab and source to it, or say with_horseshoe(Horseshoe(...))"
            )
        return self.horseshoe

    def with_horseshoe(self, horseshoe: Horseshoe) -> PriorSet:
        """A copy with another horseshoe for covariate effects."""
        source = horseshoe.source or "set in code"
        return PriorSet.from_dict(self.to_dict() | {"horseshoe": horseshoe.to_dict() | {"source": source}})

    def with_(self, **parameters: Prior) -> PriorSet:
        """A copy with other priors for some parameters, e.g. `with_(KL_pop=Prior("LogNormal", {...}))`.

        A prior without unit keeps the unit of the one it replaces; one without source says "set in code".
        Raises PriorError for an unknown name or a prior that reaches negative values.
        """
        document = self.to_dict()
        for name, prior in parameters.items():
            _known(name, PARAMETERS, "parameter")
            old = self.parameters.get(name, Prior(prior.dist, prior.kwargs, unit=PARAMETERS[name].unit))
            document["parameters"][name] = _replacement(prior, old)
        return PriorSet.from_dict(document)

    def with_covariate_effect(self, target: str, covariate: str, prior: Prior) -> PriorSet:
        """A copy with another prior for one covariate effect."""
        document = self.to_dict()
        entry = _replacement(prior, self.covariate_effect(target, covariate))
        document["covariate_effects"].setdefault(target, {})[covariate] = entry
        return PriorSet.from_dict(document)

    def with_link(self, name: str, prior: Prior) -> PriorSet:
        """A copy with another prior for `beta_link` under one link."""
        document = self.to_dict()
        document["link"][name] = _replacement(prior, self.link(name))
        return PriorSet.from_dict(document)

    def with_kpd(self, name: str, prior: Prior) -> PriorSet:
        """A copy with another prior for one parameter under K-PD exposure."""
        _known(name, KPD, "parameter with a prior of its own under K-PD exposure")
        document = self.to_dict()
        old = self.kpd.get(name, Prior(prior.dist, prior.kwargs, unit=KPD[name].unit))
        document["kpd"][name] = _replacement(prior, old)
        return PriorSet.from_dict(document)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, strings and numbers in the layout of a prior file, with `path`; fit for JSON."""
        effects: dict[str, Any] = {
            target: {covariate: prior.to_dict() for covariate, prior in by_covariate.items()}
            for target, by_covariate in self.covariate_effects.items()
        }
        section = {} if self.horseshoe is None else {"horseshoe": self.horseshoe.to_dict()}
        return section | {
            "meta": {"name": self.name, "description": self.description},
            "parameters": {name: prior.to_dict() for name, prior in self.parameters.items()},
            "kpd": {name: prior.to_dict() for name, prior in self.kpd.items()},
            "covariate_effects": effects | {DEFAULT: self.default_effect.to_dict()},
            "link": {name: prior.to_dict() for name, prior in self.links.items()},
            "path": self.path,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> PriorSet:
        """The set that `to_dict` described. Raises PriorError listing every problem."""
        content = {key: value for key, value in document.items() if key != "path"}
        path = document.get("path")
        faults = document_faults(content)
        if faults:
            raise PriorError(
                "This prior set cannot be used", [Problem(f.message, f.remedy, file=path) for f in faults]
            )
        return cls._of_sound(content, path)

    @classmethod
    def _of_sound(cls, content: Mapping[str, Any], path: str | None) -> PriorSet:
        """Of a document without faults."""
        effects = dict(content["covariate_effects"])
        default = Prior(**effects.pop(DEFAULT))
        return cls(
            name=content["meta"]["name"],
            description=content["meta"]["description"],
            parameters=_priors(
                {name: content["parameters"][name] for name in PARAMETERS if name in content["parameters"]}
            ),
            covariate_effects=MappingProxyType({target: _priors(table) for target, table in effects.items()}),
            default_effect=default,
            links=_priors({name: content["link"][name] for name in LINKS if name in content["link"]}),
            path=path,
            kpd=_priors(dict(content.get("kpd", {}))),
            horseshoe=Horseshoe(**content["horseshoe"]) if "horseshoe" in content else None,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Mapping proxies do not pickle; rebuilding the set from plain dicts does.
        return PriorSet.from_dict, (self.to_dict(),)

    def summary(self) -> pd.DataFrame:
        """One row per prior: distribution, unit, median, central 90 % interval, source and rationale."""
        rows = {name: prior for name, prior in self.parameters.items()}
        rows |= {f"{name} (K-PD)": prior for name, prior in self.kpd.items()}
        for target, table in self.covariate_effects.items():
            rows |= {f"beta_{target}[{covariate}]": prior for covariate, prior in table.items()}
        rows["beta[any other]"] = self.default_effect
        rows |= {f"beta_link[{name}]": prior for name, prior in self.links.items()}
        records = {
            name: {
                "dist": str(Prior(prior.dist, prior.kwargs)),
                "unit": prior.unit,
                **dict(zip(("median", "q05", "q95"), prior.quantiles([0.5, 0.05, 0.95]), strict=True)),
                "source": prior.source,
                "rationale": prior.rationale,
            }
            for name, prior in rows.items()
        }
        return pd.DataFrame.from_dict(records, orient="index").rename_axis("parameter")


def load_priors(name_or_path: str | Path) -> PriorSet:
    """A prior set of the package by name, or one of your own by the path of its TOML file.

    Raises PriorError: unknown name (with those that exist), unreadable file, or everything wrong in the file,
    each with the line to mend.
    """
    file = _locate(name_or_path)
    document, lines = _read(file)
    extends = document.get("meta", {}).get("extends") if isinstance(document.get("meta"), Mapping) else None
    if extends is not None:
        if extends not in available_priors():
            row = line_of(lines, ("meta", "extends"))
            remedy = nearest(extends, available_priors())
            problem = Problem(f"extends an unknown prior set {extends!r}", remedy, file=str(file), row=row)
            raise PriorError("This prior set cannot be used", [problem])
        base, _ = _read(_shipped() / f"{extends}.toml")
        base.pop("meta", None)  # an edited set must not pass under the name of the one it extends
        document = _merged(base, document)
    faults = document_faults(document)
    if faults:
        problems = [Problem(f.message, f.remedy, file=str(file), row=line_of(lines, f.key)) for f in faults]
        hint = "" if extends else ' (extends = "weakly_informative" under [meta] supplies what is not given)'
        raise PriorError(f"This prior set cannot be used{hint}", sorted(problems, key=_by_row))
    return PriorSet._of_sound(document, str(file))


def available_priors() -> tuple[str, ...]:
    """Names of the prior sets that come with the package."""
    return tuple(
        sorted(
            file.name.removesuffix(".toml") for file in _shipped().iterdir() if file.name.endswith(".toml")
        )
    )


def _shipped() -> Traversable:
    """The folder of the package's prior sets: inside the package in a wheel, beside it in a source tree."""
    inside = resources.files("bayes_isa") / "_priors"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[2] / "priors"


def _locate(name_or_path: str | Path) -> Traversable:
    if isinstance(name_or_path, str) and name_or_path in available_priors():
        return _shipped() / f"{name_or_path}.toml"
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise PriorError(
            f"There is no prior file {str(path)!r}. Prior sets by name: {', '.join(available_priors())}"
        )
    names = ", ".join(available_priors())
    raise PriorError(
        f"There is no prior set {str(name_or_path)!r}. {nearest(name_or_path, available_priors())} "
        f"Known: {names}; or give the path of a TOML file"
    )


def _read(file: Traversable) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """The content of a TOML file and the line of every key in it."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PriorError(f"The prior file {str(file)!r} cannot be read as UTF-8 text: {error}") from error
    try:
        return tomllib.loads(text), key_lines(text)
    except tomllib.TOMLDecodeError as error:
        row, message = syntax_error(error, text)
        problem = Problem(f"not valid TOML: {message}", "Mend this line", file=str(file), row=row)
        raise PriorError("This prior file cannot be read", [problem]) from error


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the entries of `changes` put in; an entry with a distribution is replaced whole."""
    merged = dict(base)
    for key, value in changes.items():
        old = base.get(key)
        nested = isinstance(value, Mapping) and isinstance(old, Mapping) and "dist" not in old
        merged[key] = _merged(old, value) if nested else value  # type: ignore[arg-type]
    return merged


def _replacement(prior: Prior, old: Prior) -> dict[str, Any]:
    entry = prior.to_dict()
    return entry | {"unit": prior.unit or old.unit, "source": prior.source or "set in code"}


def _priors(table: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Prior]:
    return MappingProxyType({name: Prior(**entry) for name, entry in table.items()})


def _known(name: str, choices: Mapping[str, Any] | tuple[str, ...], what: str) -> None:
    if name not in choices:
        raise PriorError(f"There is no {what} {name!r}. {nearest(name, choices)}")


def _by_row(problem: Problem) -> tuple[bool, int]:
    return problem.row is None, problem.row or 0
