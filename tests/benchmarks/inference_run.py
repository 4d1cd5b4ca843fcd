"""One fit of a virtual trial with what it cost: shared by the benchmarks of inference."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

import bayes_isa as bi
from bayes_isa.data.trial import Trial
from bayes_isa.inference import fit as fit_module
from bayes_isa.inference.diagnose import Diagnosis
from bayes_isa.model import search
from benchmarks.sampler_density import SamplerDensity
from benchmarks.stopwatch import shortest_seconds, timed


@dataclass(frozen=True)
class Run:
    """A fit, its diagnosis, seconds by stage and seconds per gradient (one thread, at the starting point)."""

    coordinates: str
    model: pm.Model
    fit: xr.DataTree
    diagnosis: Diagnosis
    seconds: dict[str, float]
    gradient_seconds: float

    def worst(self, column: str) -> tuple[str, float]:
        """Population parameter with the worst "r_hat", "ess_bulk" or "ess_tail", and its value."""
        return worst(self.diagnosis.table, column)

    @property
    def ess_per_second(self) -> float:
        """Minimum bulk ESS per second of sampling, tuning included."""
        return self.worst("ess_bulk")[1] / self.seconds["sampling"]


def worst(summary: pd.DataFrame, column: str) -> tuple[str, float]:
    """Row with the largest "r_hat" or the least "ess_bulk" or "ess_tail", and its value; NaN is the worst of all."""
    values = summary[column].astype(float)
    place = (values if column == "r_hat" else -values).fillna(np.inf).to_numpy().argmax()
    return str(values.index[place]), float(values.iloc[place])


def evenly_chosen(trial: Trial, n: int) -> Trial:
    """`n` patients spread over the whole list, which is sorted by study and arm; all of them for n >= their number."""
    if n >= trial.n_patients:
        return trial
    position = np.linspace(0, trial.n_patients - 1, n).round().astype(int)
    return trial.subset(trial.patients.index[position])


def run(trial: Trial, coordinates: str, *, repeats: int = 50, **settings: Any) -> Run:
    """Build, fit (`settings` go to `bi.fit`) and diagnose.

    The stages: "build" is data, panels and graph, "warm start", "compile" and "sampling" (tuning and draws).
    """
    start = time.perf_counter()
    with timed(warm=(search, "warm_start")) as building:
        model = bi.build_model(trial, spec=bi.ModelSpec(coordinates=coordinates))
    built = time.perf_counter() - start
    with timed(compile=(fit_module, "compiled_model")) as fitting:
        fit = bi.fit(model, progressbar=False, **settings)
    seconds = {
        "build": built - building["warm"].seconds,
        "warm start": building["warm"].seconds,
        "compile": fitting["compile"].seconds,
        "sampling": fit.attrs["sampling_seconds"],
    }
    density = SamplerDensity(model, fitting["compile"].result)
    at = density.flat(model.initial_point())
    gc.collect()
    (gradient,) = shortest_seconds(lambda: density(at), repeats=repeats)
    return Run(coordinates, model, fit, bi.diagnose(fit), seconds, gradient)
