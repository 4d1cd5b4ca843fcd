"""Named regimens of isatuximab with or without dexamethasone, and the doses that follow from them.

A regimen reads and prints its short name:

    20 mg/kg QW-Q2W + dex 0-3mo, delay 1wk from 2mo, miss 2 3, reduce 0.5 from 3mo

    amount     any positive number of mg per kg of body weight
    schedule   Q<n>W: every n weeks (QW: weekly); several joined by "-" follow one another: after QW the next
               starts in week 4, after Q2W in week 8 (QW-Q2W is weekly for 4 weeks, then every 2 weeks); any
               other start is said with "@": QW-Q2W-Q4W@6mo
    + dex      dexamethasone 40 mg once a week (days 1, 8, 15, 22 of 28-day cycles), 20 mg from age 75; during
               a period only: "+ dex 0-3mo", "+ dex from 3mo"
    delay      doses of both drugs due from a time on come that much later
    miss       isatuximab infusions not given, by number from 1
    reduce     isatuximab amounts multiplied by a factor below 1 from a time on
    times      months (mo, 28 days: a cycle), weeks (wk) or days (d) since the first dose, which is on day 0

Modifiers refer to the planned schedule, so that their order does not matter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bayes_isa.errors import DataError, Problem, RegimenError
from bayes_isa.regimens.arms import PUBLISHED_NAMES
from bayes_isa.regimens.schedule import Schedule, Window, format_number, format_time, parse_time

INFUSION_HOURS = (3.7, 1.85, 1.25)
"""Median durations of the first, the second and every later infusion (fixed volume of 250 mL)."""

DEXAMETHASONE_MG = 40.0
DEXAMETHASONE_REDUCED_MG = 20.0
DEXAMETHASONE_REDUCED_FROM_AGE = 75.0

_NAME = re.compile(
    r"\s*(?P<amount>[-+.\d][-+.\deE]*)\s*mg\s*/\s*kg\s+(?P<schedule>[^\s,+]+)"
    r"(?:\s*\+\s*dex(?:amethasone)?\b(?P<window>[^,]*))?\s*(?:,(?P<modifiers>.*))?",
    re.IGNORECASE,
)
_MODIFIER = re.compile(
    r"(?P<delay>delay\s+(?P<by>.+?)\s+from\s+(?P<delay_from>.+))"
    r"|(?P<miss>miss(?P<numbers>(?:\s+\d+)+))"
    r"|(?P<reduce>reduce\s+(?P<factor>\S+)\s+from\s+(?P<reduce_from>.+))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, order=True)
class Delay:
    """Doses due on `from_day` or later come `days` later."""

    from_day: float
    days: float


@dataclass(frozen=True, slots=True, order=True)
class Reduction:
    """Isatuximab amounts due on `from_day` or later are multiplied by `factor`."""

    from_day: float
    factor: float


@dataclass(frozen=True, slots=True)
class Regimen:
    """A dosing regimen; `Regimen.parse` reads its short name and `str` prints it.

    Attributes
    ----------
    isatuximab_mg_per_kg
        Amount of an infusion, mg per kg of body weight, positive.
    schedule
        When infusions fall due.
    dexamethasone
        The period in which weekly dexamethasone is given, None for never.
    delays, missed, reductions
        Modifiers, kept in order of time; see `with_delay`, `without_doses` and `with_reduction`.

    Raises
    ------
    RegimenError
        If a number makes no sense.
    """

    isatuximab_mg_per_kg: float
    schedule: Schedule
    dexamethasone: Window | None = None
    delays: tuple[Delay, ...] = ()
    missed: tuple[int, ...] = ()
    reductions: tuple[Reduction, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.isatuximab_mg_per_kg) and self.isatuximab_mg_per_kg > 0):
            raise RegimenError(f"a dose must be positive, not {self.isatuximab_mg_per_kg} mg/kg")
        if not all(math.isfinite(d.days) and d.days > 0 and d.from_day >= 0 for d in self.delays):
            raise RegimenError("a delay must be of a positive number of days, from a day of 0 or later on")
        if any(number < 1 for number in self.missed):
            raise RegimenError(f"missed infusions are counted from 1, not {min(self.missed)}")
        if not all(0 < r.factor < 1 and r.from_day >= 0 for r in self.reductions):
            raise RegimenError("a reduction needs a factor between 0 and 1, from a day of 0 or later on")
        object.__setattr__(self, "delays", tuple(sorted(self.delays)))
        object.__setattr__(self, "missed", tuple(sorted(set(self.missed))))
        object.__setattr__(self, "reductions", tuple(sorted(self.reductions)))

    @classmethod
    def parse(cls, name: str) -> Regimen:
        """The regimen of a short name, see the module's grammar.

        Raises
        ------
        RegimenError
            If the name does not parse, with the nearest alternatives where there are any.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            near = get_close_matches(name, PUBLISHED_NAMES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"write one such as {PUBLISHED_NAMES[-1]!r}"
            raise RegimenError(f"{name!r} is not a regimen: {hint}")
        regimen = cls(
            isatuximab_mg_per_kg=_number(match["amount"]),
            schedule=Schedule.parse(match["schedule"]),
            dexamethasone=None if match["window"] is None else Window.parse(match["window"]),
        )
        for text in [] if match["modifiers"] is None else match["modifiers"].split(","):
            regimen = regimen._with_modifier(text.strip())
        return regimen

    def __str__(self) -> str:
        parts = [f"{format_number(self.isatuximab_mg_per_kg)} mg/kg {self.schedule}"]
        if self.dexamethasone is not None:
            parts[0] += f" + dex {self.dexamethasone}".rstrip()
        parts += [f"delay {format_time(d.days)} from {format_time(d.from_day)}" for d in self.delays]
        if self.missed:
            parts.append(f"miss {' '.join(map(str, self.missed))}")
        parts += [f"reduce {format_number(r.factor)} from {format_time(r.from_day)}" for r in self.reductions]
        return ", ".join(parts)

    @property
    def has_dexamethasone(self) -> bool:
        """Whether dexamethasone is given at all."""
        return self.dexamethasone is not None

    def with_delay(self, days: float, from_day: float) -> Regimen:
        """The regimen with all doses due on `from_day` or later given `days` later; delays add up."""
        return replace(self, delays=(*self.delays, Delay(float(from_day), float(days))))

    def without_doses(self, numbers: Iterable[int]) -> Regimen:
        """The regimen without the isatuximab infusions of these numbers, the first being 1."""
        return replace(self, missed=(*self.missed, *(int(n) for n in numbers)))

    def with_reduction(self, factor: float, from_day: float) -> Regimen:
        """The regimen with isatuximab amounts times `factor` from `from_day` on; reductions multiply."""
        return replace(self, reductions=(*self.reductions, Reduction(float(from_day), float(factor))))

    def doses(
        self, ids: Sequence, weight_kg: ArrayLike, age_years: ArrayLike, until_day: ArrayLike
    ) -> pd.DataFrame:
        """Every dose of every patient before `until_day`.

        Parameters
        ----------
        ids
            (n,) names of the patients.
        weight_kg, age_years
            (n,) or scalars. Age decides on the amount of dexamethasone and may be missing without it.
        until_day
            (n,) or a scalar, finite; doses on this day or later are left out.

        Returns
        -------
        Columns `id`, `drug` ("isatuximab" or "dexamethasone"), `day`, `amount_mg` and `duration_h`; by
        patient in the order of `ids`, then by day.

        Raises
        ------
        DataError
            If a weight, an age that matters or an `until_day` is missing or impossible.
        """
        n = len(ids)
        weight, age, until = (
            np.array(np.broadcast_to(np.asarray(column, dtype=float), (n,)))
            for column in (weight_kg, age_years, until_day)
        )
        self._check_patients(ids, weight, age, until)
        horizon = float(until.max(initial=0.0))

        isa_day, factor, duration = self._infusions(horizon)
        dexa_day = self._dexamethasone_days(horizon)
        day = np.concatenate([isa_day, dexa_day])
        order = np.argsort(day, kind="stable")  # on the same day isatuximab comes first
        is_dexa = (np.arange(len(day)) >= len(isa_day))[order]

        dexa_mg = np.where(age >= DEXAMETHASONE_REDUCED_FROM_AGE, DEXAMETHASONE_REDUCED_MG, DEXAMETHASONE_MG)
        who, which = np.nonzero(day[order] < until[:, None])
        per_kg = np.concatenate([self.isatuximab_mg_per_kg * factor, np.zeros(len(dexa_day))])[order]
        hours = np.concatenate([duration, np.zeros(len(dexa_day))])[order]
        return pd.DataFrame(
            {
                "id": pd.Index(ids).take(who),
                "drug": np.where(is_dexa, "dexamethasone", "isatuximab").astype(object)[which],
                "day": day[order][which],
                "amount_mg": np.where(is_dexa[which], dexa_mg[who], per_kg[which] * weight[who]),
                "duration_h": hours[which],
            }
        )

    def _infusions(self, until_day: float) -> tuple[NDArray, NDArray, NDArray]:
        """Days, factors on the amount and durations (h) of the infusions given before `until_day`."""
        planned = np.array(self.schedule.days(until_day))
        planned = planned[~np.isin(np.arange(1, len(planned) + 1), self.missed)]
        factor = np.ones(len(planned))
        for reduction in self.reductions:
            factor[planned >= reduction.from_day] *= reduction.factor
        # by number of infusions given: a patient who missed one has not got used to the drug faster
        turn = np.minimum(np.arange(len(planned)), len(INFUSION_HOURS) - 1)
        return self._delayed(planned), factor, np.array(INFUSION_HOURS)[turn]

    def _dexamethasone_days(self, until_day: float) -> NDArray:
        if self.dexamethasone is None:
            return np.zeros(0)
        weekly = np.arange(0.0, until_day, 7.0)
        window = self.dexamethasone
        return self._delayed(weekly[(window.start_day <= weekly) & (weekly < window.stop_day)])

    def _delayed(self, planned: NDArray) -> NDArray:
        day = planned.astype(float)
        for delay in self.delays:
            day[planned >= delay.from_day] += delay.days
        return day

    def _check_patients(self, ids: Sequence, weight: NDArray, age: NDArray, until: NDArray) -> None:
        wrong = [
            ("weight_kg", weight, ~(np.isfinite(weight) & (weight > 0))),
            (
                "age_years",
                age,
                ~np.isfinite(age) if self.has_dexamethasone else np.zeros(len(age), dtype=bool),
            ),
            ("until_day", until, ~np.isfinite(until)),
        ]
        problems = [
            Problem(f"{name} is {values[i]:g}", patient=str(ids[i]))
            for name, values, bad in wrong
            for i in np.flatnonzero(bad).tolist()
        ]
        if problems:
            raise DataError(f"the doses of {self} cannot be worked out", problems)

    def _with_modifier(self, text: str) -> Regimen:
        match = _MODIFIER.fullmatch(text)
        if match is None:
            raise RegimenError(
                f"{text!r} is not a modifier: write 'delay 1wk from 2mo', 'miss 2 3' or 'reduce 0.5 from 2mo'"
            )
        if match["delay"]:
            return self.with_delay(parse_time(match["by"]), parse_time(match["delay_from"]))
        if match["miss"]:
            return self.without_doses(int(number) for number in match["numbers"].split())
        return self.with_reduction(_number(match["factor"]), parse_time(match["reduce_from"]))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RegimenError(f"{text!r} is not a number") from None
