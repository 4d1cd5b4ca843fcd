"""The steps behind the verbs that use a fit: simulate, compare, report; progress on stderr, files written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bayes_isa.cli.console import print_json, say
from bayes_isa.cli.progress import progress
from bayes_isa.cli.tables import comparison_table, verdict
from bayes_isa.errors import ConvergenceError
from bayes_isa.inference.diagnose import diagnose
from bayes_isa.inference.disk import write_netcdf
from bayes_isa.simulation import plans
from bayes_isa.simulation.compare import compare_regimens
from bayes_isa.simulation.regimen_names import require_regimen
from bayes_isa.simulation.simulate import simulate_trials

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from bayes_isa.regimens import AnyRegimen


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
