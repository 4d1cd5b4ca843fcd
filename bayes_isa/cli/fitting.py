"""The steps behind `bayes-isa fit`: progress on stderr, the fit written and diagnosed, results printed.

`diagnose` brings ArviZ, which only finished draws need: imported after sampling, chains are under way a second earlier.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from bayes_isa.cli.console import print_json, say
from bayes_isa.cli.progress import sampling_progress
from bayes_isa.cli.tables import parameter_table, verdict
from bayes_isa.errors import ModelError
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

if TYPE_CHECKING:
    import xarray as xr

    from bayes_isa.data import Trial
    from bayes_isa.inference.diagnose import Diagnosis
    from bayes_isa.inference.settings import SamplerSettings
    from bayes_isa.model.priors import PriorSet
    from bayes_isa.model.spec import ModelSpec


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
    from bayes_isa.inference.diagnose import diagnose

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
