"""Speed of the isatuximab solver beside SciPy's, 20 months a patient.

PYTHONPATH=tests python -m benchmarks.bench_pk
"""

from __future__ import annotations

import time

import numpy as np
from pk.patients import EVERY_2_WEEKS, UNTIL_DAY, random_patients, repeated_doses
from reference.by_solve_ivp import isatuximab_by_solve_ivp

from bayes_isa.pk import Doses, pk_exposure, solve_isatuximab

N_PATIENTS = 16
N_COPIES = 32  # of each patient, for our own timing
WEEKLY_THEN_EVERY_2_WEEKS = np.concatenate([np.arange(0.0, 28.0, 7.0), np.arange(28.0, 600.0, 14.0)])


def seconds(function, *arguments) -> tuple[float, object]:
    """Wall time of a call, and what it returned."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def compare(mg_per_kg: float, days: np.ndarray) -> None:
    """Print microseconds a patient, steps, and the ratio to SciPy at rtol 1e-10 on the same patients."""
    parameters, weight = random_patients(N_PATIENTS, seed=1)
    doses = repeated_doses(np.tile(weight, N_COPIES), mg_per_kg, days)
    elapsed, solution = seconds(solve_isatuximab, np.tile(parameters, (N_COPIES, 1)), *doses, UNTIL_DAY)
    ours = elapsed / (N_PATIENTS * N_COPIES)
    steps = np.diff(solution.step_offsets)

    query = np.linspace(0.1, UNTIL_DAY, 500)
    columns = [np.asarray(column).reshape(N_PATIENTS * N_COPIES, -1) for column in doses[1:]]
    times = [
        seconds(isatuximab_by_solve_ivp, parameters[i], *(c[i] for c in columns), query)[0]
        for i in range(N_PATIENTS)
    ]
    print(
        f"{mg_per_kg:g} mg/kg: {ours * 1e6:.0f} us a patient ({steps.mean():.0f} steps), "
        f"solve_ivp {np.mean(times) * 1e3:.0f} ms, ratio {np.mean(times) / ours:.0f}"
    )


def slowest(mg_per_kg: float, n_patients: int = 5000) -> None:
    """Print how the worst of many drawn patients fares: steps are what costs."""
    parameters, weight = random_patients(n_patients, seed=3)
    elapsed, solution = seconds(solve_isatuximab, parameters, *repeated_doses(weight, mg_per_kg), UNTIL_DAY)
    steps = np.diff(solution.step_offsets)
    print(
        f"{n_patients} patients at {mg_per_kg:g} mg/kg: {elapsed:.1f} s; "
        f"steps: mean {steps.mean():.0f}, 99 % {np.quantile(steps, 0.99):.0f}, worst {steps.max()}"
    )


def main() -> None:
    """Compare both extremes of dosing, then time evaluation."""
    parameters, weight = random_patients(100, seed=2)
    doses = repeated_doses(weight, 3.0)
    first, _ = seconds(solve_isatuximab, parameters[:1], *repeated_doses(weight[:1], 3.0), UNTIL_DAY)
    print(f"first call, compiled or read from the cache: {first:.1f} s")
    compare(3.0, EVERY_2_WEEKS)
    compare(20.0, WEEKLY_THEN_EVERY_2_WEEKS)
    slowest(3.0)

    exposure = pk_exposure(parameters, doses, Doses(*doses[:2], 40.0), UNTIL_DAY)
    who, query = np.repeat(np.arange(100), 5000), np.tile(np.linspace(0, UNTIL_DAY, 5000), 100)
    exposure.evaluate(who[:1], query[:1])
    elapsed, _ = seconds(exposure.evaluate, who, query)
    print(f"evaluation of both drugs: {elapsed / len(who) * 1e9:.0f} ns a point")


if __name__ == "__main__":
    main()
