"""`exposure_profiles`: concentrations that regimens give to patients, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from bayes_isa.data.trial import Trial
from bayes_isa.errors import ModelError, RegimenError
from bayes_isa.model.spec import ModelSpec
from bayes_isa.regimens import AnyRegimen, Regimen
from bayes_isa.simulation.plans import parse_regimens, regimen_exposure, require_dosing_columns

_PK = ModelSpec(exposure="pk")
_DEX_DAYS = 14.0  # two doses of a weekly drug with a half-life of hours: later weeks repeat
_DEX_STEP_DAY = 1.0 / 24.0
_STEP_DAY = 0.25


def exposure_profiles(
    trial: Trial,
    regimens: Sequence[str | AnyRegimen] | Mapping[str, str | AnyRegimen],
    *,
    until_day: float = 168.0,
    level: float = 0.9,
) -> xr.Dataset:
    """Isatuximab and dexamethasone concentrations of a trial's patients under each regimen.

    trial: whose covariates and individual pharmacokinetics (typical ones where absent) are used; its doses are not.
    until_day: 24 weeks by default, six cycles. level: of the central interval over patients.

    Returns a Dataset: `isatuximab_low`, `isatuximab_median`, `isatuximab_high` (regimen, day) in mg/L, every 6 hours;
    `dexamethasone_low`, `dexamethasone_median`, `dexamethasone_high` (regimen, dexamethasone_day) in umol/L, hourly
    over two weeks. attrs "level", "n_patients". Raises RegimenError for an impossible regimen or a `Switch`, DataError
    for patients without a weight or age that doses need, ModelError for patients without pharmacokinetics.
    """
    if not 0.0 < level < 1.0 or not until_day > 0.0:
        raise ModelError(f"expected level in (0, 1) and until_day > 0, found {level!r}, {until_day!r}")
    parsed = parse_regimens(regimens)
    simple = {label: regimen for label, regimen in parsed.items() if isinstance(regimen, Regimen)}
    if len(simple) < len(parsed):
        raise RegimenError(
            "a switch depends on response, so that it has no concentrations of its own: give the regimens before and "
            "after it"
        )
    require_dosing_columns(simple, trial.patients)
    n = trial.n_patients
    day = np.arange(0.0, until_day + 1e-9, _STEP_DAY)
    dex_day = np.arange(0.0, min(until_day, _DEX_DAYS) + 1e-9, _DEX_STEP_DAY)
    bands: dict[str, list[np.ndarray]] = {"isatuximab": [], "dexamethasone": []}
    ends = [(1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0]
    for regimen in simple.values():
        exposure = regimen_exposure(regimen, trial.patients, _PK, np.full(n, until_day))
        for number, (drug, days) in enumerate((("isatuximab", day), ("dexamethasone", dex_day))):
            patient = np.repeat(np.arange(n), days.size)
            values = exposure.evaluate(patient, np.tile(days, n))[number].reshape(n, days.size)
            bands[drug].append(np.quantile(values, ends, axis=0))
    axis = {"isatuximab": ("day", "mg/L"), "dexamethasone": ("dexamethasone_day", "umol/L")}
    return xr.Dataset(
        {
            f"{drug}_{bound}": (
                ("regimen", axis[drug][0]),
                np.array(values)[:, number],
                {"units": axis[drug][1]},
            )
            for drug, values in bands.items()
            for number, bound in enumerate(("low", "median", "high"))
        },
        coords={
            "regimen": np.array(list(simple), dtype=object),
            "day": ("day", day, {"units": "day"}),
            "dexamethasone_day": ("dexamethasone_day", dex_day, {"units": "day"}),
        },
        attrs={"level": level, "n_patients": n},
    )
