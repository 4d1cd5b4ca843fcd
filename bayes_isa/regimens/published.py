"""The regimens of the published study and of its simulations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bayes_isa.regimens.arms import PUBLISHED_NAMES
from bayes_isa.regimens.regimen import Regimen

PUBLISHED_REGIMENS: Mapping[str, Regimen] = MappingProxyType(
    {name: Regimen.parse(name) for name in PUBLISHED_NAMES}
)
"""Those of `STUDY_ARMS` and `SIMULATED_ARMS`, by short name."""
