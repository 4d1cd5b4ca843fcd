"""Dosing regimens: `Regimen.parse("20 mg/kg QW-Q2W + dex")`, modified, printed, turned into explicit doses.

The grammar of short names is in `bayes_isa.regimens.regimen`.
"""

from bayes_isa.regimens.arms import PUBLISHED_NAMES, SIMULATED_ARMS, STUDY_ARMS
from bayes_isa.regimens.published import PUBLISHED_REGIMENS
from bayes_isa.regimens.regimen import Delay, Reduction, Regimen
from bayes_isa.regimens.schedule import MONTH_DAYS, Phase, Schedule, Window
from bayes_isa.regimens.switch import SWITCH_RESPONSES, AnyRegimen, Switch, parse_regimen

__all__ = [
    "MONTH_DAYS",
    "PUBLISHED_NAMES",
    "PUBLISHED_REGIMENS",
    "SIMULATED_ARMS",
    "STUDY_ARMS",
    "SWITCH_RESPONSES",
    "AnyRegimen",
    "Delay",
    "Phase",
    "Reduction",
    "Regimen",
    "Schedule",
    "Switch",
    "Window",
    "parse_regimen",
]
