"""A regimen given to a pool of patients: doses, exposure and panels, made once for all simulated trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayes_isa.errors import RegimenError
from bayes_isa.kernels.hazard import Shape
from bayes_isa.kernels.panels import Panels, ReferenceParameters
from bayes_isa.model.exposures import spec_exposure
from bayes_isa.model.spec import ModelSpec
from bayes_isa.pk import Exposure
from bayes_isa.regimens import AnyRegimen, Regimen, Switch, parse_regimen
from bayes_isa.simulation.engine import panel_ends
from bayes_isa.simulation.patients import require_columns
from bayes_isa.simulation.quadrature import simulation_panels
from bayes_isa.simulation.response import CATEGORIES

# Between doses every four weeks the hazard of fast growth is followed in half weeks.
_WIDEST_DAY = 3.5


@dataclass(frozen=True)
class Plan:
    """One regimen for all patients of a pool to the horizon.

    `hazard_dexamethasone` is the value of the covariate dexamethasone in the hazard, 0 or 1; `visit_panel` and
    `day_panel` say on which panels the visits and the days of the survival curve end (see `panel_ends`).
    """

    has_dexamethasone: bool
    hazard_dexamethasone: float
    panels: Panels
    visit_panel: np.ndarray
    day_panel: np.ndarray


@dataclass(frozen=True)
class Column:
    """One regimen of the result: the plan everybody follows, and, for a `Switch`, that of patients in response."""

    label: str
    plan: int
    switched: int | None = None
    day: float = np.inf
    response: int = 0  # least code of `CATEGORIES`


def parse_regimens(
    regimens: Sequence[str | AnyRegimen] | Mapping[str, str | AnyRegimen],
) -> dict[str, AnyRegimen]:
    """Regimens by label, a regimen's short name unless a mapping gives another.

    Raises RegimenError for a name that does not parse, none at all, or one given twice.
    """
    if isinstance(regimens, str | Regimen | Switch):
        regimens = [regimens]
    if isinstance(regimens, Mapping):
        parsed = {str(label): _regimen(regimen) for label, regimen in regimens.items()}
    else:
        listed = [_regimen(regimen) for regimen in regimens]
        labels = [str(regimen) for regimen in listed]
        repeated = sorted({label for label in labels if labels.count(label) > 1})
        if repeated:
            raise RegimenError(
                f"asked for more than once: {', '.join(repeated)}; give a mapping with a label each"
            )
        parsed = dict(zip(labels, listed, strict=True))
    if not parsed:
        raise RegimenError("no regimen to simulate: give at least one, such as '20 mg/kg QW-Q2W'")
    return parsed


def hazard_flags(
    regimens: Mapping[str, AnyRegimen], dexamethasone_hazard: str | Mapping[str, bool]
) -> dict[str, float]:
    """Whether the hazard counts a regimen as with dexamethasone, by label.

    "regimen": when it is given at all; "off": never; a mapping overrides "regimen" for some labels. Raises
    RegimenError for any other text and for an unknown label.
    """
    flags = {label: float(regimen.has_dexamethasone) for label, regimen in regimens.items()}
    if isinstance(dexamethasone_hazard, Mapping):
        unknown = [label for label in dexamethasone_hazard if label not in flags]
        if unknown:
            raise RegimenError(
                f"dexamethasone_hazard names {', '.join(unknown)}; simulated are {', '.join(flags)}"
            )
        return flags | {label: float(on) for label, on in dexamethasone_hazard.items()}
    if dexamethasone_hazard not in ("regimen", "off"):
        raise RegimenError(
            f"dexamethasone_hazard: expected 'regimen', 'off' or a mapping, found {dexamethasone_hazard!r}"
        )
    return dict.fromkeys(flags, 0.0) if dexamethasone_hazard == "off" else flags


def make_plans(
    regimens: Mapping[str, AnyRegimen],
    flags: Mapping[str, float],
    patients: pd.DataFrame,
    spec: ModelSpec,
    shape: Shape,
    reference: ReferenceParameters,
    visits: np.ndarray,
    days: np.ndarray,
) -> tuple[list[Plan], list[Column]]:
    """The plans that `regimens` take, each regimen's exposure solved once, and the columns made of them.

    `days`: of the survival curve, from 0 to the horizon, multiples of 3.5 but for the last. Raises DataError listing
    patients without a weight or age that doses need.
    """
    require_dosing_columns(regimens, patients)
    horizon = np.full(len(patients), float(days[-1]))
    panels: dict[Regimen, Panels] = {}
    plans: dict[tuple[Regimen, float], Plan] = {}

    def plan_of(regimen: Regimen, flag: float) -> int:
        if regimen not in panels:
            exposure = regimen_exposure(regimen, patients, spec, horizon)
            panels[regimen] = simulation_panels(
                exposure, shape, reference, visits, horizon, widest_day=_WIDEST_DAY, tolerance=spec.tolerance
            )
        made = panels[regimen]
        if (regimen, flag) not in plans:
            ends = (panel_ends(made, visits), panel_ends(made, days))
            plans[regimen, flag] = Plan(regimen.has_dexamethasone, flag, made, *ends)
        return list(plans).index((regimen, flag))

    columns = []
    for label, regimen in regimens.items():
        flag = flags[label]
        if isinstance(regimen, Switch):
            least = CATEGORIES.index(regimen.response)
            stay, switch = plan_of(regimen.stay, flag), plan_of(regimen.switch, flag)
            columns.append(Column(label, stay, switch, regimen.day, least))
        else:
            columns.append(Column(label, plan_of(regimen, flag)))
    return list(plans.values()), columns


def require_dosing_columns(regimens: Mapping[str, AnyRegimen], patients: pd.DataFrame) -> None:
    """Raise DataError listing patients without a weight, or an age that dexamethasone needs."""
    needed = ("weight_kg", "age_years") if any_dexamethasone(regimens.values()) else ("weight_kg",)
    require_columns(patients, needed, "doses: mg per kg, and dexamethasone by age")


def any_dexamethasone(regimens: Iterable[AnyRegimen]) -> bool:
    """Whether any of these gives dexamethasone, before or after a switch."""
    parts = [r for x in regimens for r in ((x.stay, x.switch) if isinstance(x, Switch) else (x,))]
    return any(regimen.has_dexamethasone for regimen in parts)


def regimen_exposure(
    regimen: Regimen, patients: pd.DataFrame, spec: ModelSpec, horizon: np.ndarray
) -> Exposure:
    """Exposure of every patient under `regimen` until day `horizon` (n_patients,)."""
    age = patients["age_years"] if regimen.has_dexamethasone else np.full(len(patients), np.nan)
    ids = [str(i) for i in patients.index]
    doses = regimen.doses(ids, patients["weight_kg"], age, horizon)
    return spec_exposure(spec, patients.set_axis(pd.Index(ids)), doses, horizon)


def _regimen(regimen: str | AnyRegimen) -> AnyRegimen:
    return parse_regimen(regimen) if isinstance(regimen, str) else regimen
