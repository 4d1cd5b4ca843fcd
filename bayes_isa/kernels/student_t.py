"""Density and distribution function of Student's t on the log scale, with derivatives by nu, in the far tail as well.

For z < 0, F(z) = I_x(nu/2, 1/2) / 2 with x = nu / (nu + z^2), I the regularised incomplete beta function by
its continued fraction (Didonato and Morris 1992, doi:10.1145/131766.131776), with its leading factor on the log scale.
"""

from __future__ import annotations

import math

from numba import njit

_HALF_LOG_PI = 0.5 * math.log(math.pi)
# Smallest number that Lentz's method lets a denominator become, and the change at which it stops.
_TINY = 1e-300
_DONE = 1e-16
_MOST_TERMS = 5000
# Relative step of the central difference by nu: rounding (1e-15 / 1e-5) and curvature (1e-10) both stay below 1e-9.
_STEP = 1e-5


@njit(cache=True, error_model="numpy")
def _log_gamma_ratio(nu: float) -> float:
    """log Gamma((nu + 1)/2) - log Gamma(nu/2) - log sqrt(nu/2), without cancellation for large nu."""
    if nu < 60.0:
        return math.lgamma(0.5 * (nu + 1.0)) - math.lgamma(0.5 * nu) - 0.5 * math.log(0.5 * nu)
    # Tricomi and Erdelyi: the ratio's asymptotic series in 1/nu; the next term is below 1e-16 from nu = 60 on.
    u = 1.0 / nu
    u2 = u * u
    return -u * (1.0 / 4.0 - u2 * (1.0 / 24.0 - u2 * (1.0 / 20.0 - u2 * (17.0 / 112.0 - u2 * 31.0 / 36.0))))


@njit(cache=True, error_model="numpy")
def _by_nu(nu: float) -> float:
    """Derivative of `_log_gamma_ratio`."""
    if nu < 60.0:
        return 0.5 * (_digamma(0.5 * (nu + 1.0)) - _digamma(0.5 * nu)) - 0.5 / nu
    u2 = 1.0 / (nu * nu)
    return u2 * (1.0 / 4.0 - u2 * (3.0 / 24.0 - u2 * (5.0 / 20.0 - u2 * (119.0 / 112.0 - u2 * 279.0 / 36.0))))


@njit(cache=True, error_model="numpy")
def _digamma(x: float) -> float:
    """Derivative of log Gamma for x > 0: recurrence up to 10, then Abramowitz & Stegun 6.3.18."""
    value = 0.0
    while x < 10.0:
        value -= 1.0 / x
        x += 1.0
    u = 1.0 / (x * x)
    series = u * (
        1.0 / 12.0
        - u * (1.0 / 120.0 - u * (1.0 / 252.0 - u * (1.0 / 240.0 - u * (1.0 / 132.0 - u * 691.0 / 32760.0))))
    )
    return value + math.log(x) - 0.5 / x - series


@njit(cache=True, error_model="numpy")
def _log_one_plus_square(z: float, nu: float) -> float:
    """log(1 + z^2 / nu), also where z^2 overflows."""
    ratio = abs(z) / math.sqrt(nu)
    return 2.0 * math.log(ratio) if ratio > 1e9 else math.log1p(ratio * ratio)


@njit(cache=True, error_model="numpy")
def _log_pdf(z: float, nu: float) -> float:
    return (
        _log_gamma_ratio(nu)
        - 0.5 * math.log(2.0)
        - _HALF_LOG_PI
        - 0.5 * (nu + 1.0) * _log_one_plus_square(z, nu)
    )


@njit(cache=True, error_model="numpy")
def log_student_pdf(z: float, nu: float) -> tuple[float, float, float]:
    """log density at z, nu > 0, and its derivatives by z and nu."""
    log_square = _log_one_plus_square(z, nu)
    share = 1.0 / (1.0 + nu / z / z) if z != 0.0 else 0.0  # z^2 / (nu + z^2)
    by_z = -(nu + 1.0) * share / z if z != 0.0 else 0.0
    by_nu = _by_nu(nu) - 0.5 * log_square + 0.5 * (nu + 1.0) * share / nu
    return _log_pdf(z, nu), by_z, by_nu


@njit(cache=True, error_model="numpy")
def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of I_x(a, b), by Lentz's method; for x < (a + 1) / (a + b + 2)."""
    c = 1.0
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    value = d
    for n in range(1, _MOST_TERMS):
        even = n * (b - n) * x / ((a + 2 * n - 1.0) * (a + 2 * n))
        odd = -(a + n) * (a + b + n) * x / ((a + 2 * n) * (a + 2 * n + 1.0))
        change = 1.0
        for factor in (even, odd):
            d = 1.0 + factor * d
            c = 1.0 + factor / c
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = c if abs(c) > _TINY else _TINY
            change = c * d
            value *= change
        if abs(change - 1.0) < _DONE:
            break
    return value


@njit(cache=True, error_model="numpy")
def _log_cdf(z: float, nu: float) -> float:
    if z == 0.0:
        return -math.log(2.0)
    log_square = _log_one_plus_square(z, nu)
    a, b = 0.5 * nu, 0.5
    x = math.exp(-log_square)  # nu / (nu + z^2)
    y = 1.0 / (1.0 + nu / z / z)
    # x^a y^b / B(a, b), from the density: B(nu/2, 1/2) holds the same gamma functions.
    log_front = _log_gamma_ratio(nu) + 0.5 * math.log(a) - _HALF_LOG_PI - a * log_square + b * math.log(y)
    if x < (a + 1.0) / (a + b + 2.0):
        log_tail = log_front - math.log(a) + math.log(_fraction(a, b, x)) - math.log(2.0)
        return log_tail if z < 0.0 else math.log1p(-math.exp(log_tail))
    half = 0.5 * math.exp(log_front) / b * _fraction(b, a, y)  # F(|z|) - 1/2
    return math.log(0.5 - half) if z < 0.0 else math.log(0.5 + half)


@njit(cache=True, error_model="numpy")
def log_student_cdf(z: float, nu: float) -> tuple[float, float, float]:
    """log F(z), nu > 0, and its derivatives by z and nu (a central difference: there is no closed form)."""
    value = _log_cdf(z, nu)
    step = _STEP * nu
    by_nu = (_log_cdf(z, nu + step) - _log_cdf(z, nu - step)) / (2.0 * step)
    return value, math.exp(_log_pdf(z, nu) - value), by_nu
