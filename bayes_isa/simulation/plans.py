"""A regimen given to a pool of patients: doses, exposure and panels, made once for all simulated trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayes_isa.errors import RegimenError
from bayes_isa.kernels.hazard import Shape
from bayes_isa.kernels.panels import Panels, ReferenceParameters
from bayes_isa.model.exposures import trial_exposure
from bayes_isa.model.spec import ModelSpec
from bayes_isa.regimens import Regimen
from bayes_isa.simulation.patients import require_columns
from bayes_isa.simulation.quadrature import simulation_panels

# Between doses every four weeks the hazard of fast growth is followed in half weeks.
_WIDEST_DAY = 3.5


@dataclass(frozen=True)
class Plan:
    """One regimen for all patients of a pool to the horizon.

    `hazard_dexamethasone` is the value of the covariate dexamethasone in the hazard, 0 or 1.
    """

    label: str
    has_dexamethasone: bool
    hazard_dexamethasone: float
    panels: Panels


def parse_regimens(
    regimens: Sequence[str | Regimen] | Mapping[str, str | Regimen],
) -> dict[str, Regimen]:
    """Regimens by label, a regimen's short name unless a mapping gives another.

    Raises RegimenError for a name that does not parse, none at all, or one given twice.
    """
    if isinstance(regimens, str | Regimen):
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
    regimens: Mapping[str, Regimen], dexamethasone_hazard: str | Mapping[str, bool]
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
    regimens: Mapping[str, Regimen],
    flags: Mapping[str, float],
    patients: pd.DataFrame,
    spec: ModelSpec,
    shape: Shape,
    reference: ReferenceParameters,
    visits: np.ndarray,
    horizon_day: float,
) -> list[Plan]:
    """A plan for each regimen. Raises DataError listing patients without a weight or age that doses need."""
    with_dexamethasone = any(regimen.has_dexamethasone for regimen in regimens.values())
    needed = ("weight_kg", "age_years") if with_dexamethasone else ("weight_kg",)
    require_columns(patients, needed, "doses: mg per kg, and dexamethasone by age")
    age = patients["age_years"] if with_dexamethasone else np.full(len(patients), np.nan)
    ids = [str(i) for i in patients.index]
    horizon = np.full(len(patients), float(horizon_day))
    plans = []
    for label, regimen in regimens.items():
        doses = regimen.doses(ids, patients["weight_kg"], age, horizon)
        exposure = trial_exposure(spec.exposure, patients.set_axis(pd.Index(ids)), doses, horizon)
        panels = simulation_panels(
            exposure, shape, reference, visits, horizon, widest_day=_WIDEST_DAY, tolerance=spec.tolerance
        )
        plans.append(Plan(label, regimen.has_dexamethasone, flags[label], panels))
    return plans


def take_patients(panels: Panels, chosen: np.ndarray) -> Panels:
    """The panels of these patients, by position, in this order; a patient may come several times."""
    design = panels.design
    panel, panel_offset = _segments(design.panel_offset, chosen)
    node, _ = _segments(panels.rule.order * design.panel_offset, chosen)
    measurement, measurement_offset = _segments(design.measurement_offset, chosen)
    # What an array of the design runs over is the first word of its name.
    position = {"node": node, "event": chosen, "hazard": chosen, "measurement": measurement}
    taken = {
        name: values[position[name.partition("_")[0]]]
        for name, values in design._asdict().items()
        if not name.endswith("_offset")
    }
    return replace(
        panels,
        design=design._replace(panel_offset=panel_offset, measurement_offset=measurement_offset, **taken),
        panel_start=panels.panel_start[panel],
        panel_end=panels.panel_end[panel],
        error=panels.error[chosen],
    )


def _segments(offset: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the chosen segments of a ragged array, one after another, and their new offsets."""
    length = np.diff(offset)[chosen]
    new = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    return np.arange(new[-1]) + np.repeat(offset[:-1][chosen] - new[:-1], length), new


def _regimen(regimen: str | Regimen) -> Regimen:
    return regimen if isinstance(regimen, Regimen) else Regimen.parse(regimen)
