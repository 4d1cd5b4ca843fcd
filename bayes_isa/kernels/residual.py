"""Log-likelihood of one M-protein measurement, quantified or below the limit of quantification.

y = M + sd e, sd^2 = sigma_add^2 + (sigma_prop M)^2, e standard normal or Student-t with nu degrees of freedom. Below
the LLOQ the term is log F((LLOQ - M) / sd), F the distribution function of e. sigma_prop = 0 is additive error,
sigma_add = 0 proportional.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from bayes_isa.kernels.student_t import log_student_cdf, log_student_pdf

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_INV_SQRT_2 = math.sqrt(0.5)
# Below this erfc(-z / sqrt 2) loses digits to underflow; the asymptotic series is exact to 1e-16 from here on.
_FAR_TAIL = -14.0


class Residual(NamedTuple):
    """SDs (scales of Student's t), g/L and as a fraction of M, and degrees of freedom (inf: normal)."""

    sigma_add: float
    sigma_prop: float
    nu: float = math.inf

    def sd(self, m: np.ndarray) -> np.ndarray:
        """SD, or scale of Student's t, of measurements where M-protein is `m`, both g/L."""
        return np.hypot(self.sigma_add, self.sigma_prop * m)


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
def _log_density(z: float, nu: float) -> tuple[float, float, float]:
    """log f(z) of the standardised error, and its derivatives by z and nu."""
    if math.isinf(nu):
        return -0.5 * z * z - _LOG_SQRT_2PI, -z, 0.0
    return log_student_pdf(z, nu)


@njit(cache=True, error_model="numpy")
def _log_distribution(z: float, nu: float) -> tuple[float, float, float]:
    """log F(z) of the standardised error, and its derivatives by z and nu."""
    if math.isinf(nu):
        value = log_ndtr(z)
        return value, math.exp(-0.5 * z * z - _LOG_SQRT_2PI - value), 0.0
    return log_student_cdf(z, nu)


@njit(cache=True, error_model="numpy")
def log_distribution(z: np.ndarray, nu: float) -> np.ndarray:
    """log F of standardised errors (n,): (y - M) / sd."""
    value = np.empty(z.size)
    for j in range(z.size):
        value[j] = _log_distribution(z[j], nu)[0]
    return value


def standard_errors(nu: float, rng: np.random.Generator, size: tuple[int, ...] | int) -> np.ndarray:
    """Random standardised errors e: a measurement is M + sd e."""
    return rng.standard_normal(size) if math.isinf(nu) else rng.standard_t(nu, size)


@njit(cache=True, error_model="numpy")
def measurement_term(
    log_m: float, value: float, below: bool, sigma_add: float, sigma_prop: float, nu: float
) -> tuple[float, float, float, float, float]:
    """Log-likelihood (g/L scale), derivatives by log M, sigma_add, sigma_prop, nu; `value`: the LLOQ where `below`."""
    m = math.exp(log_m)
    proportional = sigma_prop * m
    # One division: they, roots and logs are most of the cost.
    precision = 1.0 / math.sqrt(sigma_add * sigma_add + proportional * proportional)
    z = (value - m) * precision
    if below:
        term, by_z, by_nu = _log_distribution(z, nu)
        by_log_sd = -z * by_z
    else:
        density, by_z, by_nu = _log_density(z, nu)
        term = density + math.log(precision)
        by_log_sd = -z * by_z - 1.0
    share = proportional * precision
    by_log_m = -by_z * m * precision + by_log_sd * share * share
    by_add = by_log_sd * (sigma_add * precision) * precision
    by_prop = by_log_sd * share * (m * precision)
    return term, by_log_m, by_add, by_prop, by_nu
