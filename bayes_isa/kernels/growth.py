"""Growth and kill of serum M-protein at one instant.

    dM/dt = KL M - KD kill(t) M,   kill(t) = exp(-R t) [E(C) + k Cd],   E(C) = C / (EC50 + C)

is linear in M, so log M(t) = log M0 + KL t - KD J(t) with J the integral of kill (CPT:PSP 2023, the joint model).
Every part of the package that needs M-protein goes through these functions.
"""

from __future__ import annotations

from numba import njit

from bayes_isa.kernels.elementary import FASTMATH, exp

# Constant exposure is the limit EC50 -> 0: E = C / (0 + C) is 1 on treatment. This keeps it 0, not 0/0, off treatment.
_TINY = 1e-300


@njit(inline="always", fastmath=FASTMATH)
def drug_effect(concentration: float, ec50: float, saturation: float) -> float:
    """E: C / (EC50 + C) for saturation = 1 (Emax), C / EC50 for saturation = 0 (linear)."""
    return concentration / (ec50 + saturation * concentration + _TINY)


@njit(inline="always", fastmath=FASTMATH)
def resistance(day: float, r: float) -> float:
    """exp(-R t): what is left of the drugs' effect at time t."""
    return exp(-r * day)


@njit(inline="always", fastmath=FASTMATH)
def effect_by_log_ec50(left: float, effect: float, saturation: float) -> float:
    """d kill / d log EC50, from exp(-R t) and E."""
    return -left * effect * (1.0 - saturation * effect)


@njit(inline="always", fastmath=FASTMATH)
def kill_rate(left: float, effect: float, k: float, dexamethasone: float) -> float:
    """kill(t) = exp(-R t) [E + k Cd], without KD."""
    return left * (effect + k * dexamethasone)


@njit(inline="always", fastmath=FASTMATH)
def log_mprotein(log_m0: float, kl: float, kd: float, day: float, integral: float) -> float:
    """log M(t), M in g/L, from J(t)."""
    return log_m0 + kl * day - kd * integral


@njit(inline="always", fastmath=FASTMATH)
def relative_slope(kl: float, kd: float, kill: float) -> float:
    """(dM/dt) / M in 1/day."""
    return kl - kd * kill
