import numpy as np
import pytest

from bayes_isa.errors import DataError
from bayes_isa.pk import Doses, constant_exposure, mean_exposure, pk_exposure, solve_isatuximab

from .patients import random_patients, repeated_doses

DEXA = Doses([0, 0, 2], [0.0, 7.0, 3.0], [40.0, 40.0, 20.0])


def test_pk_exposure_is_both_concentrations():
    parameters, weight = random_patients(3, seed=1)
    isa = repeated_doses(weight, 10.0, np.array([0.0, 7.0]))
    exposure = pk_exposure(parameters, isa, DEXA, 30.0)
    assert exposure.kind == "pk"
    assert exposure.n_patients == 3
    who, day = np.array([0, 1, 2, 2]), np.array([8.0, 8.0, 3.0, 30.0])
    effect, dexa = exposure.evaluate(who, day)
    np.testing.assert_array_equal(effect, solve_isatuximab(parameters, *isa, 30.0).concentration(who, day))
    np.testing.assert_array_equal(dexa, exposure.dexamethasone.concentration(who, day))
    assert dexa[1] == 0
    with pytest.raises(DataError):
        exposure.evaluate([0], [30.1])


def test_breakpoints_are_doses_ends_and_switches():
    parameters, weight = random_patients(3, seed=2)
    isa = repeated_doses(weight, 10.0, np.array([0.0, 7.0, 40.0]))
    breaks = pk_exposure(parameters, isa, DEXA, 30.0).breakpoints
    np.testing.assert_allclose(breaks.of(0), [0.0, 3.7 / 24, 7.0, 7.0 + 1.85 / 24])
    np.testing.assert_allclose(breaks.of(2), [0.0, 3.7 / 24, 3.0, 7.0, 7.0 + 1.85 / 24])
    offsets, days = breaks
    assert offsets[-1] == len(days)

    breaks = constant_exposure(3, [0.0, -1.0, 2.0], [9.0, np.inf, 5.0], DEXA).breakpoints
    np.testing.assert_array_equal(breaks.of(0), [0.0, 7.0, 9.0])
    assert len(breaks.of(1)) == 0
    np.testing.assert_array_equal(breaks.of(2), [2.0, 3.0, 5.0])


def test_constant_exposure_switches_after_the_switch():
    exposure = constant_exposure(2, 0.0, [10.0, np.inf])
    effect, dexa = exposure.evaluate([0, 0, 0, 0, 1], [0.0, 0.1, 10.0, 10.1, 1e6])
    np.testing.assert_array_equal(effect, [0, 1, 1, 0, 1])
    assert np.all(dexa == 0)
    assert exposure.kind == "constant"


def test_mean_exposure():
    parameters, weight = random_patients(3, seed=3)
    exposure = pk_exposure(parameters, repeated_doses(weight, 10.0, np.array([0.0, 7.0])), DEXA, 30.0)
    effect, dexa = mean_exposure(exposure, [10.0, 20.0, 30.0])
    for i, until in enumerate([10.0, 20.0, 30.0]):
        fine = np.linspace(0, until, 300_001)
        c, cd = exposure.evaluate(np.full(fine.size, i), fine)
        assert effect[i] == pytest.approx(np.trapezoid(c, fine) / until, rel=1e-5)
        assert dexa[i] == pytest.approx(np.trapezoid(cd, fine) / until, rel=1e-3)  # coarse: it jumps

    constant = constant_exposure(3, [0.0, 5.0, 0.0], [5.0, np.inf, 0.0])
    np.testing.assert_allclose(mean_exposure(constant, 20.0)[0], [0.25, 0.75, 0.0])
    with pytest.raises(DataError):
        mean_exposure(constant, 0.0)


def test_a_switch_that_makes_no_sense_raises():
    with pytest.raises(DataError, match="switched"):
        constant_exposure(1, 5.0, 4.0)
    with pytest.raises(DataError, match="switched"):
        constant_exposure(1, np.nan, 4.0)
