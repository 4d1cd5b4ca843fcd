"""Which stratum each patient of a replicate set belongs to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.data.summary import by_amount
from bayes_isa.errors import ModelError

ALL = "all patients"


def strata_of(replicates: xr.Dataset, by: str | pd.Series | None) -> tuple[list[str], np.ndarray]:
    """Labels and the label's number of each patient (patient,).

    by: None for one stratum, the name of a grouping column of the patients, or a Series of labels indexed by id. Raises
    ModelError for an unknown column, or patients without a label.
    """
    if "observed_on_study" not in replicates:
        raise ModelError("expected what `replicate_trial` returns")
    ids = pd.Index(replicates["patient"].to_numpy())
    if by is None:
        return [ALL], np.zeros(ids.size, dtype=np.int64)
    if isinstance(by, str):
        known = [str(n) for n, c in replicates.coords.items() if c.dims == ("patient",) and n != "patient"]
        if by not in known:
            raise ModelError(
                f"by: expected one of {', '.join(known) or 'nothing'}, found {by!r}; or give a Series by id"
            )
        labels = pd.Series(replicates[by].to_numpy(), index=ids)
    else:
        labels = by.reindex(ids)
        if labels.isna().any():
            without = ", ".join(map(str, ids[labels.isna()][:10]))
            raise ModelError(f"by: expected a label for every patient, found none for {without}")
    text = labels.astype(str)
    names = sorted(text.unique(), key=by_amount)
    return names, pd.Index(names).get_indexer(pd.Index(text))
