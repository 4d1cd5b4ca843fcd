"""The steps behind the verbs that fit and simulate: progress on stderr, files written, results printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayes_isa.cli.console import print_json, say
from bayes_isa.cli.inputs import finished_draws
from bayes_isa.cli.progress import sampling_progress
from bayes_isa.cli.tables import parameter_table, verdict
from bayes_isa.errors import ConvergenceError
from bayes_isa.inference.diagnose import Diagnosis, diagnose
from bayes_isa.inference.fit import fit
from bayes_isa.inference.storage import save_fit
from bayes_isa.model.build import build_model

if TYPE_CHECKING:
    import xarray as xr

    from bayes_isa.data import Trial
    from bayes_isa.model.priors import PriorSet
    from bayes_isa.model.spec import ModelSpec


def fit_and_save(
    trial: Trial, priors: PriorSet, spec: ModelSpec, out: Path, settings: dict[str, Any]
) -> tuple[xr.DataTree, Diagnosis]:
    """Fit, write to `out`, diagnose; `settings` go to `bayes_isa.fit`. Raises KeyboardInterrupt on Ctrl-C."""
    say(repr(trial))
    model = build_model(trial, priors, spec)
    say("Compiling the model and sampling")
    with sampling_progress(settings["chains"], settings["tune"] + settings["draws"]) as callback:
        result = fit(model, progressbar=False, progress_callback=callback, **settings)
    finished_draws(result, settings["draws"])
    save_fit(result, out)
    return result, diagnose(result)


def print_fit(result: xr.DataTree, diagnosis: Diagnosis, out: Path, *, as_json: bool) -> None:
    """Parameters on stdout, the verdict and the file on stderr."""
    if as_json:
        print_json(
            {
                "file": str(out),
                "seed": result.attrs["seed"],
                "sampling_seconds": result.attrs["sampling_seconds"],
                **diagnosis.to_dict(),
            }
        )
    else:
        print(parameter_table(diagnosis, result))
    say(f"Written to {out} after {result.attrs['sampling_seconds']:.0f} s of sampling.")
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
