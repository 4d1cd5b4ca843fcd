"""M-protein series: a panel per arm, values below the limit and events marked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayes_isa.data import Trial, trial_from_tables
from bayes_isa.plots.plot_mprotein import plot_mprotein


@pytest.fixture
def trial() -> Trial:
    """Three patients in two arms, one value below its limit, two events."""
    patients = pd.DataFrame(
        {"id": ["1", "2", "3"], "arm": ["20 mg/kg Q2W", "20 mg/kg Q2W", "3 mg/kg Q2W"], "igg": [1, 1, 0]}
    )
    doses = pd.DataFrame(
        {"id": ["1", "2", "3"], "drug": "isatuximab", "day": 0.0, "amount_mg": 700.0, "duration_h": 3.7}
    )
    mprotein = pd.DataFrame(
        {
            "id": ["1", "1", "2", "2", "3", "3"],
            "day": [0.0, 28.0, 0.0, 28.0, 0.0, 28.0],
            "value_g_per_l": [30.0, 20.0, 10.0, 0.5, 40.0, 45.0],
            "lloq_g_per_l": 0.5,
            "below_lloq": [0, 0, 0, 1, 0, 0],
        }
    )
    pfs = pd.DataFrame({"id": ["1", "2", "3"], "day": [35.0, 84.0, 14.0], "event": [1, 0, 1]})
    return trial_from_tables(patients, doses, mprotein, pfs, name="three")


def panels(trial: Trial) -> dict[str, dict[str, np.ndarray]]:
    """Points of each panel, in weeks and g/L, by their marker."""
    figure = plot_mprotein(trial)
    found = {}
    for ax in figure.axes:
        if ax.get_visible():
            found[ax.get_title()] = {str(line.get_marker()): line.get_xydata() for line in ax.get_lines()}
            assert ax.get_yscale() == "log"
    return found


def test_a_panel_for_each_arm_by_amount(trial: Trial) -> None:
    assert list(panels(trial)) == ["3 mg/kg Q2W (n = 1)", "20 mg/kg Q2W (n = 2)"]


def test_values_below_the_limit_are_marked(trial: Trial) -> None:
    drawn = panels(trial)
    np.testing.assert_array_equal(drawn["20 mg/kg Q2W (n = 2)"]["v"], [[4.0, 0.5]])
    assert drawn["3 mg/kg Q2W (n = 1)"]["v"].size == 0


def test_events_are_marked_at_the_last_value_before(trial: Trial) -> None:
    drawn = panels(trial)
    np.testing.assert_array_equal(drawn["20 mg/kg Q2W (n = 2)"]["x"], [[5.0, 20.0]])
    np.testing.assert_array_equal(drawn["3 mg/kg Q2W (n = 1)"]["x"], [[2.0, 40.0]])


def test_axes_have_units(trial: Trial) -> None:
    figure = plot_mprotein(trial)
    assert "weeks" in figure.get_supxlabel()
    assert "g/L" in figure.get_supylabel()


def test_a_trial_without_arms_is_one_panel(trial: Trial) -> None:
    one = Trial(trial.patients.drop(columns="arm"), trial.doses, trial.mprotein, trial.pfs, name="three")
    assert list(panels(one)) == ["three (n = 3)"]
