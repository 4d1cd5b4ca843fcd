"""Potential follow-up and the planned visits: own where known, the trial's censoring elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayes_isa.data import Trial
from bayes_isa.errors import DataError
from bayes_isa.prediction.follow_up import doses_to, draw_follow_up, known_follow_up, planned_schedule


def test_follow_up_of_the_censored_is_their_own(virtual) -> None:
    trial: Trial = virtual.trial
    known = known_follow_up(trial, None)
    event = trial.pfs["event"].to_numpy()
    np.testing.assert_array_equal(known[~event], trial.pfs["day"].to_numpy()[~event])
    assert np.isnan(known[event]).all()


def test_follow_up_beyond_events_is_drawn_from_the_censoring_distribution(virtual) -> None:
    trial: Trial = virtual.trial
    day, event = trial.pfs["day"].to_numpy(), trial.pfs["event"].to_numpy()
    rng = np.random.default_rng(1)
    draws = np.array([draw_follow_up(trial, known_follow_up(trial, None), rng) for _ in range(2000)])
    assert (draws >= day).all()
    allowed = {*day[~event], day.max(), *day[event]}
    assert set(np.unique(draws)) <= allowed
    # Whose event came first has seen nothing of the censoring yet: its draws follow the whole distribution.
    from lifelines import KaplanMeierFitter

    first = int(np.argmin(np.where(event, day, np.inf)))
    reverse = KaplanMeierFitter().fit(day, ~event)
    for at in np.quantile(day[~event], [0.25, 0.5, 0.75]):
        expected = float(np.ravel(reverse.predict(at))[0])
        sd = np.sqrt(expected * (1 - expected) / 2000)
        assert np.mean(draws[:, first] > at) == pytest.approx(expected, abs=4 * sd + 0.5 / 36)


def test_follow_up_given_is_taken_and_checked(virtual) -> None:
    trial: Trial = virtual.trial
    given = pd.Series(900.0, index=trial.patients.index)
    event = trial.pfs["event"].to_numpy()
    known = known_follow_up(trial, given)
    assert (known[event] == 900.0).all()
    np.testing.assert_array_equal(known[~event], trial.pfs["day"].to_numpy()[~event])
    with pytest.raises(DataError, match="shorter than observed"):
        known_follow_up(trial, given * 0.0)


def test_visits_go_on_every_four_weeks_where_progression_stopped_them(virtual) -> None:
    trial: Trial = virtual.trial
    schedule = planned_schedule(trial, known_follow_up(trial, None))
    event, day = trial.pfs["event"].to_numpy(), trial.pfs["day"].to_numpy()
    assert (np.diff(schedule.offset) == np.bincount(schedule.patient)).all()
    for i in range(trial.n_patients):
        own = slice(schedule.offset[i], schedule.offset[i + 1])
        days, source = schedule.day[own], schedule.source[own]
        assert (np.diff(days) > 0.0).all()
        assert schedule.baseline[own].sum() == 1
        assert schedule.baseline[own][0]
        if event[i]:
            assert days[source >= 0].max() < day[i]
            np.testing.assert_allclose(np.diff(days), 28.0)
            assert schedule.horizon_day[i] - 28.0 < days.max() <= schedule.horizon_day[i]
        else:
            assert (source >= 0).all()


def test_a_drug_stopped_early_stays_stopped(virtual) -> None:
    trial: Trial = virtual.trial
    horizon = np.full(trial.n_patients, 700.0)
    doses = doses_to(trial, horizon)
    assert len(doses) > len(trial.doses)
    assert doses["day"].max() <= 700.0
    patient = str(trial.pfs["day"].idxmax())
    early = trial.doses[(trial.doses["id"] != patient) | (trial.doses["day"] < 60.0)]
    from dataclasses import replace

    stopped = doses_to(replace(trial, doses=early.reset_index(drop=True)), horizon)
    assert stopped.loc[stopped["id"] == patient, "day"].max() < 60.0
