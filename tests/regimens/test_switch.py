import pytest

from bayes_isa.errors import RegimenError
from bayes_isa.regimens import Regimen, Switch, parse_regimen

ISA = "20 mg/kg QW-Q2W"


def test_a_switch_says_what_it_is():
    switch = Switch(ISA, "20 mg/kg QW-Q2W-Q4W@6mo", 168.0)
    assert switch.stay == Regimen.parse(ISA)
    assert str(switch) == "20 mg/kg QW-Q2W; in VGPR at 6mo: 20 mg/kg QW-Q2W-Q4W@6mo"
    assert not switch.has_dexamethasone
    assert Switch(f"{ISA} + dex", f"{ISA} + dex 0-3mo", 84.0).has_dexamethasone


@pytest.mark.parametrize("response", ["MR", "PR", "VGPR"])
@pytest.mark.parametrize("day", [84.0, 90.5, 168.0])
def test_switches_read_what_they_print(response, day):
    switch = (
        Switch(f"{ISA} + dex", f"{ISA} + dex 0-13wk", day, response)
        if day < 91
        else Switch(ISA, ISA, day, response)
    )
    assert Switch.parse(str(switch)) == switch
    assert parse_regimen(str(switch).lower().replace("vgpr", "VGPR")) == switch
    assert parse_regimen(ISA) == Regimen.parse(ISA)


@pytest.mark.parametrize(
    "name", ["; in VGPR at 6mo: ", f"{ISA}; then {ISA}", f"{ISA}; in VGPR at soon: {ISA}"]
)
def test_switches_that_do_not_parse(name):
    with pytest.raises(RegimenError):
        parse_regimen(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"switch": "10 mg/kg QW-Q2W"}, "differ before the switch on day 84"),
        ({"switch": f"{ISA} + dex"}, "differ before the switch"),
        ({"switch": f"{ISA} + dex from 2mo"}, "differ before the switch"),
        ({"day": 0.0}, "on a day after 0"),
        ({"day": float("inf")}, "on a day after 0"),
        ({"response": "CR"}, "a response out of MR, PR, VGPR, not 'CR'"),
        ({"switch": "20 mg"}, "not a regimen"),
    ],
)
def test_switches_that_make_no_sense(options, message):
    with pytest.raises(RegimenError, match=message):
        Switch(**({"stay": ISA, "switch": f"{ISA} + dex from 3mo", "day": 84.0} | options))
