"""Does a fit find the truth it was simulated from, and does real data converge? Full runs, minutes each: `-m slow`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

import bayes_isa as bi
from bayes_isa.data.examples import load_example_truth
from bayes_isa.errors import BayesIsaWarning

pytestmark = pytest.mark.slow

COLORECTAL = Path(__file__).parents[2].parent / "shared" / "data" / "colorectal"


def missed_parameters(fit: object, truth: dict[str, object]) -> tuple[list[str], int]:
    """Population parameters whose 90 % interval misses the truth, and how many there are; without correlations."""
    posterior = fit["posterior"].to_dataset()  # type: ignore[index]
    missed, count = [], 0
    for name, value in truth.items():
        if name not in posterior or name == "correlation":
            continue
        draws = posterior[name].stack(sample=("chain", "draw"))
        entries = (
            {name: (draws, value)}
            if not isinstance(value, dict)
            else {
                f"{name}[{covariate}]": (draws.sel({draws.dims[0]: covariate}), effect)
                for covariate, effect in value.items()
            }
        )
        for label, (each, true_value) in entries.items():
            low, high = np.quantile(each, [0.05, 0.95])
            count += 1
            if not low <= true_value <= high:
                missed.append(f"{label}: {true_value:g} not in ({low:.4g}, {high:.4g})")
    return missed, count


def test_virtual_trial_is_recovered() -> None:
    trial, truth = bi.load_example("virtual_rrmm"), load_example_truth("virtual_rrmm")
    model = bi.build_model(trial, bi.load_priors("weakly_informative"), bi.ModelSpec())
    fit = bi.fit(model, seed=1, progressbar=False)
    missed, count = missed_parameters(fit, dict(truth.parameters))
    print("\n".join([f"{count - len(missed)} of {count} intervals hold the truth", *missed]))
    # If each 90 % interval covered independently, this many misses would come up once in a thousand trials.
    assert len(missed) <= binom.ppf(0.999, count, 0.1)


@pytest.mark.parametrize("link", ["slope", "value"])
@pytest.mark.skipif(not COLORECTAL.is_dir(), reason=f"the colorectal data are not at {COLORECTAL}")
def test_real_data_converge(link: str) -> None:
    trial = bi.read_trial(COLORECTAL)
    with pytest.warns(BayesIsaWarning, match="left out"):
        model = bi.build_model(trial, "weakly_informative", bi.ModelSpec(exposure="constant", link=link))
    bi.diagnose(bi.fit(model, seed=1, progressbar=False)).raise_if_failed()
