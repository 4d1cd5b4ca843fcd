"""The verb `reproduce`: the published trial simulations beside our own, as text or JSON."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bayes_isa.cli.comparing import require_converged
from bayes_isa.cli.console import print_json
from bayes_isa.cli.progress import progress
from bayes_isa.cli.tables import plain_table
from bayes_isa.inference.storage import load_fit
from bayes_isa.simulation.reproduce import reproduce

_POPULATIONS = {"all": "All patients", "japanese": "Japanese patients"}
_QUANTITIES = {
    "week8_fall_percent": "fall at week 8, %",
    "median_pfs_weeks": "median PFS, weeks",
    "gain_median_pfs_weeks": "gain in median PFS, weeks",
    "hazard_ratio": "hazard ratio",
}
_NOTE = (
    "Simulated: median over trials (5 %-95 %); diff.: simulated minus published. Gains and hazard ratios are against "
    "20 mg/kg QW-Q2W,\nbut in the row of 10 mg/kg QW-Q2W the hazard ratio is that of 20 against 10 mg/kg, as printed. "
    "Held: each patient keeps its\nindividual parameters in all trials, as in the publication; fresh: they are drawn "
    "anew in each. Nothing is tuned: the patients,\ntheir individual parameters and dexamethasone's kinetic constants "
    "are not public."
)


def run_reproduce(
    *, fit: Path | None, trials: int, seed: int, csv: Path | None, allow_unconverged: bool, as_json: bool
) -> None:
    """Simulate, compare with the publication, print."""
    fitted = None
    if fit is not None:
        fitted = load_fit(fit)
        require_converged(fitted, allow=allow_unconverged)
    with progress("Simulating trials", 2 * trials) as update:
        table = reproduce(
            fitted,
            n_trials=trials,
            seed=seed,
            allow_unconverged=True,  # judged above
            progress=lambda done, _: update(done, ""),
        )
    if csv is not None:
        table.to_csv(csv, index=False)
    if as_json:
        print_json({"rows": table.to_dict(orient="records")})
        return
    for population, title in _POPULATIONS.items():
        own = table[table["population"] == population]
        if len(own):
            print(f"{title}\n{plain_table(_beside(own))}\n")
    source = "the published estimates" if fit is None else f"the posterior in {fit}"
    print(f"{trials} trials at {source}.\n{_NOTE}")


def _beside(table: pd.DataFrame) -> pd.DataFrame:
    """One line per printed number, both modes beside it."""
    columns: dict[str, list[str]] = {"quantity": [], "published": []}
    modes = list(dict.fromkeys(table["mode"]))
    columns |= {name: [] for mode in modes for name in (mode, f"{mode} diff.")}
    regimens = []
    for (regimen, quantity), rows in table.groupby(["regimen", "quantity"], sort=False):
        digits = 2 if quantity == "hazard_ratio" else 1
        first = rows.iloc[0]
        regimens.append(regimen)
        columns["quantity"].append(_QUANTITIES[str(quantity)])
        columns["published"].append(_interval(first, "published", "published_p5", "published_p95", digits))
        for mode in modes:
            row = rows[rows["mode"] == mode].iloc[0]
            columns[mode].append(_interval(row, "simulated", "p5", "p95", digits))
            columns[f"{mode} diff."].append(f"{row['simulated'] - row['published']:+.{digits}f}")
    repeated = pd.Series(regimens).duplicated()
    return pd.DataFrame(
        columns, index=["" if again else r for r, again in zip(regimens, repeated, strict=True)]
    )


def _interval(row: pd.Series, value: str, low: str, high: str, digits: int) -> str:
    if pd.isna(row[low]):
        return f"{row[value]:.{digits}f}"
    return f"{row[value]:.{digits}f} ({row[low]:.{digits}f} to {row[high]:.{digits}f})"
