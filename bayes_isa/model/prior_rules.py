"""What a prior set must hold (names, units, supports the joint model asks for) and the check of a document.

A document is the content of a prior file as nested dicts. Everything wrong with it is reported at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from bayes_isa.model.families import FAMILIES, Fault, distribution_faults, nearest
from bayes_isa.model.horseshoe import horseshoe_faults
from bayes_isa.model.prior import Prior


@dataclass(frozen=True, slots=True)
class Quantity:
    """A model quantity that needs a prior.

    unit         the unit the model computes in
    meaning      in words
    any_unit     True for what is measured in the marker's own unit, which need not be g/L
    optional     True where a set may do without: only some models have it
    of_matrix    True for a correlation matrix, whose distribution is one of such matrices
    """

    unit: str
    meaning: str
    any_unit: bool = False
    optional: bool = False
    of_matrix: bool = False


PARAMETERS: Mapping[str, Quantity] = MappingProxyType(
    {
        "M0_pop": Quantity("g/L", "typical baseline M-protein", any_unit=True),
        "KL_pop": Quantity("1/day", "typical growth rate"),
        "KD_pop": Quantity("1/day", "typical maximal kill rate"),
        "R_pop": Quantity("1/day", "typical rate at which the effect fades"),
        "EC50_pop": Quantity("mg/L", "typical concentration of half effect"),
        "omega_M0": Quantity("SD of log", "spread of baseline M-protein between patients"),
        "omega_KL": Quantity("SD of log", "spread of growth between patients"),
        "omega_KD": Quantity("SD of log", "spread of kill between patients"),
        "omega_R": Quantity("SD of log", "spread of fading between patients"),
        "omega_EC50": Quantity("SD of log", "spread of EC50 between patients"),
        "k": Quantity("L/umol", "effect of dexamethasone per concentration"),
        "Te": Quantity("day", "scale of the baseline hazard"),
        "s": Quantity("dimensionless", "shape of the baseline hazard"),
        "sigma_add": Quantity("g/L", "additive residual SD", any_unit=True),
        "sigma_prop": Quantity("fraction", "proportional residual SD"),
        "nu": Quantity("dimensionless", "degrees of freedom of Student-t residuals", optional=True),
        "correlation": Quantity(
            "correlation", "correlation of random effects of one patient", optional=True, of_matrix=True
        ),
    }
)
LINKS: Mapping[str, Quantity] = MappingProxyType(
    {
        "slope": Quantity("log hazard per g/L/day", "effect of dM/dt on log hazard", any_unit=True),
        "value": Quantity("log hazard per g/L", "effect of M on log hazard", any_unit=True),
        "log_value": Quantity("log hazard per unit of log M", "effect of log M on log hazard", any_unit=True),
        "relative_slope": Quantity(
            "log hazard per 1/day", "effect of (dM/dt)/M on log hazard", optional=True
        ),
    }
)
KPD: Mapping[str, Quantity] = MappingProxyType(
    {"EC50_pop": Quantity("mg/day", "typical dose rate of half effect (EDK50)", optional=True)}
)
TARGETS = ("M0", "KL", "KD", "R", "EC50", "hazard")
DEFAULT = "default"
SECTIONS = ("meta", "parameters", "kpd", "covariate_effects", "link", "horseshoe")
META_KEYS = ("name", "description", "extends")
ENTRY_KEYS = ("dist", "kwargs", "unit", "source", "rationale")


def document_faults(document: Mapping[str, Any]) -> list[Fault]:
    """Everything wrong with a complete prior document; empty if it is a prior set."""
    faults = [
        Fault((key,), f"unknown section [{key}]", nearest(key, SECTIONS))
        for key in document
        if key not in SECTIONS
    ]
    faults += _meta_faults(document.get("meta", {}))
    faults += _named_faults("parameters", _table(document, "parameters", faults), PARAMETERS, positive=True)
    faults += _named_faults("kpd", _table(document, "kpd", faults), KPD, positive=True)
    faults += _named_faults("link", _table(document, "link", faults), LINKS, positive=False)
    faults += _effect_faults(_table(document, "covariate_effects", faults))
    faults += horseshoe_faults(document["horseshoe"]) if "horseshoe" in document else []
    return faults


def _table(document: Mapping[str, Any], key: str, faults: list[Fault]) -> Mapping[str, Any]:
    table = document.get(key, {})
    if isinstance(table, Mapping):
        return table
    faults.append(Fault((key,), f"{key} is {table!r}", f"Write sections [{key}.<name>]"))
    return {}


def _meta_faults(meta: object) -> list[Fault]:
    if not isinstance(meta, Mapping):
        return [Fault(("meta",), f"meta is {meta!r}", "Write a section [meta] with name and description")]
    faults = [
        Fault(("meta", str(key)), f"unknown key {key!r} in [meta]", nearest(key, META_KEYS))
        for key in meta
        if key not in META_KEYS
    ]
    for key in ("name", "description"):
        if not _is_text(meta.get(key)):
            faults.append(Fault(("meta", key), f"[meta] has no {key}", f'Write {key} = "..." under [meta]'))
    return faults


def _named_faults(
    section: str, table: Mapping[str, Any], known: Mapping[str, Quantity], *, positive: bool
) -> Iterator[Fault]:
    for name, entry in table.items():
        if name not in known:
            yield Fault((section, name), f"unknown name {name!r} in [{section}]", nearest(name, known))
            continue
        yield from _entry_faults((section, name), entry, known[name])
        if (
            positive
            and not known[name].of_matrix
            and isinstance(entry, Mapping)
            and not distribution_faults(entry.get("dist"), entry.get("kwargs"))
        ):
            yield from _support_faults((section, name), Prior(entry["dist"], entry["kwargs"]))
    for name, quantity in known.items():
        if name not in table and not quantity.optional:
            yield Fault(
                (section, name),
                f"no prior for {name} ({quantity.meaning})",
                f'Add [{section}.{name}] with dist, kwargs, unit = "{quantity.unit}" and source',
            )


def _effect_faults(table: Mapping[str, Any]) -> Iterator[Fault]:
    section = "covariate_effects"
    for target, effects in table.items():
        path = (section, target)
        if target == DEFAULT:
            yield from _entry_faults(path, effects, None)
        elif target not in TARGETS:
            yield Fault(
                path, f"unknown target {target!r} of covariate effects", nearest(target, (*TARGETS, DEFAULT))
            )
        elif not isinstance(effects, Mapping) or not all(
            isinstance(entry, Mapping) for entry in effects.values()
        ):
            yield Fault(
                path, f"[{section}.{target}] does not hold covariates", f"Write [{section}.{target}.<name>]"
            )
        else:
            for covariate, entry in effects.items():
                yield from _entry_faults((*path, covariate), entry, None)
    if DEFAULT not in table:
        yield Fault(
            (section, DEFAULT),
            "no prior for the effect of a covariate that is not listed",
            f"Add [{section}.{DEFAULT}] with dist, kwargs, unit and source",
        )


def _entry_faults(path: tuple[str, ...], entry: object, quantity: Quantity | None) -> Iterator[Fault]:
    """Faults of one [section.name] table; `quantity` is None when any unit will do."""
    name = ".".join(path[1:])
    if not isinstance(entry, Mapping):
        yield Fault(path, f"{name} is {entry!r}", f"Write a section [{'.'.join(path)}] with dist and kwargs")
        return
    for key in entry:
        if key not in ENTRY_KEYS:
            yield Fault((*path, str(key)), f"{name}: unknown key {key!r}", nearest(key, ENTRY_KEYS))
    for key in ("dist", "kwargs", "unit", "source"):
        if key not in entry or (key in ("unit", "source") and not _is_text(entry[key])):
            hint = f' (the model computes in "{quantity.unit}")' if key == "unit" and quantity else ""
            yield Fault((*path, key), f"{name} has no {key}", f"Add {key} = ... to [{'.'.join(path)}]{hint}")
    if "rationale" in entry and not isinstance(entry["rationale"], str):
        yield Fault(
            (*path, "rationale"), f"{name}: rationale is {entry['rationale']!r}", "Write text in quotes"
        )
    if "dist" in entry and "kwargs" in entry:
        for fault in distribution_faults(entry["dist"], entry["kwargs"]):
            yield Fault((*path, *fault.key), f"{name}: {fault.message}", fault.remedy)
        yield from _matrix_faults(path, entry["dist"], quantity)
    if quantity and not quantity.any_unit and _is_text(entry.get("unit")) and entry["unit"] != quantity.unit:
        yield Fault(
            (*path, "unit"),
            f"{name} is in {entry['unit']!r}, the model computes in {quantity.unit!r}",
            "Convert the numbers and write the model's unit",
        )


def _matrix_faults(path: tuple[str, ...], dist: object, quantity: Quantity | None) -> Iterator[Fault]:
    """Distributions of correlation matrices are for these, and these need one."""
    if not isinstance(dist, str) or dist not in FAMILIES:
        return
    wanted = quantity is not None and quantity.of_matrix
    if FAMILIES[dist].of_matrix != wanted:
        fit = ", ".join(name for name, family in FAMILIES.items() if family.of_matrix == wanted)
        kind = "a correlation matrix" if wanted else "a number"
        yield Fault(
            (*path, "dist"), f"{path[-1]} is {kind}, which {dist} is no distribution of", f"Use {fit}"
        )


def _support_faults(path: tuple[str, ...], prior: Prior) -> Iterator[Fault]:
    lower, upper = prior.support()
    if lower < 0:
        yield Fault(
            (*path, "kwargs") if prior.dist in ("Uniform", "TruncatedNormal") else (*path, "dist"),
            f"{path[-1]} must be positive, but {prior.dist} on ({lower:g}, {upper:g}) goes below 0",
            "Use LogNormal or Gamma, or a lower bound of 0 with TruncatedNormal or Uniform",
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
