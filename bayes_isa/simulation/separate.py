"""The same comparison under each source of uncertainty alone and all together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import xarray as xr

from bayes_isa.regimens import AnyRegimen
from bayes_isa.simulation.compare import compare_regimens
from bayes_isa.simulation.simulate import simulate_trials
from bayes_isa.simulation.study import SOURCES, check_sources

_ALONE_AND_TOGETHER = (*((source,) for source in SOURCES), SOURCES)


def separate_uncertainty(
    fit: xr.DataTree,
    regimens: Sequence[str | AnyRegimen] | Mapping[str, str | AnyRegimen],
    *,
    reference: str,
    combinations: Sequence[Iterable[str]] = _ALONE_AND_TOGETHER,
    quantities: Sequence[str] | None = None,
    population: str | pd.DataFrame = "new",
    n_trials: int = 1000,
    seed: int,
    **options: Any,
) -> pd.DataFrame:
    """`compare_regimens` with only some sources of uncertainty varying between trials, one combination after another.

    combinations  sets of "parameters", "patients", "events"; what is not in a set is held. By default each alone, then
                  all three. With `population` "fitted" the patients stay the same persons in all.
    options       go to `simulate_trials`.

    Returns the table of `compare_regimens` with a column `varying` in front ("parameters", ..., "parameters, patients,
    events"). Raises what both raise.
    """
    chosen = [check_sources(sources) for sources in combinations]
    tables = []
    for sources in chosen:
        sims = simulate_trials(
            fit, regimens, n_trials=n_trials, seed=seed, population=population, vary=sources, **options
        )
        table = compare_regimens(sims, reference=reference, quantities=quantities)
        table.insert(0, "varying", ", ".join(name for name in SOURCES if name in sources) or "nothing")
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
