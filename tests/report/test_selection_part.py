"""The report's part on covariate selection: the kept effects, strongest first."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from bayes_isa.report.document import Table, Text
from bayes_isa.report.selection_part import selection_section


@pytest.fixture
def found() -> xr.Dataset:
    """Three effects on two targets, two of them kept."""
    effects = {
        "mean": [0.7, 0.0, 0.4],
        "ratio": [2.0, 1.0, 1.5],
        "ratio_low": [1.4, 0.9, 1.1],
        "ratio_high": [2.9, 1.1, 2.0],
        "shrinkage": [0.30, 0.95, 0.10],
        "probability_relevant": [0.99, 0.02, 0.80],
        "kept": [True, False, True],
    }
    targets = {"effective": [0.8, 0.9], "expected": [1.0, 1.0], "candidates": [2, 1]}
    return xr.Dataset(
        {
            **{name: ("effect", np.array(v)) for name, v in effects.items()},
            **{name: ("target", np.array(v)) for name, v in targets.items()},
        },
        coords={
            "effect": ["beta_KL[female]", "beta_KL[igg]", "beta_hazard[female]"],
            "of": ("effect", ["KL", "KL", "hazard"]),
            "covariate": ("effect", ["female", "igg", "female"]),
            "target": ["KL", "hazard"],
        },
        attrs={"keep": "shrinkage", "relevant_ratio": 1.25, "level": 0.9, "spec": json.dumps({})},
    )


def test_kept_effects_are_listed_strongest_first(found: xr.Dataset) -> None:
    blocks = selection_section(found).blocks
    (table,) = (block for block in blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == ["female on hazard", "female on KL"]
    assert table.rows[1][3:] == ["0.70", "99 %"]
    (text,) = (block for block in blocks if isinstance(block, Text))
    assert "All 3 candidate effects" in text.text
    assert "Kept by the rule (more signal than noise, posterior mean of 1 - κ above 1/2): 2." in text.text


def test_nothing_kept_has_no_table(found: xr.Dataset) -> None:
    nothing = found.assign(kept=("effect", np.zeros(3, dtype=bool)))
    assert not any(isinstance(block, Table) for block in selection_section(nothing).blocks)
