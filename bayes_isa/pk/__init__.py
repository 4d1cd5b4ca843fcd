"""Exposure to isatuximab and dexamethasone: arrays in, arrays out.

`parameters` holds the published population model, `isatuximab` and `dexamethasone` the concentrations of a dosing
history, `exposure` what the likelihood needs of both.
"""

from bayes_isa.pk.isatuximab import IsatuximabSolution, solve_isatuximab
from bayes_isa.pk.parameters import PK_PARAMETERS, draw_parameters, typical_parameters

__all__ = ["PK_PARAMETERS", "IsatuximabSolution", "draw_parameters", "solve_isatuximab", "typical_parameters"]
