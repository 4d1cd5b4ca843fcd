"""The verb `calibrate`: ranks of the truth and what they say, as text or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bayes_isa.cli.console import print_json, say
from bayes_isa.cli.progress import progress
from bayes_isa.cli.tables import plain_table
from bayes_isa.prediction.calibrate import calibrate

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from bayes_isa.model.priors import PriorSet

_COLUMNS = {
    "p_value": "p",
    "p_adjusted": "p, adjusted",
    "chi_square_p": "p, chi-square",
    "mean_z": "mean rank, z",
    "spread_z": "spread, z",
}


def run_calibrate(
    out: Path,
    *,
    replicates: int,
    patients: int,
    priors: PriorSet | None,
    coordinates: str,
    processes: int,
    error_rate: float,
    plot: Path | None,
    csv: Path | None,
    seed: int,
    as_json: bool,
) -> bool:
    """Run or continue, print, and say whether every quantity passes."""
    with progress("Replicates", replicates) as update:
        found = calibrate(
            replicates,
            out=out,
            seed=seed,
            n_patients=patients,
            priors=priors,
            coordinates=coordinates,
            processes=processes,
            progress=lambda done, _: update(done, ""),
        )
    tests = found["uniformity"].to_dataset()
    table = tests[[*_COLUMNS, "leaves_band"]].to_dataframe()
    if csv is not None:
        table.to_csv(csv)
    if plot is not None:
        from bayes_isa.plots.plot_calibration import plot_calibration

        plot_calibration(found).savefig(plot, dpi=150)
    failing = [str(name) for name in table.index[table["p_adjusted"] < error_rate]]
    if as_json:
        rows = table.reset_index().to_dict(orient="records")
        failed = found.attrs["failed"]
        print_json(
            {"replicates": found.sizes["replicate"], "failed": failed, "failing": failing, "table": rows}
        )
    else:
        shown = table[list(_COLUMNS)].map("{:.3f}".format).rename(columns=_COLUMNS)
        shown.index.name = None
        print(plain_table(shown))
    say(_verdict(found, table, failing, error_rate))
    return not failing


def _verdict(found: xr.DataTree, table: pd.DataFrame, failing: list[str], error_rate: float) -> str:
    lost = len(found.attrs["failed"])
    counted = f"{found.sizes['replicate']} replicates" + (f", {lost} more failed to fit" if lost else "")
    if failing:
        return f"CALIBRATION FAILED at {error_rate:g} ({counted}): {', '.join(failing)}."
    return f"Calibrated: the ranks of all {len(table)} quantities are uniform at {error_rate:g} over all ({counted})."
