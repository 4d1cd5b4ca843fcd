from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayes_isa.errors import RegimenError
from bayes_isa.regimens import MONTH_DAYS, Phase, Schedule, Window
from bayes_isa.regimens.schedule import format_time, parse_time

days = st.one_of(
    st.integers(0, 200).map(lambda n: n * 28.0),
    st.integers(0, 800).map(lambda n: n * 7.0),
    st.floats(0, 5000),
)
intervals = st.integers(1, 12)


@st.composite
def schedules(draw):
    starts = sorted({0.0, *draw(st.lists(days, max_size=3))})
    return Schedule(tuple(Phase(draw(intervals), start) for start in starts))


windows = st.one_of(
    st.just(Window()),
    days.map(Window),
    st.tuples(days, days).filter(lambda ab: ab[0] < ab[1]).map(lambda ab: Window(*ab)),
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Q2W", [0, 14, 28, 42, 56, 70, 84]),
        ("QW", list(range(0, 90, 7))),
        ("QW-Q2W", [0, 7, 14, 21, 28, 42, 56, 70, 84]),
        ("Q2W-Q4W", [0, 14, 28, 42, 56, 84]),
        ("QW-Q2W-Q4W@2mo", [0, 7, 14, 21, 28, 42, 56, 84]),
        ("Q2W-Q4W@5wk", [0, 14, 28, 42, 70]),
    ],
)
def test_days_of_named_schedules(name, expected):
    schedule = Schedule.parse(name)
    assert schedule.days(90.0) == expected
    assert str(schedule) == name
    assert schedule.days(14.0) == [day for day in expected if day < 14]
    assert schedule.days(0.0) == []


@given(schedules())
def test_schedules_read_what_they_print(schedule):
    assert Schedule.parse(str(schedule)) == schedule
    assert Schedule.parse(str(schedule).lower()) == schedule


@given(schedules(), st.floats(0, 2000))
def test_doses_are_regular_and_on_time(schedule, until):
    found = schedule.days(until)
    gaps = {(b - a) / 7 for a, b in pairwise(found)}
    assert gaps <= {phase.interval_weeks for phase in schedule.phases}
    assert all(day < until for day in found)
    assert found == schedule.days(2 * until)[: len(found)]


@given(windows)
def test_windows_read_what_they_print(window):
    assert Window.parse(str(window)) == window


@given(days)
def test_times_read_what_they_print(day):
    assert parse_time(format_time(day)) == day


def test_a_first_number_takes_the_unit_of_the_second():
    assert Window.parse("1-3mo") == Window(MONTH_DAYS, 3 * MONTH_DAYS)
    assert Window.parse("4wk-3mo") == Window(28.0, 84.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("QW-2W", "QW-Q2W"),
        ("fortnightly", "did you mean"),
        ("Q0W", "positive"),
        ("Q-2W", "positive"),
        ("QW-Q2W-Q4W", "QW-Q2W-Q4W@6mo"),
        ("Q3W-Q4W", "does not say when"),
        ("Q2W@1mo", "starts on day 0"),
        ("QW-Q2W-Q4W@2wk", "one after the other"),
        ("QW-Q2W@soon", "not a time"),
        ("", "unknown schedule"),
    ],
)
def test_schedules_that_make_no_sense(text, message):
    with pytest.raises(RegimenError, match=message):
        Schedule.parse(text)


@pytest.mark.parametrize("text", ["3", "3-0mo", "from", "0-3", "-1-3mo", "0-3years", "3mo-3mo"])
def test_windows_that_make_no_sense(text):
    with pytest.raises(RegimenError):
        Window.parse(text)
