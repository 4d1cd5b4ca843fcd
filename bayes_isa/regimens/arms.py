"""Names of the regimens of the published study and of its simulations."""

from __future__ import annotations

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

PUBLISHED_NAMES = tuple(dict.fromkeys(STUDY_ARMS + SIMULATED_ARMS))
"""Both."""
