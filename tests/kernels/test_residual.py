import numpy as np
import pytest
from scipy import special, stats

from bayes_isa.kernels.residual import log_ndtr, measurement_term


def test_log_ndtr_into_the_far_tail():
    z = np.concatenate(
        [np.linspace(-40.0, 8.0, 2001), -np.geomspace(14.0, 1e4, 200), [-13.999999, -14.000001, 30.0]]
    )
    found = np.array([log_ndtr(v) for v in z])
    np.testing.assert_allclose(found, special.log_ndtr(z), rtol=1e-12, atol=1e-300)


def test_terms_are_those_of_the_normal_distribution():
    for log_m, value, add, prop in [(3.2, 27.0, 0.4, 0.08), (-1.0, 0.9, 0.4, 0.08), (6.0, 27.0, 1.5, 0.3)]:
        m = np.exp(log_m)
        sd = np.sqrt(add**2 + (prop * m) ** 2)
        assert measurement_term(log_m, value, False, add, prop)[0] == pytest.approx(
            stats.norm.logpdf(value, m, sd)
        )
        assert measurement_term(log_m, value, True, add, prop)[0] == pytest.approx(
            stats.norm.logcdf(value, m, sd)
        )


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("log_m", [-4.0, -0.7, 0.5, 3.3, 5.0])
@pytest.mark.parametrize(("value", "add", "prop"), [(0.5, 0.4, 0.07), (30.0, 0.2, 0.2)])
def test_derivatives(below, log_m, value, add, prop):
    at = np.array([log_m, add, prop])
    derivative = measurement_term(log_m, value, below, add, prop)[1:]
    for j in range(3):
        step = 1e-5 * np.eye(3)[j]
        up, down = (measurement_term(p[0], value, below, p[1], p[2])[0] for p in (at + step, at - step))
        assert derivative[j] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-6)


def test_a_marker_far_above_the_limit_stays_finite():
    """log Phi underflows at M = 1e5 g/L, its asymptotic series does not."""
    term, by_log_m, by_add, by_prop = measurement_term(np.log(1e5), 0.5, True, 0.01, 0.001)
    assert np.isfinite([term, by_log_m, by_add, by_prop]).all()
    assert term < -1e5
