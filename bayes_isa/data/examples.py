"""Built-in data sets.

virtual_rrmm  201 virtual patients with relapsed or refractory multiple myeloma on isatuximab, alone or
              with dexamethasone, in the arms of the two published studies. Drawn with the published
              estimates and seed 2023 by `bayes_isa.simulation.draw_virtual_trial`; no patient's data are
              in it.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from bayes_isa.data.csv_files import read_trial
from bayes_isa.data.schema import nearest
from bayes_isa.data.trial import Trial
from bayes_isa.data.truth import Truth, read_truth
from bayes_isa.errors import DataError, Problem

EXAMPLES = ("virtual_rrmm",)


def load_example(name: str = "virtual_rrmm") -> Trial:
    """A built-in data set as a Trial. Raises DataError, listing the names there are, for an unknown one."""
    with resources.as_file(resources.files("bayes_isa.data").joinpath(_known(name))) as directory:
        return read_trial(Path(directory), name=name)


def load_example_truth(name: str = "virtual_rrmm") -> Truth:
    """The parameters a built-in data set was drawn with. Raises DataError for an unknown name."""
    with resources.as_file(resources.files("bayes_isa.data").joinpath(_known(name))) as directory:
        return read_truth(Path(directory))


def _known(name: str) -> str:
    if name in EXAMPLES:
        return name
    close = nearest(name, EXAMPLES)
    hint = f"Did you mean {close!r}? " if close else ""
    remedy = f"{hint}There are: {', '.join(EXAMPLES)}"
    raise DataError(f"There is no built-in data set {name!r}", [Problem("unknown name", remedy)])
