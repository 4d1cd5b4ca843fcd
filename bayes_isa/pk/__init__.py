"""Exposure to isatuximab and dexamethasone: arrays in, arrays out.

`parameters` holds the published population model, `isatuximab` and `dexamethasone` the concentrations of a
dosing history, `exposure` what the likelihood needs of both.
"""

from bayes_isa.pk._doses import Doses
from bayes_isa.pk.dexamethasone import DexamethasoneSolution, solve_dexamethasone
from bayes_isa.pk.exposure import (
    Breakpoints,
    Exposure,
    constant_exposure,
    kpd_exposure,
    mean_exposure,
    pk_exposure,
)
from bayes_isa.pk.isatuximab import IsatuximabSolution, solve_isatuximab
from bayes_isa.pk.kpd import KPD_HALF_LIFE_DAY, KPDSolution, solve_kpd
from bayes_isa.pk.parameters import PK_PARAMETERS, draw_parameters, typical_parameters

__all__ = [
    "KPD_HALF_LIFE_DAY",
    "PK_PARAMETERS",
    "Breakpoints",
    "DexamethasoneSolution",
    "Doses",
    "Exposure",
    "IsatuximabSolution",
    "KPDSolution",
    "constant_exposure",
    "draw_parameters",
    "kpd_exposure",
    "mean_exposure",
    "pk_exposure",
    "solve_dexamethasone",
    "solve_isatuximab",
    "solve_kpd",
    "typical_parameters",
]
