"""The report's part on the data: what the checks warned of."""

from __future__ import annotations

from dataclasses import replace

from bayes_isa.errors import Problem
from bayes_isa.report.data_part import data_section
from bayes_isa.report.document import Bullets
from bayes_isa.simulation.virtual_trial import draw_virtual_trial


def test_warnings_of_one_kind_make_one_line_that_counts_all() -> None:
    trial = draw_virtual_trial(3, seed=1).trial
    doses = [Problem(f"dose of {n} mg", "Check the unit", file="doses.csv", row=n) for n in range(8)]
    warned = replace(trial, warnings=(*doses, Problem("no event in arm 'A'")))
    (found,) = [b for b in data_section(warned, (), {}).blocks if isinstance(b, Bullets)]
    first, second = found.items
    assert first.startswith("doses.csv, row 0: dose of 0 mg; ")
    assert first.endswith("row 4: dose of 4 mg; and 3 more of this kind. Check the unit")
    assert second == "no event in arm 'A'"
