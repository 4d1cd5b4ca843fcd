import numpy as np
import pytest
from scipy import special, stats

from bayes_isa.kernels.residual import log_distribution, log_ndtr, measurement_term
from bayes_isa.kernels.student_t import log_student_pdf


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
        assert measurement_term(log_m, value, False, add, prop, np.inf)[0] == pytest.approx(
            stats.norm.logpdf(value, m, sd)
        )
        assert measurement_term(log_m, value, True, add, prop, np.inf)[0] == pytest.approx(
            stats.norm.logcdf(value, m, sd)
        )


@pytest.mark.parametrize("nu", [0.8, 3.0, 30.0, 1e4])
def test_student_terms_are_those_of_the_t_distribution(nu):
    z = np.concatenate([np.linspace(-30.0, 30.0, 301), -np.geomspace(30.0, 1e8, 40)])
    found = log_distribution(z, nu)
    expected = stats.t.logcdf(z, nu)
    held = expected > -600.0  # SciPy underflows below
    np.testing.assert_allclose(found[held], expected[held], rtol=1e-11, atol=1e-14)
    assert np.all(np.diff(found[301:]) < 0.0)
    density = [log_student_pdf(v, nu)[0] for v in z]
    np.testing.assert_allclose(density, stats.t.logpdf(z, nu), rtol=1e-10)
    at = measurement_term(3.2, 20.0, False, 0.4, 0.08, nu)[0]
    m = np.exp(3.2)
    assert at == pytest.approx(stats.t.logpdf(20.0, nu, m, np.hypot(0.4, 0.08 * m)))


def test_far_below_the_limit_a_t_tail_is_a_power():
    """F(z) -> c |z|^-nu: SciPy's underflows long before."""
    nu = 40.0
    far, further = log_distribution(np.array([-1e60, -1e61]), nu)
    assert far - further == pytest.approx(nu * np.log(10.0), rel=1e-12)


def test_many_degrees_of_freedom_are_normal():
    for below in (False, True):
        normal, student = (
            np.array(measurement_term(3.0, 19.0, below, 0.4, 0.08, nu)) for nu in (np.inf, 1e9)
        )
        np.testing.assert_allclose(student, normal, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("log_m", [-4.0, -0.7, 0.5, 3.3, 5.0])
@pytest.mark.parametrize(("value", "add", "prop"), [(0.5, 0.4, 0.07), (30.0, 0.2, 0.2)])
@pytest.mark.parametrize("nu", [np.inf, 1.5, 5.0, 80.0])
def test_derivatives(below, log_m, value, add, prop, nu):
    at = np.array([log_m, add, prop, nu])
    derivative = measurement_term(log_m, value, below, add, prop, nu)[1:]
    assert np.isinf(nu) == (derivative[3] == 0.0)
    for j in range(3 + np.isfinite(nu)):
        step = 1e-5 * np.eye(4)[j]
        step[3] = 1e-4 if j == 3 else 0.0
        up, down = (measurement_term(p[0], value, below, *p[1:])[0] for p in (at + step, at - step))
        if j == 3:
            assert derivative[j] == pytest.approx((up - down) / 2e-4, rel=1e-5, abs=1e-8)
            continue
        assert derivative[j] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-6)


def test_a_marker_far_above_the_limit_stays_finite():
    """log Phi underflows at M = 1e5 g/L, its asymptotic series does not."""
    term, by_log_m, by_add, by_prop, _ = measurement_term(np.log(1e5), 0.5, True, 0.01, 0.001, np.inf)
    assert np.isfinite([term, by_log_m, by_add, by_prop]).all()
    assert term < -1e5


@pytest.mark.parametrize("below", [False, True])
def test_a_part_of_the_error_that_is_off_leaves_finite_derivatives(below):
    for add, prop in ((0.0, 0.1), (0.5, 0.0)):
        found = measurement_term(1.0, 2.0, below, add, prop, np.inf)
        assert np.isfinite(found).all()
        assert found[0] == pytest.approx(
            measurement_term(1.0, 2.0, below, add + 1e-9, prop + 1e-9, np.inf)[0]
        )
