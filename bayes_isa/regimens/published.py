"""The regimens of the published study and of its simulations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bayes_isa.regimens.regimen import Regimen

STUDY_ARMS = (
    "3 mg/kg Q2W",
    "10 mg/kg Q2W",
    "10 mg/kg Q2W-Q4W",
    "10 mg/kg QW-Q2W",
    "20 mg/kg QW-Q2W",
    "20 mg/kg QW-Q2W + dex",
)
"""What the modelled patients were given."""

SIMULATED_ARMS = (
    "10 mg/kg QW-Q2W",
    "20 mg/kg QW-Q2W",
    "20 mg/kg QW-Q2W + dex",
    "20 mg/kg QW-Q2W + dex 0-3mo",
    "20 mg/kg QW-Q2W + dex 0-6mo",
)
"""What the published trial simulations compared."""

PUBLISHED_REGIMENS: Mapping[str, Regimen] = MappingProxyType(
    {name: Regimen.parse(name) for name in dict.fromkeys(STUDY_ARMS + SIMULATED_ARMS)}
)
"""Both, by short name."""
