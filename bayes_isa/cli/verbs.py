"""The steps behind the verbs that fit and simulate: progress on stderr, files written, results printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from bayes_isa.cli.console import print_json, say
from bayes_isa.cli.progress import progress, sampling_progress
from bayes_isa.cli.tables import comparison_table, parameter_table, verdict
from bayes_isa.errors import ConvergenceError, ModelError
from bayes_isa.inference.diagnose import Diagnosis, diagnose
from bayes_isa.inference.disk import write_netcdf
from bayes_isa.inference.fit import fit_with
from bayes_isa.inference.run_store import RunStore, remove_run
from bayes_isa.inference.storage import (
    load_fit,
    partial_store,
    require_writable,
    save_fit,
    without_individuals,
)
from bayes_isa.model.build import build_model
from bayes_isa.simulation import plans
from bayes_isa.simulation.compare import compare_regimens
from bayes_isa.simulation.regimen_names import require_regimen
from bayes_isa.simulation.simulate import simulate_trials

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from bayes_isa.data import Trial
    from bayes_isa.inference.settings import SamplerSettings
    from bayes_isa.model.priors import PriorSet
    from bayes_isa.model.spec import ModelSpec
    from bayes_isa.regimens import AnyRegimen


def require_place(out: Path, *, resume: bool) -> None:
    """Raise ModelError unless a fit can be written to `out`, or when that would forget an unfinished run."""
    require_writable(out)
    store = partial_store(out)
    if store.exists() and not resume:
        raise ModelError(
            f"{store}: holds the draws of a run to {out.name} that was cut short; "
            "say --resume to go on from there, or delete it to begin anew"
        )


def draws_begun_with(out: Path) -> int | None:
    """Draws a chain that the run to `out` was begun with, None when there is none."""
    store = partial_store(out)
    if store.exists():
        return int(RunStore.open(store).about.attrs["draws"])
    return int(load_fit(out).attrs["draws"]) if out.exists() else None


def fit_and_save(
    trial: Trial,
    priors: PriorSet,
    spec: ModelSpec,
    out: Path,
    settings: SamplerSettings,
    *,
    resume: bool = False,
) -> tuple[xr.DataTree, Diagnosis]:
    """Fit, write to `out`, diagnose; returns the fit without what it holds by patient, and the diagnosis.

    Draws stream to `partial_store(out)`, which goes when `out` is written and stays when anything else ends the
    process: `resume` goes on from there, or from the finished fit in `out` when more draws are asked for. Raises
    ModelError for another run's store, KeyboardInterrupt on Ctrl-C.
    """
    say(repr(trial))
    store = partial_store(out)
    extends = resume and not store.exists() and out.exists()
    if resume and not extends and not store.exists():
        say(f"Nothing to resume: neither {store} nor {out} is there; the run begins.")
    model = build_model(trial, priors, spec)
    say("Compiling the model and sampling")
    try:
        with sampling_progress(settings.chains * (settings.tune + settings.draws)) as callback:
            result = fit_with(
                model,
                settings,
                store=store,
                resume=out if extends else resume,
                progressbar=False,
                progress_callback=callback,
            )
    except KeyboardInterrupt:
        if store.exists():
            say(f"What was sampled is kept in {store}: the same command with --resume goes on from there.")
        raise
    if store.exists():
        save_fit(result, out)
    else:
        say(f"{out} has {settings.draws} draws a chain already: nothing was left to sample.")
    diagnosis = diagnose(result)
    population = without_individuals(result)
    remove_run(store)
    return population, diagnosis


def print_fit(result: xr.DataTree, diagnosis: Diagnosis, out: Path, *, as_json: bool) -> None:
    """Parameters on stdout, the verdict and the file on stderr."""
    seconds = result.attrs.get("sampling_seconds", 0.0)
    if as_json:
        print_json(
            {
                "file": str(out),
                "seed": result.attrs["seed"],
                "sampling_seconds": seconds,
                "segments": json.loads(result.attrs["segments"]),
                **diagnosis.to_dict(),
            }
        )
    else:
        print(parameter_table(diagnosis, result))
    say(f"The fit is in {out}, after {seconds:.0f} s of sampling.")
    say(verdict(diagnosis))


def require_converged(fitted: xr.DataTree, *, allow: bool) -> None:
    """Raise ConvergenceError for a fit that fails its diagnostics, or say so when it is allowed."""
    diagnosis = diagnose(fitted)
    if diagnosis.ok:
        return
    say(verdict(diagnosis))
    if not allow:
        raise ConvergenceError(
            "results of a fit that failed its diagnostics would mislead; fit it again, or say --allow-unconverged"
        )


def parse_regimens(regimens: list[str], reference: str | None) -> tuple[dict[str, AnyRegimen], str]:
    """Regimens by short name, and the label of the reference: the first one unless `reference` names another.

    Raises RegimenError.
    """
    parsed = plans.parse_regimens(regimens)
    return parsed, require_regimen(reference, parsed) if reference is not None else next(iter(parsed))


def compare_and_write(
    fitted: xr.DataTree,
    regimens: dict[str, AnyRegimen],
    *,
    reference: str,
    trials: int,
    population: str,
    seed: int,
    out: Path | None = None,
    csv: Path | None = None,
    plot: Path | None = None,
    margin_weeks: float = 0.0,
    hazard_ratio_below: float = 1.0,
) -> tuple[pd.DataFrame, xr.DataTree]:
    """Simulate trials, compare the regimens and write the files asked for; `out` *.zarr is streamed to and resumed.

    Returns the comparison and the trials.
    """
    streamed = out is not None and out.suffix == ".zarr"
    with progress("Simulating trials", trials) as update:
        sims = simulate_trials(
            fitted,
            regimens,
            n_trials=trials,
            seed=seed,
            population=population,
            out=out if streamed else None,
            allow_unconverged=True,  # the verbs have judged the fit themselves
            progress=lambda done, _: update(done, ""),
        )
    table = compare_regimens(
        sims, reference=reference, margin_weeks=margin_weeks, hazard_ratio_below=hazard_ratio_below
    )
    if out is not None and not streamed:
        write_netcdf(sims, out)
    if csv is not None:
        table.to_csv(csv, index=False)
    if plot is not None:
        write_pfs_plot(sims, plot)
    return table, sims


def report_and_write(
    fitted: xr.DataTree, sims: xr.DataTree | None, out: Path, *, reference: str | None = None, **settings: int
) -> None:
    """Write the report; `settings` go to `bayes_isa.write_report`."""
    from bayes_isa.report.write import STEPS, write_report

    with progress("Writing the report", STEPS) as update:
        write_report(
            fitted, sims, out=out, reference=reference, progress=lambda done, _: update(done, ""), **settings
        )


def write_pfs_plot(sims: xr.DataTree, path: Path) -> None:
    """The PFS curves as a picture; the ending of the file name says which kind."""
    from bayes_isa.plots.plot_pfs import plot_pfs

    figure = plot_pfs(sims).get_figure(root=True)
    assert figure is not None  # plot_pfs has just made it
    figure.savefig(path, dpi=150)


def print_comparison(table: pd.DataFrame, *, seed: int, as_json: bool) -> None:
    """The comparison on stdout."""
    if as_json:
        rows = table.to_dict(orient="records")
        print_json({"reference": table.attrs["reference"], "seed": seed, "table": rows})
    else:
        print(comparison_table(table))
