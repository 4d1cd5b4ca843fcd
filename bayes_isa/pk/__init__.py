"""Exposure to isatuximab and dexamethasone: arrays in, arrays out.

`parameters` holds the published population model, `isatuximab` and `dexamethasone` the concentrations of a
dosing history, `exposure` what the likelihood needs of both.
"""

from bayes_isa.pk._doses import Doses
from bayes_isa.pk.dexamethasone import DexamethasoneSolution, solve_dexamethasone
from bayes_isa.pk.exposure import Breakpoints, Exposure, constant_exposure, mean_exposure, pk_exposure
from bayes_isa.pk.isatuximab import IsatuximabSolution, solve_isatuximab
from bayes_isa.pk.parameters import PK_PARAMETERS, draw_parameters, typical_parameters

__all__ = [
    "PK_PARAMETERS",
    "Breakpoints",
    "DexamethasoneSolution",
    "Doses",
    "Exposure",
    "IsatuximabSolution",
    "constant_exposure",
    "draw_parameters",
    "mean_exposure",
    "pk_exposure",
    "solve_dexamethasone",
    "solve_isatuximab",
    "typical_parameters",
]
