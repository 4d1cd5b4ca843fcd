import numpy as np
import pytest

from bayes_isa.kernels import growth, hazard
from bayes_isa.kernels.hazard import HAZARDS, LINKS, make_shape


def central(function, x, h=1e-6):
    return (function(x + h) - function(x - h)) / (2.0 * h)


@pytest.mark.parametrize("saturation", [1.0, 0.0])
def test_drug_effect(saturation):
    assert growth.drug_effect(300.0, 150.0, saturation) == pytest.approx(2.0 / 3.0 if saturation else 2.0)
    assert growth.drug_effect(0.0, 150.0, saturation) == 0.0

    def kill(log_ec50):
        return growth.kill_rate(0.7, growth.drug_effect(300.0, np.exp(log_ec50), saturation), 5.0, 0.1)

    effect = growth.drug_effect(300.0, 150.0, saturation)
    assert growth.effect_by_log_ec50(0.7, effect, saturation) == pytest.approx(central(kill, np.log(150.0)))


def test_constant_exposure_is_full_effect_on_treatment_and_none_off_it():
    assert growth.drug_effect(1.0, 0.0, 1.0) == 1.0
    assert growth.drug_effect(0.0, 0.0, 1.0) == 0.0


def test_growth_at_one_instant():
    left = growth.resistance(30.0, 0.02)
    assert left == pytest.approx(np.exp(-0.6))
    kill = growth.kill_rate(left, 0.5, 5.0, 0.2)
    assert kill == pytest.approx(np.exp(-0.6) * 1.5)
    assert growth.relative_slope(0.005, 0.04, kill) == pytest.approx(0.005 - 0.04 * kill)
    assert growth.log_mprotein(3.0, 0.005, 0.04, 30.0, 8.0) == pytest.approx(3.0 + 0.15 - 0.32)


@pytest.mark.parametrize("name", list(LINKS))
def test_links_and_their_derivatives(name):
    shape = make_shape(name, "loglogistic", "emax")
    log_m, slope = 3.1, -0.02
    m = np.exp(log_m)
    expected = {"none": 0.0, "slope": m * slope, "value": m, "log_value": log_m, "relative_slope": slope}[
        name
    ]
    assert hazard.link_value(shape, log_m, m, slope) == pytest.approx(expected)
    by_log_m = central(lambda x: hazard.link_value(shape, x, np.exp(x), slope), log_m)
    assert hazard.link_by_log_m(shape, m, slope) == pytest.approx(by_log_m, abs=1e-7)
    by_slope = central(lambda x: hazard.link_value(shape, log_m, m, x), slope)
    assert hazard.link_by_relative_slope(shape, m) == pytest.approx(by_slope, abs=1e-7)


def test_baseline_hazards():
    day, te, s = 100.0, 272.0, 1.56
    x = (day / te) ** s
    fraction = hazard.baseline_fraction(np.log(day / te), s, HAZARDS["loglogistic"])
    assert s / day * fraction == pytest.approx(s / te * (day / te) ** (s - 1) / (1 + x))
    assert hazard.baseline_fraction(np.log(day / te), s, HAZARDS["weibull"]) == pytest.approx(x)


@pytest.mark.parametrize(
    "wrong", [("slop", "weibull", "emax"), ("slope", "gamma", "emax"), ("slope", "weibull", "log")]
)
def test_unknown_names_are_refused(wrong):
    with pytest.raises(KeyError):
        make_shape(*wrong)
