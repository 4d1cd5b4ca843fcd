"""A regimen that changes for those who respond: everybody starts alike, patients in response switch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import pandas as pd

from bayes_isa.errors import RegimenError
from bayes_isa.regimens.regimen import Regimen
from bayes_isa.regimens.schedule import format_time, parse_time

_NAME = re.compile(r"([^;]+);\s*in\s+(\w+)\s+at\s+([^:]+):(.+)", re.IGNORECASE)
SWITCH_RESPONSES = ("MR", "PR", "VGPR")


@dataclass(frozen=True, slots=True)
class Switch:
    """`stay` for everybody up to `day`, and from then on `switch` for patients in response.

    In response: a confirmed `response` ("MR", "PR" or "VGPR", or better) by serum M-protein, both visits on or before
    `day`, and no confirmed progression by M-protein since. Regimens may be given as short names; they must agree in
    all doses before `day`. For a change in everybody a `Regimen` will do: "+ dex 0-3mo", "QW-Q2W-Q4W@6mo".

    Raises RegimenError when the regimens differ before `day`, or `day` or `response` make no sense.
    """

    stay: Regimen
    switch: Regimen
    day: float
    response: str = "VGPR"

    def __post_init__(self) -> None:
        for name in ("stay", "switch"):
            given = getattr(self, name)
            object.__setattr__(self, name, given if isinstance(given, Regimen) else Regimen.parse(given))
        if not (math.isfinite(self.day) and self.day > 0):
            raise RegimenError(f"a switch must come on a day after 0, not {self.day}")
        if self.response not in SWITCH_RESPONSES:
            raise RegimenError(
                f"a switch needs a response out of {', '.join(SWITCH_RESPONSES)}, not {self.response!r}"
            )
        first, second = (_doses_before(regimen, self.day) for regimen in (self.stay, self.switch))
        if not first.equals(second):
            raise RegimenError(
                f"{self.stay} and {self.switch} differ before the switch on day {self.day:g}: "
                "give regimens whose doses are the same until then"
            )

    @classmethod
    def parse(cls, name: str) -> Switch:
        """The switch of a name as `str` prints it: "20 mg/kg QW-Q2W; in VGPR at 6mo: 20 mg/kg QW-Q2W-Q4W@6mo".

        Raises RegimenError for another form.
        """
        match = _NAME.fullmatch(name.strip())
        if match is None:
            raise RegimenError(
                f"{name!r} is not a switch: write one such as '20 mg/kg QW-Q2W; in VGPR at 6mo: "
                "20 mg/kg QW-Q2W-Q4W@6mo'"
            )
        stay, response, day, switch = match.groups()
        return cls(Regimen.parse(stay), Regimen.parse(switch), parse_time(day), response.upper())

    def __str__(self) -> str:
        return f"{self.stay}; in {self.response} at {format_time(self.day)}: {self.switch}"

    @property
    def has_dexamethasone(self) -> bool:
        """Whether dexamethasone is given before the switch or in those who stay."""
        return self.stay.has_dexamethasone


AnyRegimen = Regimen | Switch
"""What can be simulated."""


def parse_regimen(name: str) -> AnyRegimen:
    """The regimen or switch of a name; raises RegimenError."""
    return Switch.parse(name) if ";" in name else Regimen.parse(name)


def _doses_before(regimen: Regimen, day: float) -> pd.DataFrame:
    return regimen.doses(["any"], 70.0, 60.0, day)
