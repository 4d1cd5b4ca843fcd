"""What the README says is true: its session runs, its commands and links exist."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest
import xarray as xr

import bayes_isa as bi
from bayes_isa.cli import app
from bayes_isa.data.examples import load_example_truth

SampledNear = Callable[..., xr.DataTree]
mpl.use("Agg")
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks() -> list[str]:
    """The README's Python: the session, and the checks and comparison that follow it."""
    found = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(found) == 2
    return [str(block) for block in found]


def session() -> str:
    return blocks()[0]


def test_the_session_runs_but_for_the_sampling(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    sampled_near_the_truth: SampledNear,
) -> None:
    """Sampling and the model it needs take minutes; the slow test below runs them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bi, "build_model", lambda trial, priors, spec: (trial, priors, spec))
    trial, truth = bi.load_example("virtual_rrmm"), load_example_truth("virtual_rrmm")
    monkeypatch.setattr(bi, "fit", lambda model, *, seed: sampled_near_the_truth(trial, truth))
    reported = []
    monkeypatch.setattr(bi, "write_report", lambda fit, sims, *, out: reported.append((fit, sims, out)))
    text = session().replace("n_trials=200", "n_trials=3")
    assert "n_trials=3" in text
    exec(text, {})
    assert (tmp_path / "pfs.png").read_bytes().startswith(b"\x89PNG")
    assert bi.load_fit(tmp_path / "fit.nc")["posterior"].sizes["patient"] == 201
    assert "hazard_ratio" in capsys.readouterr().out
    assert [out for *_, out in reported] == ["report.html"]  # what it holds: tests/report


def test_the_checks_run_but_for_the_sampling_and_the_integrals(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    sampled_near_the_truth: SampledNear,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bi, "build_model", lambda trial, priors, spec: (trial, priors, spec))
    monkeypatch.setattr(bi, "fit", lambda model, *, seed: None)
    monkeypatch.setattr(bi, "compare_models", lambda models: sorted(models))
    text = blocks()[1].replace("seed=3)", "n_replicates=10, seed=3)")
    assert "n_replicates=10" in text
    small = bi.draw_virtual_trial(24, seed=4)
    fit = sampled_near_the_truth(small.trial, small.truth, n_draws=30)
    exec(text, {"bi": bi, "fit": fit, "trial": small.trial})
    for name in ("vpc", "km_vpc", "residuals", "individuals", "prior_sensitivity"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "['none', 'slope']" in capsys.readouterr().out


@pytest.mark.slow
def test_the_session_runs_as_it_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    exec(session(), {})
    assert (tmp_path / "pfs.png").is_file()
    assert (tmp_path / "report.html").is_file()


def test_every_verb_and_option_shown_exists() -> None:
    from typer.main import get_command

    verbs = get_command(app).commands  # type: ignore[attr-defined]
    for line in re.findall(
        r"^.*bayes-isa (\w[\w-]* ?.*)$", "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)), re.M
    ):
        verb, *rest = line.split("#")[0].split()
        assert verb in verbs, line
        options = {option for parameter in verbs[verb].params for option in parameter.opts}
        assert {word for word in rest if re.match(r"--?[a-z]", word)} <= options, line


def test_every_local_link_exists() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_the_columns_shown_are_those_read() -> None:
    from bayes_isa.data.schema import SCHEMA

    for table, columns in SCHEMA.items():
        (row,) = re.findall(rf"^\| `{table}.csv` \|(.*)\|$", README, re.M)
        assert set(re.findall(r"`(\w+)`", row)) == {column.name for column in columns} - {"albumin_uln_ratio"}
