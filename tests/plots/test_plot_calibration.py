"""`plot_calibration`: a panel for each quantity, the curves and bands it was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex

from bayes_isa.inference.calibrate import collect
from bayes_isa.inference.ranks import N_RANKED
from bayes_isa.inference.replicates import Replicate, ReplicateStore
from bayes_isa.plots.plot_calibration import plot_calibration


@pytest.fixture
def calibration(tmp_path: Path):
    """50 replicates of eight quantities, the ranks of the last far too low."""
    store = ReplicateStore.open(tmp_path / "store", {})
    rng = np.random.default_rng(2)
    for number in range(50):
        u = rng.uniform(size=8) ** np.array([1.0] * 7 + [4.0])
        store.add(Replicate(number, {f"q{i}": int(x * (N_RANKED + 1)) for i, x in enumerate(u)}, {}))
    return collect(store, {}, 60)


def test_curves_bands_and_verdicts(calibration):
    figure = plot_calibration(calibration)
    axes = [ax for ax in figure.axes if ax.get_visible()]
    tests = calibration["uniformity"].to_dataset()
    assert len(axes) == 8
    for i, ax in enumerate(axes):
        curve = ax.lines[-1]
        np.testing.assert_array_equal(curve.get_ydata(), tests["difference"].sel(quantity=f"q{i}"))
        assert (to_hex(curve.get_color()) == "#d55e00") == bool(tests["leaves_band"].sel(quantity=f"q{i}"))
        assert ax.get_title().startswith(f"q{i}\np")
        (band,) = [c for c in ax.collections if isinstance(c, PolyCollection)]
        assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(float(tests["band_high"].max()))
    assert axes[-1].get_title() == "q7\np < 0.001"
    assert "50 of 60 replicates" in figure.get_suptitle()
