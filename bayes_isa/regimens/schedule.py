"""When doses fall due: phases of regular dosing, and windows of time."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise

from bayes_isa.errors import RegimenError

WEEK_DAYS = 7.0
MONTH_DAYS = 28.0
"""A month of a regimen is one cycle of 28 days, as in the studies; not a calendar month of 30.4 days."""

_UNITS = {"mo": MONTH_DAYS, "wk": WEEK_DAYS, "d": 1.0}
# weeks after which a schedule of two phases changes, by the interval it starts with
_USUAL_SWITCH_WEEKS = {1: 4, 2: 8}
_PHASE = re.compile(r"Q(-?\d+)?W(?:@(.+))?", re.IGNORECASE)
_TIME = re.compile(r"([-+.\deE]+)\s*(mo|wk|d)", re.IGNORECASE)
_KNOWN_SCHEDULES = ("Q2W", "QW", "Q4W", "QW-Q2W", "Q2W-Q4W", "QW-Q2W-Q4W@6mo")


def format_number(value: float) -> str:
    """The shortest text that reads back as the same number, without a needless '.0'."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def format_time(day: float) -> str:
    """A day as months, weeks or days, whichever is whole."""
    for unit in ("mo", "wk"):
        count = day / _UNITS[unit]
        if count.is_integer() and count * _UNITS[unit] == day:
            return f"{format_number(count)}{unit}"
    return f"{format_number(day)}d"


def parse_time(text: str) -> float:
    """Days from a text such as "6mo", "26wk" or "182d"; raises `RegimenError`."""
    match = _TIME.fullmatch(text.strip())
    try:
        return float(match[1]) * _UNITS[match[2].lower()] if match else _not_a_time(text)
    except ValueError:
        return _not_a_time(text)


def _not_a_time(text: str) -> float:
    raise RegimenError(f"{text!r} is not a time: write months (28 days), weeks or days: 6mo, 26wk, 182d")


@dataclass(frozen=True, slots=True)
class Phase:
    """Dosing every `interval_weeks` from `start_day` on, until the next phase."""

    interval_weeks: int
    start_day: float = 0.0

    def __post_init__(self) -> None:
        if self.interval_weeks < 1:
            raise RegimenError(f"a dosing interval must be positive, not {self.interval_weeks} weeks")
        if not (math.isfinite(self.start_day) and self.start_day >= 0):
            raise RegimenError(f"a phase of dosing must start at a day from 0 on, not {self.start_day}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Phases of regular dosing, one after the other; the first starts on day 0.

    A phase takes over at the first dose that is due at its start or later, so that no two doses come closer
    than the interval of the earlier phase.
    """

    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        starts = [phase.start_day for phase in self.phases]
        if not starts or starts[0] != 0:
            raise RegimenError("the first phase of a schedule starts on day 0")
        if any(later <= earlier for earlier, later in pairwise(starts)):
            raise RegimenError(f"phases of a schedule must start one after the other, not at days {starts}")

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read "Q2W", "QW-Q2W", "QW-Q2W-Q4W@6mo"; raises `RegimenError`."""
        phases: list[Phase] = []
        for part in re.split(r"(?<=W)-(?=Q)|(?<=[a-z])-(?=Q)", text.strip(), flags=re.IGNORECASE):
            match = _PHASE.fullmatch(part)
            if match is None:
                nearest = get_close_matches(text.upper(), _KNOWN_SCHEDULES, cutoff=0.4) or _KNOWN_SCHEDULES
                raise RegimenError(f"unknown schedule {text!r}: did you mean {' or '.join(nearest)}?")
            start = _usual_start(phases, text) if match[2] is None else parse_time(match[2])
            phases.append(Phase(int(match[1] or 1), start))
        return cls(tuple(phases))

    def __str__(self) -> str:
        names = []
        for number, phase in enumerate(self.phases):
            name = "QW" if phase.interval_weeks == 1 else f"Q{phase.interval_weeks}W"
            usual = _USUAL_SWITCH_WEEKS.get(self.phases[0].interval_weeks, math.nan) * WEEK_DAYS
            plain = number == 0 or (number == 1 and phase.start_day == usual)
            names.append(name if plain else f"{name}@{format_time(phase.start_day)}")
        return "-".join(names)

    def days(self, until_day: float) -> list[float]:
        """Days of doses before `until_day`."""
        days: list[float] = []
        day = 0.0
        while day < until_day:
            days.append(day)
            phase = max((p for p in self.phases if p.start_day <= day), key=lambda p: p.start_day)
            day += phase.interval_weeks * WEEK_DAYS
        return days


def _usual_start(earlier: list[Phase], text: str) -> float:
    if not earlier:
        return 0.0
    weeks = _USUAL_SWITCH_WEEKS.get(earlier[0].interval_weeks)
    if len(earlier) > 1 or weeks is None:
        raise RegimenError(f"schedule {text!r} does not say when its last phase starts: write {text}@6mo")
    return weeks * WEEK_DAYS


@dataclass(frozen=True, slots=True)
class Window:
    """Days from `start_day` up to, but without, `stop_day`; infinite for ever."""

    start_day: float = 0.0
    stop_day: float = math.inf

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_day) and 0 <= self.start_day < self.stop_day):
            raise RegimenError(f"a window must run from a day of 0 or later to a later one, not {self}")

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read "", "0-3mo", "4wk-26wk" (a first number without unit has that of the second) or "from 3mo"."""
        text = text.strip()
        if not text:
            return cls()
        if match := re.fullmatch(r"from\s+(.+)", text, re.IGNORECASE):
            return cls(parse_time(match[1]))
        match = re.fullmatch(
            r"([.\d]+(?:e[-+]?\d+)?)\s*(mo|wk|d)?\s*-\s*(.+?)\s*(mo|wk|d)", text, re.IGNORECASE
        )
        if match is None:
            raise RegimenError(f"{text!r} is not a period: write one such as 0-3mo or from 3mo")
        start, unit, stop, last_unit = match.groups()
        return cls(parse_time(f"{start}{unit or last_unit}"), parse_time(f"{stop}{last_unit}"))

    def __str__(self) -> str:
        if math.isinf(self.stop_day):
            return f"from {format_time(self.start_day)}" if self.start_day > 0 else ""
        start = format_time(self.start_day) if self.start_day > 0 else "0"
        return f"{start}-{format_time(self.stop_day)}"
