"""The published estimates of the joint model, in the names and units of this package."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# CPT:PSP 2023, final estimates of the joint model of M-protein and PFS under isatuximab, alone or with
# dexamethasone. EC50 is printed as 1.13 umol/L, 170 mg/L. The nil effect of B2M on the hazard is left out:
# its authors call it confounded.
PUBLISHED_ESTIMATES: Mapping[str, float] = MappingProxyType(
    {
        "M0_pop": 27.0,  # g/L
        "KL_pop": 0.00531,  # 1/day
        "KD_pop": 0.0396,  # 1/day
        "R_pop": 0.0192,  # 1/day
        "EC50_pop": 170.0,  # mg/L
        "omega_M0": 0.398,  # SDs of logs
        "omega_KL": 0.947,
        "omega_KD": 0.87,
        "omega_R": 1.13,
        "omega_EC50": 1.23,
        "k": 5.47,  # L/umol
        "Te": 272.0,  # day
        "s": 1.56,
        "beta_link": 6.65,  # of the slope dM/dt on the log hazard, per g/L/day
        "sigma_add": 0.477,  # g/L
        "sigma_prop": 0.0721,
    }
)

# By target, on its log: per unit of log(value / median), or for 1 against 0. Centring at the median is not
# printed; it is the reading that agrees with the printed typical values.
PUBLISHED_EFFECTS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "M0": MappingProxyType(
            {
                "non_igg": -0.255,
                "log_albumin": -1.83,
                "log_alp": -0.233,
                "log_prior_lines": 0.21,
                "japanese_study": -0.216,
            }
        ),
        "KL": MappingProxyType({"not_lenalidomide_refractory": -0.514}),
        "KD": MappingProxyType({"log_baseline_m": -0.56}),
        "hazard": MappingProxyType({"dexamethasone": -0.363, "plasmacytoma": 0.799}),
    }
)
