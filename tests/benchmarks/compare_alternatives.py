"""Which model predicts the patients of the built-in trial best? Alternatives to the one it was drawn from, one by one.

PYTHONPATH=tests python -m benchmarks.compare_alternatives --out DIR          # an hour; fits are kept in DIR and reused

Prints ArviZ's comparison table of leave-one-patient-out ELPD for each part, with the diagnosis of every fit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import xarray as xr

import bayes_isa as bi

ALTERNATIVES: dict[str, dict[str, str]] = {
    "as drawn": {},
    "link none": {"link": "none"},
    "link value": {"link": "value"},
    "link log_value": {"link": "log_value"},
    "link relative_slope": {"link": "relative_slope"},
    "effect linear": {"effect": "linear"},
    "hazard weibull": {"hazard": "weibull"},
    "hazard exponential": {"hazard": "exponential"},
    "exposure kpd": {"exposure": "kpd"},
    "residual student": {"residual": "student_t"},
}
PARTS = ("joint", "marker", "pfs", "pfs_given_marker")


def elpd_of(name: str, changes: dict[str, str], given: argparse.Namespace) -> xr.Dataset:
    """The ELPD of one alternative, fitted if `given.out` does not hold it yet."""
    stem = given.out / name.replace(" ", "-")
    scored = stem.with_suffix(".elpd.nc")
    if scored.exists():
        return xr.load_dataset(scored)
    file = stem.with_suffix(".fit.nc")
    if file.exists():
        fit = bi.load_fit(file)
    else:
        model = bi.build_model(bi.load_example("virtual_rrmm"), "weakly_informative", bi.ModelSpec(**changes))
        fit = bi.fit(model, chains=given.chains, tune=given.tune, draws=given.draws, seed=given.seed)
        bi.save_fit(fit, file)
    print(f"{name}: {str(bi.diagnose(fit)).splitlines()[0]}", flush=True)
    result = bi.elpd_loo(fit, seed=given.seed)
    result.to_netcdf(scored, engine="h5netcdf")
    return result


def main() -> None:
    """Fit what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--tune", type=int, default=500)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    found = {name: elpd_of(name, changes, given) for name, changes in ALTERNATIVES.items()}
    with pd.option_context("display.width", 160, "display.max_columns", 20):
        for part in PARTS:
            print(f"\n{part}\n{bi.compare_models(found, part=part).round(2)}")


if __name__ == "__main__":
    main()
