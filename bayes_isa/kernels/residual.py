"""Log-likelihood of one M-protein measurement, quantified or below the limit of quantification.

y ~ Normal(M, sd), sd^2 = sigma_add^2 + (sigma_prop M)^2; below the LLOQ the term is log Phi((LLOQ - M) / sd).
"""

from __future__ import annotations

import math

from numba import njit

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_INV_SQRT_2 = math.sqrt(0.5)
# Below this erfc(-z / sqrt 2) loses digits to underflow; the asymptotic series is exact to 1e-16 from here on.
_FAR_TAIL = -14.0


@njit(cache=True, error_model="numpy")
def log_ndtr(z: float) -> float:
    """log Phi(z), accurate to 1e-14 relative for every finite z."""
    if z > 0.0:
        return math.log1p(-0.5 * math.erfc(z * _INV_SQRT_2))
    if z > _FAR_TAIL:
        return math.log(0.5 * math.erfc(-z * _INV_SQRT_2))
    # Phi(z) = phi(z)/|z| (1 - 1/z^2 + 3/z^4 - 15/z^6 ...), Abramowitz & Stegun 26.2.12.
    u = 1.0 / (z * z)
    term = 1.0
    total = 1.0
    for n in range(1, 16):
        term *= -(2 * n - 1) * u
        total += term
    return -0.5 * z * z - _LOG_SQRT_2PI - math.log(-z) + math.log(total)


@njit(cache=True, error_model="numpy")
def measurement_term(
    log_m: float, value: float, below: bool, sigma_add: float, sigma_prop: float
) -> tuple[float, float, float, float]:
    """Log-likelihood (g/L scale), derivatives by log M, sigma_add and sigma_prop; `value` is the LLOQ where `below`."""
    m = math.exp(log_m)
    proportional = sigma_prop * m
    sd = math.hypot(sigma_add, proportional)
    z = (value - m) / sd
    if below:
        term = log_ndtr(z)
        by_z = math.exp(-0.5 * z * z - _LOG_SQRT_2PI - term)
        by_log_sd = -z * by_z
    else:
        term = -0.5 * z * z - math.log(sd) - _LOG_SQRT_2PI
        by_z = -z
        by_log_sd = z * z - 1.0
    share_add = (sigma_add / sd) ** 2
    share_prop = (proportional / sd) ** 2
    by_log_m = -by_z * m / sd + by_log_sd * share_prop
    return term, by_log_m, by_log_sd * share_add / sigma_add, by_log_sd * share_prop / sigma_prop
