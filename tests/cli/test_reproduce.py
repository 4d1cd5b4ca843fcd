"""The verb `reproduce`: exact form of the JSON, a readable table; the simulations themselves are tested elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from bayes_isa.simulation.published_results import PUBLISHED_RESULTS

from .conftest import Cli

KEYS = {
    "population",
    "regimen",
    "quantity",
    "mode",
    "simulated",
    "p5",
    "p95",
    "published",
    "published_p5",
    "published_p95",
}


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The published numbers plus 0.5, instead of minutes of simulation; what was asked for."""
    asked: dict[str, object] = {}

    def replacement(fit: object, **options: object) -> pd.DataFrame:
        asked.update(options, fit=fit)
        rows = []
        for mode in ("held", "fresh"):
            for p in PUBLISHED_RESULTS:
                numbers = {
                    "simulated": p.value + 0.5,
                    "p5": p.value,
                    "p95": p.value + 1.0,
                    "published": p.value,
                }
                printed = {"published_p5": p.p5, "published_p95": p.p95}
                rows.append(
                    {**dict(zip(p._fields[:3], p[:3], strict=True)), "mode": mode, **numbers, **printed}
                )
        return pd.DataFrame(rows)

    monkeypatch.setattr("bayes_isa.cli.reproduce.reproduce", replacement)
    return asked


def test_json(cli: Cli, simulated: dict[str, object], tmp_path: Path) -> None:
    result = cli("reproduce", "--json", "--trials", 3, "--seed", 5, "--csv", tmp_path / "table.csv")
    assert result.exit_code == 0
    assert (simulated["n_trials"], simulated["seed"], simulated["fit"]) == (3, 5, None)
    document = json.loads(result.stdout)
    assert set(document) == {"rows"}
    assert len(document["rows"]) == 2 * len(PUBLISHED_RESULTS)
    for row in document["rows"]:
        assert set(row) == KEYS
        assert row["population"] in ("all", "japanese")
        assert row["mode"] in ("held", "fresh")
        assert row["simulated"] == pytest.approx(row["published"] + 0.5)
        assert (row["published_p5"] is None) == (row["published_p95"] is None)
    assert len(pd.read_csv(tmp_path / "table.csv")) == len(document["rows"])


def test_text(cli: Cli, simulated: dict[str, object]) -> None:
    result = cli("reproduce")
    assert result.exit_code == 0
    assert simulated["n_trials"] == 1000
    assert "All patients" in result.stdout
    assert "Japanese patients" in result.stdout
    (row,) = [line for line in result.stdout.splitlines() if "20.9 (18.8 to 23.1)" in line]
    assert row.split()[-1] == "+0.5"
    assert "20 mg/kg QW-Q2W + dex 0-3mo" in row
    assert "1000 trials at the published estimates" in result.stdout


def test_a_fit_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    result = cli("reproduce", "--fit", tmp_path / "fit.nc")
    assert result.exit_code == 1
    assert "no such file" in result.stderr
