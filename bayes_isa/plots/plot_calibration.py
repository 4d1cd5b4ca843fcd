"""`plot_calibration`: ECDF of the ranks of a simulation-based calibration, less what uniform ranks give."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from bayes_isa.plots.panels_grid import p_value_text, panel_grid
from bayes_isa.plots.style import OBSERVED, SIMULATED

_OUTSIDE = "#D55E00"


def plot_calibration(calibration: xr.DataTree) -> Figure:
    """One panel for each ranked quantity, with the band that holds 95 % of uniform curves whole.

    calibration: what `calibrate` returned. A curve above the band on the left and below it on the right: posteriors too
    narrow; the reverse: too wide; above throughout: posterior values too high. The p-value is corrected for the number
    of panels (Holm); a curve in orange leaves its band, as one panel in twenty does by chance.
    """
    tests = calibration["uniformity"].to_dataset()
    at = tests["at"].to_numpy()
    names = [str(name) for name in tests["quantity"].to_numpy()]
    figure, axes = panel_grid(len(names), columns=6, width=2.1, height=1.5)
    for number, (ax, name) in enumerate(zip(axes, names, strict=True)):
        one = tests.sel(quantity=name)
        ax.fill_between(
            at, tests["band_low"], tests["band_high"], color=SIMULATED, alpha=0.2, linewidth=0.0, step="mid"
        )
        ax.axhline(0.0, color="0.4", linewidth=0.6)
        color = _OUTSIDE if bool(one["leaves_band"]) else OBSERVED
        ax.plot(at, one["difference"], color=color, linewidth=1.0, drawstyle="steps-mid")
        ax.set_title(f"{_wrapped(name)}\n{p_value_text(float(one['p_adjusted']))}", fontsize=7)
        ax.set_xlim(0.0, 1.0)
        ax.set_xticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
        if number + 6 >= len(names):
            ax.set_xlabel("Rank / largest rank", fontsize=8)
    for ax in axes[::6]:
        ax.set_ylabel("ECDF - uniform", fontsize=8)
    done, n = calibration.attrs["wanted"], tests.attrs["replicates"]
    figure.suptitle(f"Ranks of the truth among posterior draws, {n} of {done} replicates", fontsize=9)
    return figure


def _wrapped(name: str) -> str:
    return name.replace("[", "\n[", 1) if len(name) > 26 else name
