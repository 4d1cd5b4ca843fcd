"""The command as a user types it, and small data sets to give it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bayes_isa.cli import app

Cli = Callable[..., Result]

PATIENTS = """\
id,arm,albumin_g_per_l,weight_kg,igg
001,A,35,70,1
002,A,40,80,0
003,B,30,60,1
"""
DOSES = """\
id,drug,day,amount_mg,duration_h
001,isatuximab,0,700,3.7
001,isatuximab,7,700,1.85
002,isatuximab,0,800,3.7
002,dexamethasone,0,40,0
003,isatuximab,0,600,3.7
"""
MPROTEIN = """\
id,day,value_g_per_l,lloq_g_per_l,below_lloq
001,0,30,0.5,0
001,28,20,0.5,0
001,56,18,0.5,0
002,0,25,0.5,0
002,28,0.5,0.5,1
003,0,40,0.5,0
003,28,45,0.5,0
"""
PFS = """\
id,day,event
001,200,1
002,160,0
003,35,1
"""
TABLES = {"patients": PATIENTS, "doses": DOSES, "mprotein": MPROTEIN, "pfs": PFS}


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Run `bayes-isa` with these arguments; no run may end in a traceback."""

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="bayes-isa")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory with a sound data set of three patients."""
    directory = tmp_path / "mydata"
    directory.mkdir()
    for table, text in TABLES.items():
        (directory / f"{table}.csv").write_text(text, encoding="utf-8")
    return directory


@pytest.fixture
def spoil(data: Path) -> Callable[[str, str, str], Path]:
    """Replace text in one table of the sound data set; gives the directory."""

    def change(table: str, old: str, new: str) -> Path:
        file = data / f"{table}.csv"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")
        return data

    return change
