"""A fit whose draws go to a store: begun, taken up again, or extended."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymc as pm
import xarray as xr

from bayes_isa.errors import BayesIsaWarning, ModelError
from bayes_isa.inference.chains import ChainProgress, run_jobs
from bayes_isa.inference.compiled_model import compiled_model
from bayes_isa.inference.disk import require_space, require_writable, told_as_model_error
from bayes_isa.inference.fit import fit_without_draws, for_model, units_of
from bayes_isa.inference.run_store import RunStore, Stretch
from bayes_isa.inference.same_run import require_same_run
from bayes_isa.inference.segments import STATS, Layout
from bayes_isa.inference.settings import SamplerSettings
from bayes_isa.inference.storage import load_fit

_CHUNK_DRAWS = 16  # of the sampler's store
_BLOCK = 4096  # what a file at least takes on most disks
_METADATA_FILES = 250  # of the sampler's store, in round numbers: two groups of warm-up and two of draws


def fit_in_store(
    model: pm.Model,
    settings: SamplerSettings,
    store: Path,
    resume: bool | str | Path,
    progressbar: bool,
    callback: Callable[[Sequence[ChainProgress]], None] | None,
) -> xr.DataTree:
    """`fit` into the directory `store`; see there.

    On Ctrl-C the draws made so far are written, then KeyboardInterrupt is raised.
    """
    if settings.sampler != "nutpie":
        raise ModelError(f"store: needs the sampler 'nutpie', found {settings.sampler!r}")
    if not store.exists():
        require_writable(store)
    run = _found(store, resume)
    file = None if run is not None or isinstance(resume, bool) else Path(resume)
    earlier = run.about if run is not None else load_fit(file) if file is not None else None
    if settings.seed is None and earlier is not None:
        settings = replace(settings, seed=int(earlier.attrs["seed"]))
    settings = for_model(settings, model)
    about = fit_without_draws(model, settings)
    have = [0]
    if earlier is not None:
        require_same_run(earlier, about, file or store)
        have = run.finished() if run is not None else [_extensible_draws(earlier, file, settings)]
        if max(have) > settings.draws:
            raise ModelError(
                f"{file or store}: has {max(have)} draws a chain already, {settings.draws} were asked for; "
                "ask for as many or more"
            )
    if min(have) < settings.draws:
        require_space(store.parent, bytes_needed(model, settings), f"this run in {store.name}")
        started = time.monotonic()
        compiled = compiled_model(model)
        if run is None:
            about.attrs["compile_seconds"] = time.monotonic() - started
            if earlier is not None:
                about.attrs["earlier_segments"] = earlier.attrs["segments"]
            run = RunStore.create(store, about, _layout(compiled, model), finished_fit=file)
        with run.locked():
            run.extended(settings.draws)
            _sample(run, compiled, settings, progressbar, callback)
    if run is None:
        assert earlier is not None  # the finished fit has as many draws as were asked for
        return earlier
    return run.fit()


def bytes_needed(model: pm.Model, settings: SamplerSettings) -> int:
    """Upper bound of the bytes on disk that a run and then its file take together; of small chunks a block each."""
    # Free variables as parameters and, where they have a transform, on the sampler's scale too.
    sizes = [math.prod(shape) for shape in model.eval_rv_shapes().values()]
    for variable in model.deterministics:
        dims = model.named_vars_to_dims.get(variable.name) or ()
        sizes.append(math.prod(len(model.coords[dim]) for dim in dims))
    sizes += [1] * len(STATS)
    chunk = sum(max(_BLOCK, _CHUNK_DRAWS * 8 * size) for size in sizes)
    chunks = sum(-(-count // _CHUNK_DRAWS) for count in (settings.tune, settings.draws))
    metadata = (
        _BLOCK * _METADATA_FILES * (1 + settings.chains)
    )  # each chain that goes on has a store of its own
    return metadata + settings.chains * (chunks * chunk + 8 * settings.draws * sum(sizes))


def _found(store: Path, resume: bool | str | Path) -> RunStore | None:
    if not store.exists():
        return None
    run = RunStore.open(store)
    if resume is False:
        have = run.finished()
        raise ModelError(
            f"{store}: holds a run of which {min(have)} to {max(have)} draws a chain are finished; "
            "continue it with `resume` (--resume), or delete it first"
        )
    return run


def _extensible_draws(fit: xr.DataTree, file: Path | None, settings: SamplerSettings) -> int:
    """Draws a chain of a finished fit; raises ModelError when it cannot be extended."""
    if "sampler_state" not in fit.children:
        raise ModelError(
            f"{file}: cannot be extended, it does not say where its chains stood; fit again with `store`"
        )
    sizes = fit["posterior"].sizes
    if sizes["chain"] != settings.chains:
        raise ModelError(f"{file}: cannot be extended, it has draws of {sizes['chain']} chains only")
    return int(sizes["draw"])


def _layout(compiled: Any, model: pm.Model) -> Layout:
    names, slices, _ = compiled.shape_info
    hidden = set(compiled.reparameterized_names or ())
    variables = tuple(name for name in names if name not in hidden)
    position = tuple(n for n, part in zip(names, slices, strict=True) if int(part.stop) <= compiled.n_dim)
    units = {name: unit for name, unit in units_of(model).items() if name in variables}
    return Layout(variables, position, units)


def _sample(
    run: RunStore,
    compiled: Any,
    settings: SamplerSettings,
    progressbar: bool,
    callback: Callable[[Sequence[ChainProgress]], None] | None,
) -> None:
    stretches = run.remaining()
    _tell(stretches, run.finished())
    run.begin(stretches)
    with told_as_model_error(run.path):
        for stretch in stretches:
            (run.path / stretch.segment.name).mkdir()
    started = time.monotonic()
    _, reason = run_jobs(
        compiled,
        [stretch.job for stretch in stretches],
        settings,
        progressbar=progressbar,
        callback=callback,
        closed=lambda index: run.close([stretches[index].segment.name]),
    )
    if not isinstance(reason, ModelError):
        run.add_seconds(time.monotonic() - started)
    if reason is not None:
        raise reason


def _tell(stretches: Sequence[Stretch], have: Sequence[int]) -> None:
    """One warning that says how each chain goes on; none for a run that is only begun."""
    if not any(have):
        return
    continued = [s for s in stretches if s.segment.origin == "continued"]
    again = [s for s in stretches if s.segment.origin == "begun again"]
    parts = []
    if continued:
        chains = ", ".join(f"{s.segment.chains[0]} ({have[s.segment.chains[0]]} draws)" for s in continued)
        parts.append(
            "the sampler cannot restore its adaptation, so chains restart where their finished draws ended, which "
            f"are kept, after {continued[0].segment.tune} draws of re-tuning, which are not: {chains}"
        )
    if again:
        chains = ", ".join(str(s.segment.chains[0]) for s in again)
        parts.append(f"chains without a finished draw are begun again: {chains}")
    if parts:
        warnings.warn("; ".join(parts), BayesIsaWarning, stacklevel=6)
