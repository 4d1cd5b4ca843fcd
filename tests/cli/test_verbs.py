"""The other verbs, on a fit far too short to be used: what matters here is what is said, written and returned."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayes_isa.cli.inputs import read_data, with_covariates
from bayes_isa.errors import BayesIsaWarning
from bayes_isa.inference.diagnose import diagnose
from bayes_isa.inference.storage import FORMAT, load_fit, spec_of, trial_of
from bayes_isa.kernels.hazard import HAZARDS, LINKS
from bayes_isa.model.priors import available_priors
from bayes_isa.model.spec import EXPOSURES, RANDOM_EFFECTS, RESIDUALS, ModelSpec
from bayes_isa.simulation.chunks import open_trials
from bayes_isa.simulation.virtual_trial import draw_virtual_trial

from .conftest import Cli

VERBS = ("quickstart", "check", "fit", "diagnose", "compare", "reproduce", "report", "virtual-trial")
RANDOM_VERBS = ("quickstart", "fit", "compare", "reproduce", "report", "virtual-trial")
REGIMENS = ("-r", "10 mg/kg QW-Q2W", "-r", "20 mg/kg QW-Q2W")


@pytest.fixture(scope="module")
def virtual(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with eight virtual patients."""
    directory = tmp_path_factory.mktemp("virtual")
    result = cli("virtual-trial", "--out", directory, "--n", 8, "--seed", 3)
    assert result.exit_code == 0
    assert "8 patients" in result.stdout
    return directory


@pytest.fixture(scope="module")
def fit_file(cli: Cli, virtual: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit of 2 x 50 draws, too short to pass any diagnostics."""
    file = tmp_path_factory.mktemp("fit") / "fit.nc"
    short = ("--chains", 2, "--draws", 50, "--tune", 50, "--seed", 1)
    result = cli("fit", virtual, "--out", file, "--exposure", "constant", *short)
    assert result.exit_code == 0, result.output
    assert "KL_pop" in result.stdout
    assert "1/day" in result.stdout
    assert "DIAGNOSTICS FAILED" in result.stderr
    assert str(file) in result.stderr
    return file


@pytest.fixture(scope="module")
def imputed_file(cli: Cli, virtual: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of the trial without two patients' albumin, which is imputed."""
    directory = tmp_path_factory.mktemp("imputed")
    shutil.copytree(virtual, directory / "data")
    patients = pd.read_csv(directory / "data" / "patients.csv", dtype={"id": str})
    patients.loc[[1, 4], "albumin_g_per_l"] = np.nan
    patients.to_csv(directory / "data" / "patients.csv", index=False)
    file = directory / "fit.nc"
    short = ("--chains", 2, "--draws", 50, "--tune", 50, "--seed", 1)
    model = ("--exposure", "constant", "--missing-covariates", "impute")
    result = cli("fit", directory / "data", "--out", file, *model, *short)
    assert result.exit_code == 0, result.output
    return file


# Help ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_units_an_example_and_json(cli: Cli, verb: str) -> None:
    result = cli(verb, "--help")
    assert result.exit_code == 0
    assert f"bayes-isa {verb}" in result.stdout
    assert "Example:" in result.stdout
    assert "--json" in result.stdout
    assert ("--seed" in result.stdout) == (verb in RANDOM_VERBS)


def test_help_names_every_choice(cli: Cli) -> None:
    text = " ".join(cli("fit", "--help").stdout.split())
    for choice in (*LINKS, *HAZARDS, *EXPOSURES, *RESIDUALS, *RANDOM_EFFECTS, *available_priors()):
        assert choice in text


def test_help_explains_exit_codes_and_lists_the_verbs(cli: Cli) -> None:
    text = cli("--help").stdout
    assert "Exit codes" in text
    for verb in VERBS:
        assert verb in text


def test_no_arguments_show_the_help(cli: Cli) -> None:
    result = cli()
    assert result.exit_code == 2
    assert "Commands" in result.output


# Wrong usage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--link", "slop"], "did you mean 'slope'"),
        (["--hazard", "weibul"], "did you mean 'weibull'"),
        (["--exposure", "PKPD"], "expected one of pk, kpd, constant"),
        (["--residual", "student"], "did you mean 'student_t'"),
        (["--random-effects", "correlate"], "did you mean 'correlated'"),
        (["--missing-covariates", "imput"], "did you mean 'impute'"),
        (["--coordinates", "centred"], "did you mean 'centered'"),
        (["--priors", "weakly_informativ"], "weakly_informative"),
        (["--priors", "nowhere/own.toml"], "There is no prior file"),
        (["--chains", "0"], "--chains"),
        (["--draws", "many"], "--draws"),
        (["--sed", "1"], "--seed"),
        (["--target-accept", "1.5"], "--target-accept"),
    ],
)
def test_a_wrong_option_is_wrong_usage(
    cli: Cli, virtual: Path, tmp_path: Path, options: list[str], fragment: str
) -> None:
    result = cli("fit", virtual, "--out", tmp_path / "fit.nc", *options)
    assert result.exit_code == 2
    assert fragment in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_choice_of_the_model_reaches_it(
    cli: Cli, virtual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bayes_isa.cli import fitting

    asked = []

    def instead(
        trial: object, priors: object, spec: object, *rest: object, **options: object
    ) -> tuple[None, None]:
        asked.append(spec)
        return None, None

    monkeypatch.setattr(fitting, "fit_and_save", instead)
    monkeypatch.setattr(fitting, "print_fit", lambda *arguments, **options: None)
    choices = {
        "exposure": "kpd",
        "link": "value",
        "hazard": "weibull",
        "residual": "student_t",
        "random_effects": "correlated",
        "missing_covariates": "impute",
        "coordinates": "mixed",
    }
    options = [part for name, value in choices.items() for part in (f"--{name.replace('_', '-')}", value)]
    result = cli("fit", virtual, "--out", tmp_path / "fit.nc", *options)
    assert result.exit_code == 0, result.output
    assert {name: getattr(asked[0], name) for name in choices} == choices


@pytest.mark.slow  # another model to compile
def test_missing_covariates_are_imputed_when_asked(cli: Cli, imputed_file: Path) -> None:
    fit = load_fit(imputed_file)
    assert spec_of(fit).missing_covariates == "impute"
    imputed = fit["posterior"]["imputed_log_albumin"]
    assert imputed["patient_without_log_albumin"].to_numpy().tolist() == ["002", "005"]
    assert imputed.attrs["units"] == "log(serum albumin / median)"
    assert (imputed.std(("chain", "draw")) > 0.0).all()
    told = cli("diagnose", imputed_file)
    assert "covariate_sd_log_albumin" in told.output
    assert "imputed_log_albumin" not in told.output  # an individual's: one bound for all


def test_an_unknown_verb_is_wrong_usage(cli: Cli) -> None:
    result = cli("chek")
    assert result.exit_code == 2
    assert "check" in result.stderr


@pytest.mark.parametrize(
    ("regimens", "fragment"),
    [
        (["-r", "20mg"], "'20mg' is not a regimen"),
        (["-r", "20 mg/kg QW-Q2"], "did you mean QW-Q2W"),
        (["-r", "20 mg/kg QW-Q2W", "--reference", "10 mg/kg QW-Q2W"], "was not simulated"),
        (["-r", "20 mg/kg QW-Q2W", "-r", "20  mg/kg qw-q2w"], "more than once"),
        (["-r", "20 mg/kg QW-Q2W", "--plot", "curves.xlsx"], ".png, .pdf, .svg"),
        ([], "--regimen"),
    ],
)
def test_a_wrong_regimen_is_wrong_usage(cli: Cli, tmp_path: Path, regimens: list[str], fragment: str) -> None:
    result = cli("compare", tmp_path / "fit.nc", *regimens)
    assert result.exit_code == 2
    assert fragment in result.stderr


# Files --------------------------------------------------------------------------------------------------------------


def test_a_place_that_cannot_be_written_is_told_first(cli: Cli, virtual: Path, tmp_path: Path) -> None:
    result = cli("fit", virtual, "--out", tmp_path / "nowhere" / "fit.nc")
    assert result.exit_code == 1
    assert "no such directory" in result.stderr
    result = cli("fit", virtual, "--out", tmp_path)
    assert result.exit_code == 1
    assert "found a directory" in result.stderr


@pytest.mark.parametrize("verb", ["virtual-trial", "quickstart"])
def test_a_directory_that_cannot_be_made(cli: Cli, tmp_path: Path, verb: str) -> None:
    (tmp_path / "file").write_text("in the way")
    result = cli(verb, "--out", tmp_path / "file" / "results")
    assert result.exit_code == 1
    assert "file" in result.stderr


def test_bad_data_stops_a_fit(cli: Cli, data: Path, tmp_path: Path) -> None:
    (data / "pfs.csv").write_text("id,day,event\n001,-5,1\n002,10,1\n")
    result = cli("fit", data, "--out", tmp_path / "fit.nc")
    assert result.exit_code == 1
    assert "pfs.csv, row 2, patient 001" in result.stderr
    assert result.stdout == ""


def test_data_without_pharmacokinetics_say_what_to_do(cli: Cli, data: Path, tmp_path: Path) -> None:
    result = cli("fit", data, "--out", tmp_path / "fit.nc")
    assert result.exit_code == 1
    assert "constant" in result.stderr


@pytest.mark.parametrize("verb", ["diagnose", "compare"])
def test_a_file_that_is_no_fit(cli: Cli, tmp_path: Path, verb: str) -> None:
    options = REGIMENS if verb == "compare" else ()
    missing = cli(verb, tmp_path / "fit.nc", *options)
    assert (missing.exit_code, "no such file" in missing.stderr) == (1, True)
    (tmp_path / "text.nc").write_text("text")
    text = cli(verb, tmp_path / "text.nc", *options)
    assert (text.exit_code, "expected a netCDF file" in text.stderr) == (1, True)
    xr.Dataset({"x": ("a", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    other = cli(verb, tmp_path / "other.nc", *options)
    assert (other.exit_code, "not a fit" in other.stderr) == (1, True)


def test_the_same_seed_writes_the_same_virtual_trial(cli: Cli, virtual: Path, tmp_path: Path) -> None:
    for name, seed in (("same", 3), ("other", 4)):
        cli("virtual-trial", "--out", tmp_path / name, "--n", 8, "--seed", seed)
    for file in ("patients.csv", "doses.csv", "mprotein.csv", "pfs.csv", "truth.json"):
        assert (tmp_path / "same" / file).read_bytes() == (virtual / file).read_bytes()
    assert (tmp_path / "other" / "pfs.csv").read_bytes() != (virtual / "pfs.csv").read_bytes()


# Fit, diagnose, compare ---------------------------------------------------------------------------------------------


def test_a_fit_file_can_be_used_alone(fit_file: Path) -> None:
    fit = load_fit(fit_file)
    assert dict(fit["posterior"].sizes) | {"chain": 2, "draw": 50, "patient": 8} == dict(
        fit["posterior"].sizes
    )
    assert trial_of(fit).n_patients == 8
    assert spec_of(fit).exposure == "constant"
    assert fit.attrs["seed"] == 1


def test_covariates_are_chosen_by_name(data: Path) -> None:
    trial, spec = read_data(data), ModelSpec(covariate_prior="horseshoe")
    assert with_covariates(spec, trial, "published") is spec
    assert with_covariates(spec, trial, "none").covariates == {}
    with pytest.warns(BayesIsaWarning, match="non_igg"):
        chosen = with_covariates(spec, trial, "all")
    assert chosen.covariates["KL"] == ("log_albumin",)  # in three patients everything correlates with it
    assert chosen.covariate_prior == "horseshoe"


def test_an_unknown_covariate_prior_is_wrong_usage(cli: Cli, data: Path, tmp_path: Path) -> None:
    result = cli("fit", data, "--out", tmp_path / "fit.nc", "--covariate-prior", "horsehoe")
    assert result.exit_code == 2
    assert "did you mean 'horseshoe'" in result.stderr


def test_diagnose_fails_a_short_fit(cli: Cli, fit_file: Path) -> None:
    result = cli("diagnose", fit_file)
    assert result.exit_code == 1
    assert "DIAGNOSTICS FAILED" in result.stdout
    assert "KL_pop" in result.stdout
    result = cli("diagnose", fit_file, "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["ok"] is False
    assert document["failures"]
    assert {row["parameter"] for row in document["parameters"]} >= {"KL_pop", "omega_KL", "Te"}


def test_diagnose_passes_a_sound_fit(cli: Cli, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    dims = ("chain", "draw")
    posterior = xr.Dataset({"KL_pop": (dims, rng.normal(size=(4, 500)), {"units": "1/day"})})
    stats = xr.Dataset({"diverging": (dims, np.zeros((4, 500), dtype=bool))})
    fit = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})
    fit.attrs["bayes_isa_format"] = FORMAT
    fit.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    result = cli("diagnose", tmp_path / "fit.nc")
    assert result.exit_code == 0
    assert "Diagnostics passed" in result.stdout


def test_compare_refuses_a_fit_that_failed(cli: Cli, fit_file: Path) -> None:
    result = cli("compare", fit_file, *REGIMENS)
    assert result.exit_code == 1
    assert "--allow-unconverged" in result.stderr
    assert result.stdout == ""


def test_compare_writes_what_it_is_asked_for(cli: Cli, fit_file: Path, tmp_path: Path) -> None:
    files = {"--out": tmp_path / "sims.nc", "--csv": tmp_path / "table.csv", "--plot": tmp_path / "pfs.png"}
    options = [argument for pair in files.items() for argument in pair]
    result = cli("compare", fit_file, *REGIMENS, "--trials", 5, "--allow-unconverged", *options)
    assert result.exit_code == 0, result.output
    assert "DIAGNOSTICS FAILED" in result.stderr
    assert "reference: 10 mg/kg QW-Q2W" in result.stdout
    with files["--csv"].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["regimen"] for row in rows} == {"10 mg/kg QW-Q2W", "20 mg/kg QW-Q2W"}
    sims = xr.load_dataset(files["--out"], engine="h5netcdf")
    assert sims.sizes["trial"] == 5
    assert files["--plot"].read_bytes().startswith(b"\x89PNG")


def test_compare_streams_to_a_store_and_resumes(cli: Cli, fit_file: Path, tmp_path: Path) -> None:
    store = tmp_path / "sims.zarr"
    options = ("--trials", 3, "--allow-unconverged", "--json", "--out", store)
    first = cli("compare", fit_file, *REGIMENS, *options)
    assert first.exit_code == 0
    assert open_trials(store).sizes["trial"] == 3
    assert cli("compare", fit_file, *REGIMENS, *options).stdout == first.stdout
    other = cli("compare", fit_file, *REGIMENS, *options, "--seed", 2)
    assert other.exit_code == 1
    assert "simulated with other arguments" in other.stderr


def test_compare_as_json_is_reproducible(cli: Cli, fit_file: Path) -> None:
    options = ("--trials", 3, "--allow-unconverged", "--reference", "20 mg/kg QW-Q2W", "--json", "--seed", 9)
    first, second = (cli("compare", fit_file, *REGIMENS, *options) for _ in range(2))
    assert first.exit_code == 0, first.output
    document = json.loads(first.stdout)
    assert document["reference"] == "20 mg/kg QW-Q2W"
    assert {row["quantity"] for row in document["table"]} >= {"median_pfs", "hazard_ratio"}
    assert first.stdout == second.stdout


# Report -------------------------------------------------------------------------------------------------------------


def test_report_of_a_fit_and_its_trials(cli: Cli, fit_file: Path, tmp_path: Path) -> None:
    """A fit that failed, with constant exposure, is reported all the same, and as failed."""
    sims, out = tmp_path / "sims.nc", tmp_path / "report.html"
    made = cli("compare", fit_file, *REGIMENS, "--trials", 3, "--allow-unconverged", "--out", sims)
    assert made.exit_code == 0, made.output
    wrong = cli("report", fit_file, sims, "--out", out, "--reference", "5 mg/kg Q2W")
    assert wrong.exit_code == 2
    assert "was not simulated" in wrong.stderr
    few = ("--individuals", 1, "--replicates", 3)
    result = cli("report", fit_file, sims, "--out", out, *few, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"file": str(out), "seed": 1}
    text = out.read_text(encoding="utf-8")
    assert "convergence checks" in text
    assert "FAILED" in text
    assert 'id="regimens"' in text


def test_quickstart_ends_with_the_report_and_a_line_for_each_regimen(
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sampled_near_the_truth: Callable[..., xr.DataTree],
) -> None:
    """Without sampling, and without the report, which has tests of its own."""
    small = draw_virtual_trial(12, seed=4)
    fit = sampled_near_the_truth(small.trial, small.truth)
    written = []
    quickstart = "bayes_isa.cli.quickstart"
    monkeypatch.setattr(f"{quickstart}.load_example", lambda _: small.trial)
    monkeypatch.setattr(f"{quickstart}.fit_and_save", lambda *_, **__: (fit, diagnose(fit)))
    monkeypatch.setattr(f"{quickstart}.load_fit", lambda _: fit)
    monkeypatch.setattr(f"{quickstart}.report_and_write", lambda *given, **_: written.append(given[2]))
    result = cli("quickstart", "--out", tmp_path, "--trials", 3)
    assert result.exit_code == 0, result.output
    assert written == [tmp_path / "report.html"]
    *_, path, first, second, third = result.stdout.splitlines()
    assert path == f"Report: {tmp_path / 'report.html'}"
    assert first.startswith("10 mg/kg QW-Q2W: median PFS")
    assert "weeks, a difference of" in second
    assert "longer with probability" in third
    assert (tmp_path / "table.csv").is_file()


def test_report_refuses_what_is_not_there(cli: Cli, fit_file: Path, tmp_path: Path) -> None:
    result = cli("report", fit_file, fit_file, "--out", tmp_path / "r.html")
    assert result.exit_code == 1
    assert "no simulated trials" in result.stderr
    result = cli("report", fit_file, "--out", tmp_path / "absent" / "r.html")
    assert result.exit_code == 1
    assert "no such directory" in result.stderr


# The installed command ----------------------------------------------------------------------------------------------


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bayes_isa", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_version() -> None:
    result = run("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("bayes-isa ")


def test_check_in_a_process_of_its_own(data: Path) -> None:
    result = run("check", data)
    assert (result.returncode, result.stderr) == (0, "")
    (data / "pfs.csv").unlink()
    result = run("check", data)
    assert result.returncode == 1
    assert "pfs.csv: is missing" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["check", "DATA"]])
def test_quick_verbs_do_not_load_pymc(data: Path, arguments: list[str]) -> None:
    arguments = [str(data) if argument == "DATA" else argument for argument in arguments]
    code = (
        "import sys\n"
        "from bayes_isa.cli import app\n"
        f"app({arguments!r}, standalone_mode=False)\n"
        "heavy = {'pymc', 'pytensor', 'numba', 'matplotlib', 'arviz'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_completion_knows_the_verbs() -> None:
    environment = {
        **os.environ,
        "_BAYES_ISA_COMPLETE": "complete_bash",
        "COMP_WORDS": "bayes-isa re",
        "COMP_CWORD": "1",
    }
    command = Path(sys.executable).with_name("bayes-isa")
    result = subprocess.run(
        [command], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert result.stdout.split() == ["reproduce", "report"], result.stderr


@pytest.mark.parametrize(("setting", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_only_on_terminals(tmp_path: Path, setting: dict[str, str], coloured: bool) -> None:
    import pty

    command = [sys.executable, "-m", "bayes_isa", "check", str(tmp_path), "--column", "DV=CONC"]
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment = {**kept, "TERM": "xterm", **setting}
    reader, terminal = pty.openpty()
    subprocess.run(command, stderr=terminal, timeout=120, env=environment, check=False)
    os.close(terminal)
    shown = os.read(reader, 10_000).decode()
    os.close(reader)
    assert ("\x1b[31m" in shown) == coloured
    assert "is a directory" in shown
    piped = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert piped.returncode == 2
    assert "\x1b" not in piped.stderr


def test_a_closed_pipe_is_no_error(data: Path) -> None:
    command = f"{sys.executable} -m bayes_isa check {data} --json | head -c 1"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in result.stderr


# Interrupted --------------------------------------------------------------------------------------------------------


def test_an_interrupt_ends_without_a_traceback(cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bayes_isa.cli.inputs.read_data", interrupted)
    result = cli("check", data)
    assert result.exit_code == 130
    assert "Interrupted" in result.stderr


def test_virtual_trial_seen_at_visits(cli: Cli, tmp_path: Path) -> None:
    result = cli("virtual-trial", "--out", tmp_path, "--n", 4, "--seed", 3, "--pfs-visits")
    assert result.exit_code == 0
    assert (tmp_path / "pfs.csv").read_text().splitlines()[0] == "id,day,event,day_lower,day_upper"
    assert cli("check", tmp_path).exit_code == 0
