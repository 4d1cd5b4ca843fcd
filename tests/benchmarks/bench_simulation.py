"""Speed and memory of trial simulation at the published size, beside SciPy's ODE solver and the bare exponentials.

PYTHONPATH=tests python -m benchmarks.bench_simulation [trials]
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
from numba import njit
from reference.joint_by_solve_ivp import Sets, log_m_and_hazard

from bayes_isa.data.examples import load_example, load_example_truth
from bayes_isa.kernels.elementary import FASTMATH, exp
from bayes_isa.model.exposures import trial_exposure
from bayes_isa.model.spec import ModelSpec
from bayes_isa.regimens import SIMULATED_ARMS, Regimen
from bayes_isa.simulation import plans, simulate
from bayes_isa.simulation.parameters import fit_at_truth, posterior_draws
from bayes_isa.simulation.study import simulate_stretch

REGIMENS = SIMULATED_ARMS[:4]
HORIZON_DAY = 609.0
MONTHS = HORIZON_DAY / (365.25 / 12)
SOLVED = 3  # patients by the ODE solver
# At every node: resistance, M, baseline fraction, hazard.
EXPONENTIALS_A_NODE = 4


def whole_task(n_trials: int) -> tuple[float, float]:
    """Wall time and processor time of the whole call, s."""
    fit, trial = fit_at_truth(load_example_truth()), load_example()
    simulate.simulate_trials(fit, REGIMENS, n_trials=2, seed=1, trial=trial, spec=ModelSpec())  # compile
    wall, processor = time.perf_counter(), time.process_time()
    simulate.simulate_trials(fit, REGIMENS, n_trials=n_trials, seed=1, trial=trial, spec=ModelSpec())
    return time.perf_counter() - wall, time.process_time() - processor


def prepared():
    """The study, and the processor time its exposures and panels take, s."""
    start = time.process_time()
    study, _ = simulate._prepare(
        fit_at_truth(load_example_truth()),
        plans.parse_regimens(REGIMENS),
        n_trials=1000,
        seed=1,
        population="fitted",
        n_patients=None,
        weights=None,
        vary=frozenset(("events",)),
        horizon_day=HORIZON_DAY,
        visit_days=28.0,
        dexamethasone_hazard="regimen",
        observed=False,
        data=(load_example(), ModelSpec()),
        allow_unconverged=False,
    )
    return study, time.process_time() - start


def trial_seconds(study, trials: int = 20) -> float:
    """One trial of all regimens, on one processor."""
    start = time.process_time()
    simulate_stretch(study, 0, trials)
    return (time.process_time() - start) / trials


@njit(fastmath=FASTMATH)
def _exponentials(x, out):
    for n in range(x.size):
        out[n] = exp(x[n])


def exponential_seconds() -> float:
    """One exponential of the kernel's own, in a vector loop over 1500 numbers, the nodes of a patient."""
    x, out = np.linspace(-3.0, 0.0, 1500), np.empty(1500)
    _exponentials(x, out)
    start = time.perf_counter()
    for _ in range(2000):
        _exponentials(x, out)
    return (time.perf_counter() - start) / (2000 * 1500)


def solver_seconds(n: int) -> float:
    """One patient and regimen by solve_ivp at a relative tolerance of 1e-5, exposure known; mean over regimens."""
    trial, truth = load_example(), load_example_truth()
    parameters = posterior_draws(fit_at_truth(truth)).at(0)
    horizon = np.full(n, HORIZON_DAY)
    patients = trial.patients.iloc[:n]
    phi = posterior_draws(fit_at_truth(truth)).phi[0]
    visits = np.arange(0.0, HORIZON_DAY, 28.0)
    total = 0.0
    for name in REGIMENS:
        doses = Regimen.parse(name).doses(
            list(patients.index), patients["weight_kg"], patients["age_years"], horizon
        )
        solved = trial_exposure("pk", patients, doses, horizon)
        start = time.process_time()
        for i in range(n):

            def exposure(day: float, i: int = i, solved=solved) -> tuple[float, float]:
                effect, dexamethasone = solved.evaluate(np.array([i]), np.array([day]))
                return float(effect[0]), float(dexamethasone[0])

            scalars = (parameters.k, 0.0, parameters.beta_link, parameters.te, parameters.s, 0.5, 0.1)
            sets = Sets(*(np.array([value]) for value in (*np.exp(phi[i]), *scalars)))
            log_m_and_hazard(sets, exposure, solved.breakpoints.of(i), visits, HORIZON_DAY, 1e-5)
        total += time.process_time() - start
    return total / (n * len(REGIMENS))


def main() -> None:
    """Print the table."""
    n_trials = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    wall, processor = whole_task(n_trials)
    study, setup = prepared()
    n, r = study.pool.size, len(REGIMENS)
    per_trial = trial_seconds(study)
    per_patient = per_trial / (n * r)
    nodes = np.mean([plan.panels.n_nodes for plan in study.plans]) / n
    minimum = nodes * EXPONENTIALS_A_NODE * exponential_seconds()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{n_trials} trials x {n} patients x {r} regimens x {MONTHS:.0f} months: {wall:.1f} s wall, "
        f"{processor:.1f} s of processors, peak {peak:.2f} GB with everything loaded"
    )
    print(f"  exposures and panels, once: {setup:.2f} s; a trial: {1e3 * per_trial:.1f} ms")
    month = 1e9 * per_patient / MONTHS
    print(
        f"  a patient and regimen: {1e6 * per_patient:.1f} us, {nodes:.0f} nodes; a patient-month: {month:.0f} ns"
    )
    print(
        f"  {per_patient / minimum:.1f} times the {EXPONENTIALS_A_NODE} exponentials a node that it takes at least"
    )
    print(f"  solve_ivp, a patient: {solver_seconds(SOLVED) / per_patient:.0f} times")


if __name__ == "__main__":
    main()
