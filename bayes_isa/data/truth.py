"""What a virtual trial was made from, and its files beside the data."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bayes_isa.data.csv_files import text_rows
from bayes_isa.errors import DataError, Problem

PARAMETERS_FILE = "truth.json"
INDIVIDUAL_FILE = "truth_individual.csv"


@dataclass(frozen=True, eq=False)
class Truth:
    """The parameters a virtual trial was drawn with.

    parameters  population parameters by their names in the model: "M0_pop" (g/L), "KL_pop", "KD_pop", "R_pop"
                (1/day), "EC50_pop" (mg/L), "omega_M0" ..., "k" (L/umol), "Te" (day), "s", "beta_link",
                "sigma_add" (g/L), "sigma_prop", "nu" where residuals are Student-t, and {covariate: effect} for
                "beta_M0", "beta_KL", "beta_KD", "beta_hazard"; "correlation" (rows and columns M0, KL, KD, R, EC50)
                where random effects are correlated.
    centers     values at which continuous covariates are centred, in the unit of their column.
    individual  index "id": log_M0 (g/L), log_KL, log_KD, log_R (1/day), log_EC50 (mg/L) and the PK parameters
                pk_CLinf ... pk_Km (hours, mg, L).
    seed        what it was drawn with.
    """

    parameters: dict[str, Any]
    centers: dict[str, float]
    individual: pd.DataFrame
    seed: int


def write_truth(truth: Truth, path: str | Path) -> None:
    """Write `truth.json` and `truth_individual.csv` into a directory, made if need be, for `read_truth`."""
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    document = {"seed": truth.seed, "parameters": truth.parameters, "centers": truth.centers}
    text = json.dumps(document, indent=2, sort_keys=False)
    (directory / PARAMETERS_FILE).write_text(f"{text}\n", encoding="utf-8", newline="\n")
    with (directory / INDIVIDUAL_FILE).open("w", encoding="utf-8", newline="") as file:
        frame = truth.individual.reset_index()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(frame.columns)
        writer.writerows(text_rows(frame))


def read_truth(path: str | Path) -> Truth:
    """The truth beside a virtual trial in directory `path`; raises DataError when absent or damaged."""
    directory = Path(path)
    absent = [name for name in (PARAMETERS_FILE, INDIVIDUAL_FILE) if not directory.joinpath(name).is_file()]
    if absent:
        remedy = "Only virtual trials have a truth; write one with write_virtual_trial"
        raise DataError(
            f"{directory} holds no truth", [Problem("is missing", remedy, file=name) for name in absent]
        )
    try:
        document = json.loads(directory.joinpath(PARAMETERS_FILE).read_text(encoding="utf-8"))
        with directory.joinpath(INDIVIDUAL_FILE).open("r", encoding="utf-8") as file:
            individual = pd.read_csv(file, dtype={"id": str}, float_precision="round_trip").set_index("id")
        return Truth(document["parameters"], document["centers"], individual, document["seed"])
    except (ValueError, KeyError) as error:
        raise DataError(f"The truth in {directory} cannot be read: {error}") from error
