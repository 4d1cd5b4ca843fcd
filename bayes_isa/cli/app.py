"""The verbs of `bayes-isa`: options in, one call of the package, result out.

Everything heavy is imported inside the verbs, so that `--help` and `check` answer at once.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bayes_isa.cli.console import (
    EXIT_FAILED,
    VerbGroup,
    error_text,
    grouped,
    print_json,
    problem_dict,
    say,
    usage,
)

app = typer.Typer(
    cls=VerbGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class TimeUnit(StrEnum):
    """Unit of TIME in an event file."""

    day = "day"
    hour = "hour"


class CovariateSet(StrEnum):
    """Which covariates a model has."""

    published = "published"
    all = "all"
    none = "none"


class Population(StrEnum):
    """Whom to simulate."""

    fitted = "fitted"
    resampled = "resampled"
    redrawn = "redrawn"
    new = "new"
    virtual = "virtual"


Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Directory with patients.csv, doses.csv, mprotein.csv and pfs.csv (days, mg, hours, g/L), "
        "or one NONMEM or Monolix event file.",
    ),
]
FitFile = Annotated[
    Path,
    typer.Argument(
        metavar="FIT", help="Fit written by `bayes-isa fit` (netCDF), or the store of an unfinished one."
    ),
]
Unit = Annotated[TimeUnit, typer.Option(help="Unit of TIME, II and RATE in an event file.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column", help="Column or code of an event file, our name=the file's, e.g. DV=CONC. Repeatable."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")]
Unconverged = Annotated[
    bool, typer.Option("--allow-unconverged", help="Use a fit that fails its diagnostics.")
]
Seed = Annotated[int, typer.Option(min=0, help="Random seed; the same seed gives the same result.")]


def main() -> None:
    """Entry point of the command."""
    app(prog_name="bayes-isa")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"bayes-isa {version('bayes-isa')}")
        raise typer.Exit


@app.callback()
def bayes_isa(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Joint models of serum M-protein and progression-free survival under isatuximab.

    Times are days since a patient's first dose, M-protein g/L, doses mg; results in weeks say so.
    Results go to stdout, everything else to stderr; colours on terminals only, and not where NO_COLOR is set.
    Exit codes: 0 success; 1 the data, the fit or a check failed, or a file cannot be read or written; 2 wrong usage,
    such as an unknown option, prior set, link or regimen; 130 interrupted.

    Example: bayes-isa quickstart
    """


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="Directory for the results, made if need be.")] = Path(
        "bayes-isa-quickstart"
    ),
    chains: Annotated[int, typer.Option(min=1, help="Independent chains.")] = 4,
    draws: Annotated[int, typer.Option(min=1, help="Draws kept per chain.")] = 1000,
    tune: Annotated[int, typer.Option(min=1, help="Warm-up draws per chain, thrown away.")] = 500,
    trials: Annotated[int, typer.Option(min=1, help="Simulated trials.")] = 300,
    seed: Seed = 1,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where an earlier call with the same options was cut short."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Do the main job on the built-in data set: fit, diagnose, compare regimens, write the report.

    The data are 201 virtual patients (days, mg, g/L). Writes fit.nc, table.csv (PFS in weeks), pfs.png, mprotein.png
    and report.html. Exit code 1 if the fit fails its diagnostics.

    Example: bayes-isa quickstart --out results/
    """
    from bayes_isa.cli.quickstart import run_quickstart
    from bayes_isa.inference.settings import SamplerSettings

    settings = SamplerSettings(draws, tune, chains, seed)
    run_quickstart(out, settings, trials=trials, resume=resume, as_json=as_json)


@app.command()
def check(data: Data, time_unit: Unit = TimeUnit.day, column: Columns = None, as_json: Json = False) -> None:
    """Check a data set: every problem with its file, row, patient and remedy.

    Times in days since a patient's first dose, M-protein in g/L, doses in mg, infusions in hours, other units in the
    column names. Errors prevent a fit, warnings do not. Exit code 1 if there is any error.

    Example: bayes-isa check mydata/
    """
    from bayes_isa.cli.inputs import read_data
    from bayes_isa.errors import DataError

    try:
        trial = read_data(data, time_unit=time_unit.value, columns=column)
    except DataError as error:
        if as_json:
            errors = [problem_dict(p) for p in error.problems]
            print_json({"ok": False, "summary": error.message, "errors": errors, "warnings": []})
        elif error.problems:
            print("\n".join(["Errors:", *grouped(error.problems), f"{error.message}."]))
        else:
            say(error_text(error))
        raise typer.Exit(EXIT_FAILED) from None
    if as_json:
        found = [problem_dict(p) for p in trial.warnings]
        print_json({"ok": True, "summary": repr(trial), "errors": [], "warnings": found})
        return
    if trial.warnings:
        print("\n".join(["Warnings:", *grouped(trial.warnings)]))
    print(f"No errors. {trial!r}")


@app.command()
def fit(
    data: Data,
    out: Annotated[Path, typer.Option(help="File to write the fit to (netCDF, .nc).")],
    priors: Annotated[
        str, typer.Option(help="weakly_informative, published_2023, or a TOML file of your own.")
    ] = "weakly_informative",
    exposure: Annotated[
        str,
        typer.Option(
            help="pk: isatuximab concentration, mg/L; kpd: isatuximab doses alone, as a rate in mg/day; constant: full "
            "effect while on treatment."
        ),
    ] = "pk",
    link: Annotated[
        str,
        typer.Option(
            help="What drives the hazard: slope (dM/dt, g/L/day), value (g/L), log_value, relative_slope (1/day), none."
        ),
    ] = "slope",
    hazard: Annotated[
        str, typer.Option(help="Baseline hazard: loglogistic, weibull or exponential.")
    ] = "loglogistic",
    residual: Annotated[
        str,
        typer.Option(
            help="Error of a measurement: combined (g/L and share of M), additive, proportional, or student_t."
        ),
    ] = "combined",
    random_effects: Annotated[
        str, typer.Option(help="Random effects of one patient: diagonal (independent) or correlated.")
    ] = "diagonal",
    covariates: Annotated[
        CovariateSet,
        typer.Option(
            help="published: the published ones; all: every baseline covariate the data have; none."
        ),
    ] = CovariateSet.published,
    covariate_prior: Annotated[
        str,
        typer.Option(
            help="Of covariate effects: normal, or horseshoe (most next to nothing), to choose among many."
        ),
    ] = "normal",
    missing_covariates: Annotated[
        str,
        typer.Option(
            help="Missing values of covariates: published (continuous: the median; binary and text: a level of their "
            "own) or impute (continuous ones become latent variables of the model, given the patient's other "
            "covariates and outcomes)."
        ),
    ] = "published",
    coordinates: Annotated[
        str | None,
        typer.Option(
            help="Sampling geometry: response, centered, noncentered or mixed; changes the speed, never the result."
        ),
    ] = None,
    chains: Annotated[int, typer.Option(min=1, help="Independent chains; R-hat needs two or more.")] = 4,
    draws: Annotated[
        int | None,
        typer.Option(
            min=1, help="Draws kept per chain: 1000, or with --resume as many as the run was begun with."
        ),
    ] = None,
    tune: Annotated[int, typer.Option(min=1, help="Warm-up draws per chain, thrown away.")] = 500,
    target_accept: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=0.999,
            help="Higher: smaller steps, fewer divergences, slower. By default 0.9, and up to 0.98 the fewer patients "
            "than 201 there are.",
        ),
    ] = None,
    seed: Seed = 1,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with a run that was cut short, or extend the finished fit in --out to more --draws. "
            "Repeat the other options.",
        ),
    ] = False,
    time_unit: Unit = TimeUnit.day,
    column: Columns = None,
    as_json: Json = False,
) -> None:
    """Fit the joint model to a data set and write the posterior to a file.

    The file holds the draws, the data, the priors and the settings, so that it can be used alone. Diagnostics are
    printed at the end; a fit that fails them is written all the same, exit code 0: `bayes-isa diagnose` exits with 1.

    While sampling, draws stream to FIT.partial.zarr beside it. Whatever ends the process, the same command with
    --resume keeps the finished draws and makes the rest; `bayes-isa diagnose FIT.partial.zarr` looks at those so far.

    Example: bayes-isa fit mydata/ --out fit.nc --seed 1
    """
    from bayes_isa.cli.fitting import draws_begun_with, fit_and_save, print_fit, require_place
    from bayes_isa.cli.inputs import read_data, with_covariates
    from bayes_isa.inference.settings import SamplerSettings
    from bayes_isa.model.priors import load_priors
    from bayes_isa.model.spec import ModelSpec

    with usage():
        spec = ModelSpec(
            link=link,
            hazard=hazard,
            exposure=exposure,
            residual=residual,
            random_effects=random_effects,
            covariate_prior=covariate_prior,
            missing_covariates=missing_covariates,
            coordinates=ModelSpec.coordinates if coordinates is None else coordinates,
        )
        prior_set = load_priors(priors)
    require_place(out, resume=resume)
    trial = read_data(data, time_unit=time_unit.value, columns=column)
    spec = with_covariates(spec, trial, covariates.value)
    if draws is None:
        draws = (draws_begun_with(out) if resume else None) or SamplerSettings.draws
    settings = SamplerSettings(draws, tune, chains, seed, target_accept=target_accept)
    result, diagnosis = fit_and_save(trial, prior_set, spec, out, settings, resume=resume)
    print_fit(result, diagnosis, out, as_json=as_json)


@app.command()
def diagnose(fit: FitFile, as_json: Json = False) -> None:
    """Say whether the draws of a fit can be trusted; exit code 1 if not.

    R-hat, effective sample size (ESS), divergences and E-BFMI, each failure with its value, its limit and what to do.

    Example: bayes-isa diagnose fit.nc
    """
    from bayes_isa.cli.tables import parameter_table, verdict
    from bayes_isa.inference.diagnose import diagnose as diagnose_fit
    from bayes_isa.inference.storage import load_fit

    loaded = load_fit(fit)
    diagnosis = diagnose_fit(loaded)
    if as_json:
        print_json(diagnosis.to_dict())
    else:
        print(parameter_table(diagnosis, loaded))
        print(verdict(diagnosis, listed=None))
    if not diagnosis.ok:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def compare(
    fit: FitFile,
    regimen: Annotated[
        list[str],
        typer.Option(
            "-r", "--regimen", help='Regimen to simulate, e.g. "20 mg/kg QW-Q2W + dex 0-3mo". Repeatable.'
        ),
    ],
    reference: Annotated[
        str | None, typer.Option(help="Regimen the others are compared with; the first one by default.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Simulated trials, each at one posterior draw.")] = 1000,
    population: Annotated[
        Population,
        typer.Option(
            help="fitted: the patients of the fit; resampled: drawn from them; redrawn: their covariates, parameters "
            "drawn anew; new: both; virtual: from the published baseline tables."
        ),
    ] = Population.fitted,
    out: Annotated[
        Path | None,
        typer.Option(help="Simulated trials: a netCDF file (.nc), or a directory streamed to (.zarr)."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="File for the table (CSV).")] = None,
    plot: Annotated[Path | None, typer.Option(help="File for the PFS curves (.png, .pdf or .svg).")] = None,
    margin_weeks: Annotated[
        float, typer.Option(help="Better: a median PFS longer than the reference's by more than this, weeks.")
    ] = 0.0,
    hazard_ratio_below: Annotated[
        float, typer.Option(min=0.0, help="Or better: a hazard ratio below this.")
    ] = 1.0,
    allow_unconverged: Unconverged = False,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Simulate trials of several regimens from a fit and compare them.

    Same patients, draws and random numbers under every regimen. Doses in mg per kg of body weight; months of a regimen
    have 28 days; PFS in weeks. Refuses a fit that fails its diagnostics.

    Example: bayes-isa compare fit.nc -r "10 mg/kg QW-Q2W" -r "20 mg/kg QW-Q2W + dex" --trials 1000 --csv table.csv
    """
    from bayes_isa.cli.comparing import compare_and_write, parse_regimens, print_comparison, require_converged
    from bayes_isa.cli.inputs import require_picture
    from bayes_isa.inference.storage import load_fit, require_writable

    with usage():
        chosen, chosen_reference = parse_regimens(regimen, reference)
        require_picture(plot)
    for path in filter(None, (out, csv, plot)):
        if path.suffix != ".zarr" or not path.is_dir():  # a store that is there may be resumed
            require_writable(path)
    loaded = load_fit(fit)
    require_converged(loaded, allow=allow_unconverged)
    table, _ = compare_and_write(
        loaded,
        chosen,
        reference=chosen_reference,
        trials=trials,
        population=population.value,
        seed=seed,
        out=out,
        csv=csv,
        plot=plot,
        margin_weeks=margin_weeks,
        hazard_ratio_below=hazard_ratio_below,
    )
    print_comparison(table, seed=seed, as_json=as_json)


@app.command()
def reproduce(
    trials: Annotated[int, typer.Option(min=1, help="Simulated trials in each mode.")] = 1000,
    fit: Annotated[
        Path | None,
        typer.Option(
            help="Fit written by `bayes-isa fit`: its posterior instead of the published estimates."
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="File for the table (CSV).")] = None,
    allow_unconverged: Unconverged = False,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Simulate the published trials again and show each number beside the printed one.

    The publication's five regimens, 20 months (609 days), all 201 and the 31 Japanese patients: fall of M-protein
    at week 8 (%), median PFS and its gain (weeks), hazard ratios. Two modes: individual parameters held in all trials,
    as published, and drawn afresh in each. With --fit the intervals carry the uncertainty of the parameters too.

    Example: bayes-isa reproduce --trials 1000
    """
    from bayes_isa.cli.reproduce import run_reproduce
    from bayes_isa.inference.storage import require_writable

    if csv is not None:
        require_writable(csv)
    run_reproduce(
        fit=fit, trials=trials, seed=seed, csv=csv, allow_unconverged=allow_unconverged, as_json=as_json
    )


@app.command()
def report(
    fit: FitFile,
    sims: Annotated[
        Path | None,
        typer.Argument(metavar="SIMS", help="Simulated trials of `bayes-isa compare --out` (.zarr or .nc)."),
    ] = None,
    out: Annotated[Path, typer.Option(help="File to write the report to (HTML).")] = Path("report.html"),
    reference: Annotated[
        str | None, typer.Option(help="Regimen the others are compared with; the first one by default.")
    ] = None,
    individuals: Annotated[int, typer.Option(min=1, help="Patients whose fits are drawn.")] = 12,
    replicates: Annotated[
        int, typer.Option(min=1, help="Replicates of the trial for predictive checks.")
    ] = 300,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Write everything about a fit, and a comparison of regimens, into one HTML file.

    Question and data, priors with sources, convergence, parameters beside the published estimates, individual fits
    (M-protein in g/L, weeks), predictive checks, regimens (PFS in weeks), sensitivity, limits, versions and seeds. The
    file needs no network. A fit that fails its diagnostics is reported as such, exit code 0.

    Example: bayes-isa report fit.nc sims.zarr --out report.html
    """
    from bayes_isa.cli.comparing import report_and_write
    from bayes_isa.inference.storage import load_fit, require_writable
    from bayes_isa.simulation.chunks import open_trials
    from bayes_isa.simulation.regimen_names import require_regimen

    require_writable(out)
    loaded = load_fit(fit)
    simulated = None if sims is None else open_trials(sims)
    if simulated is not None and reference is not None:
        with usage():
            reference = require_regimen(reference, simulated["regimen"].to_numpy())
    report_and_write(
        loaded,
        simulated,
        out,
        reference=reference,
        n_individuals=individuals,
        n_replicates=replicates,
        seed=seed,
    )
    if as_json:
        print_json({"file": str(out), "seed": seed})
    else:
        print(f"Report written to {out}")


@app.command()
def calibrate(
    out: Annotated[Path, typer.Option(help="Directory for the replicates; an interrupted run continues.")],
    replicates: Annotated[int, typer.Option(min=20, help="Virtual trials drawn and fitted.")] = 200,
    patients: Annotated[int, typer.Option(min=20, help="Patients of each.")] = 30,
    priors: Annotated[
        str | None,
        typer.Option(help="Prior set or file; by default the published estimates, errors twice as wide."),
    ] = None,
    coordinates: Annotated[
        str, typer.Option(help="Sampling geometry: response, centered, noncentered or mixed.")
    ] = "response",
    processes: Annotated[int, typer.Option(min=1, help="Processes at once.")] = 1,
    error_rate: Annotated[
        float,
        typer.Option(
            min=1e-6, max=0.5, help="Probability that a right inference fails, all quantities together."
        ),
    ] = 0.01,
    plot: Annotated[
        Path | None, typer.Option(help="File for the ECDFs of ranks (.png, .pdf or .svg).")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="File for the table (CSV).")] = None,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Check the whole inference: parameters drawn from the prior, virtual trials fitted, the truths ranked.

    Simulation-based calibration: when simulator, likelihood and sampler agree, each true value is equally likely to
    have any rank among posterior draws. Ranks of all population parameters, one patient's, the log-likelihood and a
    hazard ratio. Exit code 1 when any quantity fails at the error rate. Hours; safe to interrupt.

    Example: bayes-isa calibrate --out calibration/ --processes 2 --plot ranks.png
    """
    from bayes_isa.cli.calibrate import run_calibrate
    from bayes_isa.cli.inputs import require_picture
    from bayes_isa.inference.storage import require_writable
    from bayes_isa.model.priors import load_priors
    from bayes_isa.model.spec import ModelSpec

    with usage():
        ModelSpec(coordinates=coordinates)
        prior_set = None if priors is None else load_priors(priors)
        require_picture(plot)
    for path in filter(None, (plot, csv)):
        require_writable(path)
    sound = run_calibrate(
        out,
        replicates=replicates,
        patients=patients,
        priors=prior_set,
        coordinates=coordinates,
        processes=processes,
        error_rate=error_rate,
        plot=plot,
        csv=csv,
        seed=seed,
        as_json=as_json,
    )
    if not sound:
        raise typer.Exit(EXIT_FAILED)


@app.command("virtual-trial")
def virtual_trial(
    out: Annotated[Path, typer.Option(help="Directory for the files, made if need be.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Number of patients.")] = 201,
    pfs_visits: Annotated[
        bool,
        typer.Option(
            "--pfs-visits",
            help="Progression seen at 4-weekly visits only: pfs.csv gives day_lower, day_upper.",
        ),
    ] = False,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Write a virtual data set in the input format, with the parameters it was drawn with beside it.

    Drawn from the published model at its published estimates, in the arms of the published studies: patients.csv,
    doses.csv (mg, hours), mprotein.csv (g/L), pfs.csv (days), truth.json and truth_individual.csv.

    Example: bayes-isa virtual-trial --out virtual/ --n 100 --seed 7
    """
    from bayes_isa.cli.inputs import require_directory
    from bayes_isa.simulation.virtual_trial import VISIT_DAYS, draw_virtual_trial, write_virtual_trial

    require_directory(out)
    drawn = draw_virtual_trial(n, seed=seed, pfs_visit_days=VISIT_DAYS if pfs_visits else None)
    write_virtual_trial(drawn, out)
    if as_json:
        events = int(drawn.trial.pfs["event"].sum())
        print_json({"directory": str(out), "patients": n, "events": events, "seed": seed})
    else:
        print(f"{drawn.trial!r}\nWritten to {out}; `bayes-isa fit {out} --out fit.nc` fits it.")
