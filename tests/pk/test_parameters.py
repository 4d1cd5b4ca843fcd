import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayes_isa.errors import DataError
from bayes_isa.pk import PK_PARAMETERS, draw_parameters, typical_parameters
from bayes_isa.pk.parameters import BETWEEN_PATIENT_CV, TYPICAL_VALUES


def test_reference_patient_has_the_typical_values():
    np.testing.assert_allclose(typical_parameters(75.6, 3.90, 1, 0, 0), [TYPICAL_VALUES], rtol=1e-14)


def test_covariates_act_as_published():
    reference = typical_parameters(75.6, 3.90, 1, 0, 0)[0]

    def ratio(name, *covariates, **more):
        return (typical_parameters(*covariates, **more)[0] / reference)[PK_PARAMETERS.index(name)]

    assert ratio("CLinf", 75.6, 7.80, 0, 0, 0) == pytest.approx(2**0.343 * np.exp(-0.751))
    assert ratio("KCL", 75.6, 3.9, 0, 0, 0) == pytest.approx(np.exp(-0.931))
    assert ratio("Vc", 37.8, 3.9, 1, 1, 1, p2f2=1) == pytest.approx(
        0.5**0.472 * np.exp(-0.137 - 0.275 - 0.126)
    )
    assert ratio("Q", 37.8, 3.9, 1, 0, 0) == pytest.approx(0.5**0.477)
    assert ratio("Vp", 37.8, 3.9, 1, 0, 0) == pytest.approx(0.5**0.719)
    assert ratio("CLinf", 37.8, 3.9, 1, 0, 0) == pytest.approx(0.5**0.621)
    for name in ("CLm", "g", "Vm", "Km"):
        assert ratio(name, 40.0, 9.0, 0, 1, 1) == 1.0


def test_every_missing_covariate_is_named():
    with pytest.raises(DataError) as caught:
        typical_parameters([70.0, np.nan, 60.0], [3.0, 4.0, -1.0], [1, 0, 2], 0, 0)
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    assert "weight_kg at position 1" in text
    assert "b2m_mg_per_l at position 2" in text
    assert "igg at position 2" in text


def test_draws_have_the_published_spread():
    typical = np.tile(TYPICAL_VALUES, (40_000, 1))
    drawn = draw_parameters(typical, np.random.default_rng(1))
    cv = np.array(BETWEEN_PATIENT_CV)
    clm = PK_PARAMETERS.index("CLm")
    logs = np.log(np.delete(drawn / typical, clm, axis=1))
    np.testing.assert_allclose(logs.std(axis=0), np.sqrt(np.log1p(np.delete(cv, clm) ** 2)), rtol=0.02)
    np.testing.assert_allclose(logs.mean(axis=0), 0.0, atol=0.02)
    assert drawn[:, clm].mean() == pytest.approx(TYPICAL_VALUES[clm], rel=0.02)
    assert drawn[:, clm].std() == pytest.approx(0.972 * TYPICAL_VALUES[clm], rel=0.02)
    assert abs(np.corrcoef(logs, rowvar=False) - np.eye(8)).max() < 0.03


@given(st.integers(0, 2**32 - 1))
def test_a_seed_fixes_the_draws(seed):
    typical = np.tile(TYPICAL_VALUES, (3, 1))
    first, second = (draw_parameters(typical, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
