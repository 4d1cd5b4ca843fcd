"""The main job on the built-in data set, from fit to comparison."""

from __future__ import annotations

from pathlib import Path

from bayes_isa.cli.comparing import compare_and_write, parse_regimens, report_and_write
from bayes_isa.cli.console import print_json, say
from bayes_isa.cli.fitting import fit_and_save, require_place
from bayes_isa.cli.inputs import require_directory
from bayes_isa.cli.tables import verdict
from bayes_isa.data.examples import load_example
from bayes_isa.inference.settings import SamplerSettings
from bayes_isa.inference.storage import load_fit
from bayes_isa.model.priors import load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.report.words import conclusions

REGIMENS = ["10 mg/kg QW-Q2W", "20 mg/kg QW-Q2W", "20 mg/kg QW-Q2W + dex"]


def run_quickstart(out: Path, settings: SamplerSettings, *, trials: int, resume: bool, as_json: bool) -> None:
    """Fit, diagnose, compare, report; fit.nc, table.csv, pfs.png, mprotein.png and report.html go to `out`.

    Raises ConvergenceError, with all of them written, when the fit fails its diagnostics.
    """
    from bayes_isa.plots.plot_mprotein import plot_mprotein

    require_directory(out)
    require_place(out / "fit.nc", resume=resume)
    trial = load_example("virtual_rrmm")
    plot_mprotein(trial).savefig(out / "mprotein.png", dpi=150)
    file = out / "fit.nc"
    _, diagnosis = fit_and_save(
        trial, load_priors("weakly_informative"), ModelSpec(), file, settings, resume=resume
    )
    fitted = load_fit(file)
    say(verdict(diagnosis))
    assert settings.seed is not None
    seed = settings.seed
    regimens, reference = parse_regimens(REGIMENS, None)
    table, sims = compare_and_write(
        fitted,
        regimens,
        reference=reference,
        trials=trials,
        population="fitted",
        seed=seed,
        csv=out / "table.csv",
        plot=out / "pfs.png",
    )
    report = out / "report.html"
    report_and_write(fitted, sims, report, reference=reference, seed=seed)
    if as_json:
        rows = table.to_dict(orient="records")
        print_json(
            {
                "directory": str(out),
                "report": str(report),
                "reference": reference,
                "seed": seed,
                "table": rows,
            }
        )
    else:
        print(f"Written to {out}: fit.nc, table.csv, pfs.png, mprotein.png")
        print(f"Report: {report}")
        print("\n".join(conclusions(table)))
    diagnosis.raise_if_failed()
