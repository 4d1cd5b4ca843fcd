import re
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayes_isa.errors import DataError, RegimenError
from bayes_isa.regimens import PUBLISHED_REGIMENS, SIMULATED_ARMS, STUDY_ARMS, Delay, Reduction, Regimen

from .test_schedule import days, schedules, windows

regimens = st.builds(
    Regimen,
    isatuximab_mg_per_kg=st.one_of(st.sampled_from([3, 5, 10, 20]), st.floats(1e-3, 1e3)),
    schedule=schedules(),
    dexamethasone=st.none() | windows,
    delays=st.lists(st.builds(Delay, days, st.floats(0.1, 100)), max_size=2).map(tuple),
    missed=st.lists(st.integers(1, 99), max_size=3).map(tuple),
    reductions=st.lists(st.builds(Reduction, days, st.floats(0.01, 0.99)), max_size=2).map(tuple),
)


def doses(name, weight=70.0, age=60.0, until=85.0):
    return Regimen.parse(name).doses(["a"], weight, age, until)


def isatuximab(table):
    return table[table["drug"] == "isatuximab"]


def dexamethasone(table):
    return table[table["drug"] == "dexamethasone"]


@given(regimens)
def test_regimens_read_what_they_print(regimen):
    name = str(regimen)
    assert Regimen.parse(name) == regimen
    assert str(Regimen.parse(name)) == name
    assert Regimen.parse(f"  {name.lower()} ") == regimen


@pytest.mark.parametrize("name", PUBLISHED_REGIMENS)
def test_published_names_are_canonical(name):
    assert str(PUBLISHED_REGIMENS[name]) == name


@pytest.mark.parametrize("name", PUBLISHED_REGIMENS)
def test_the_published_name_is_suggested_for_one_that_is_nearly_it(name):
    with pytest.raises(RegimenError, match=re.escape(f"did you mean {name!r}")):
        Regimen.parse(name.replace("mg/kg", "mg_kg"))


def test_published_regimens_are_those_of_study_and_simulations():
    assert set(PUBLISHED_REGIMENS) == set(STUDY_ARMS) | set(SIMULATED_ARMS)
    with pytest.raises(TypeError):
        PUBLISHED_REGIMENS["mine"] = None


def test_reading_is_lenient():
    assert Regimen.parse("20mg/kg qw-q2w+dex") == PUBLISHED_REGIMENS["20 mg/kg QW-Q2W + dex"]
    assert str(Regimen.parse("10.0 mg/kg Q1W + dexamethasone 0-12wk")) == "10 mg/kg QW + dex 0-3mo"


def test_doses_of_a_published_arm():
    table = doses("20 mg/kg QW-Q2W + dex")
    assert list(table.columns) == ["id", "drug", "day", "amount_mg", "duration_h"]
    isa, dexa = isatuximab(table), dexamethasone(table)
    assert list(isa["day"]) == [0, 7, 14, 21, 28, 42, 56, 70, 84]
    assert set(isa["amount_mg"]) == {1400.0}
    assert list(isa["duration_h"]) == [3.7, 1.85] + [1.25] * 7
    assert list(dexa["day"]) == list(range(0, 85, 7))
    assert set(dexa["amount_mg"]) == {40.0}
    assert set(dexa["duration_h"]) == {0.0}
    assert table["day"].is_monotonic_increasing


def test_each_patient_has_their_own_weight_age_and_end():
    table = Regimen.parse("10 mg/kg Q2W + dex").doses([7, 3], [50.0, 80.0], [75.0, 74.9], [15.0, 7.0])
    assert list(table["id"]) == [7] * 5 + [3] * 2
    by_id = table.groupby(["id", "drug"])["amount_mg"].unique().explode().to_dict()
    assert by_id == {
        (7, "isatuximab"): 500.0,
        (7, "dexamethasone"): 20.0,
        (3, "isatuximab"): 800.0,
        (3, "dexamethasone"): 40.0,
    }


def test_dexamethasone_stops():
    assert dexamethasone(doses("20 mg/kg QW-Q2W + dex 0-2mo"))["day"].max() == 49
    late = dexamethasone(doses("20 mg/kg QW-Q2W + dex from 2mo"))
    assert list(late["day"]) == [56, 63, 70, 77, 84]
    assert not Regimen.parse("20 mg/kg QW-Q2W").has_dexamethasone
    assert Regimen.parse("20 mg/kg QW-Q2W + dex").has_dexamethasone


def test_modifiers():
    regimen = (
        Regimen.parse("10 mg/kg QW-Q2W + dex")
        .with_delay(7, from_day=28)
        .without_doses([2, 4])
        .with_reduction(0.5, from_day=21)
        .with_reduction(0.5, from_day=56)
    )
    assert str(regimen) == (
        "10 mg/kg QW-Q2W + dex, delay 1wk from 1mo, miss 2 4, reduce 0.5 from 3wk, reduce 0.5 from 2mo"
    )
    table = regimen.doses(["a"], 100.0, 60.0, 70.0)
    isa = isatuximab(table)
    assert list(isa["day"]) == [0, 14, 35, 49, 63]
    assert list(isa["amount_mg"]) == [1000, 1000, 500, 500, 250]
    assert list(isa["duration_h"]) == [3.7, 1.85, 1.25, 1.25, 1.25]
    assert list(dexamethasone(table)["day"]) == [0, 7, 14, 21, 35, 42, 49, 56, 63]


@given(regimens, st.floats(0, 400))
def test_doses_stop_in_time_and_come_in_order(regimen, until):
    table = regimen.doses(["a", "b"], [60.0, 90.0], [50.0, 80.0], [until, until / 2])
    for name, end in (("a", until), ("b", until / 2)):
        own = table[table["id"] == name]
        assert (own["day"] < end).all()
        assert own["day"].is_monotonic_increasing
    assert (table["amount_mg"] > 0).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("0 mg/kg Q2W", "positive"),
        ("-3 mg/kg Q2W", "positive"),
        ("1e mg/kg Q2W", "not a number"),
        ("20 mg/kg QW-2W", "did you mean QW-Q2W"),
        ("20 mg/kg Q-2W", "positive"),
        ("20 QW-Q2W", "not a regimen: did you mean '20 mg/kg QW-Q2W'"),
        ("20 mg QW-Q2W + dex", r"did you mean '20 mg/kg QW-Q2W \+ dex'"),
        ("twenty", r"write one such as '20 mg/kg QW-Q2W \+ dex 0-6mo'"),
        ("20 mg/kg QW-Q2W + pomalidomide", "not a regimen"),
        ("20 mg/kg QW-Q2W, double", "not a modifier"),
        ("20 mg/kg QW-Q2W, miss 0", "counted from 1"),
        ("20 mg/kg QW-Q2W, reduce 1.5 from 1mo", "between 0 and 1"),
        ("20 mg/kg QW-Q2W, delay 0d from 1mo", "positive"),
        ("20 mg/kg QW-Q2W, delay 1wk from -1mo", "delay"),
    ],
)
def test_regimens_that_make_no_sense(name, message):
    with pytest.raises(RegimenError, match=message):
        Regimen.parse(name)


def test_patients_that_make_no_sense():
    regimen = Regimen.parse("20 mg/kg QW-Q2W + dex")
    with pytest.raises(DataError) as caught:
        regimen.doses(["a", "b"], [np.nan, 0.0], [60.0, np.nan], [10.0, np.inf])
    assert len(caught.value.problems) == 4
    alone = Regimen.parse("20 mg/kg QW-Q2W").doses(["a"], 70.0, np.nan, 10.0)
    assert len(alone) == 2


def test_no_patients():
    table = Regimen.parse("20 mg/kg QW-Q2W + dex").doses([], [], [], 100.0)
    assert isinstance(table, pd.DataFrame)
    assert len(table) == 0


def test_five_thousand_patients_are_quick():
    ids = np.arange(5000)
    start = time.perf_counter()
    table = Regimen.parse("20 mg/kg QW-Q2W + dex").doses(ids, 70.0, 60.0 + ids % 30, 608.75)
    assert time.perf_counter() - start < 5
    assert len(table) == 5000 * (46 + 87)
