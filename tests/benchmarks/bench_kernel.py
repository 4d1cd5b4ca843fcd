"""Speed of the fused kernel: per node and per patient, beside the same quadrature in NumPy and beside SciPy's solver.

PYTHONPATH=tests python -m benchmarks.bench_kernel
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from kernels.trials import awkward_trial
from reference.joint_by_solve_ivp import Sets, log_m_and_hazard

from bayes_isa.data.published import PUBLISHED_ESTIMATES
from bayes_isa.kernels.evaluate import Parameters, empty_terms
from bayes_isa.kernels.quadrature import gauss_legendre
from bayes_isa.kernels.trajectory import INDIVIDUAL, trajectory
from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.spec import ModelSpec
from benchmarks.equal_panels import ORDER, equal_panels, node_places


def best(function: Callable[[], object], repeats: int) -> float:
    """Shortest wall time of a call, s."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def published(n: int, rng: np.random.Generator) -> Parameters:
    """Individual parameters drawn at the published estimates."""
    of = PUBLISHED_ESTIMATES
    typical = np.log([of[f"{name}_pop"] for name in INDIVIDUAL])
    omega = np.array([of[f"omega_{name}"] for name in INDIVIDUAL])
    phi = typical + omega * rng.standard_normal((n, 5))
    return Parameters(phi, of["k"], np.zeros(n), of["beta_link"], of["Te"], of["s"])


def kernel_seconds(data: JointData, at: Parameters) -> float:
    """One evaluation with all derivatives."""
    design = data.panels.design
    buffers = tuple(vars(empty_terms(design.measurement_day.size, design.event_day.size)).values())
    arguments = at.as_arguments()
    trajectory(design, data.shape, *arguments, *buffers)
    return best(lambda: trajectory(design, data.shape, *arguments, *buffers), 30)


def cumulative_hazards(data: JointData, at: Parameters) -> np.ndarray:
    """H at the events by quadrature in plain NumPy, without derivatives; a patient at a time, its panels alike."""
    design, share = data.panels.design, gauss_legendre(ORDER).share
    place = node_places(design)
    columns = [
        array[place]
        for array in (
            design.node_weight,
            design.node_day,
            design.node_log_day,
            design.node_effect,
            design.node_dexamethasone,
        )
    ]
    out = np.empty(design.event_day.size)
    for i in range(out.size):
        first = design.panel_offset[i]
        of_patient = slice(first, first + design.hazard_panels[i])
        weight, day, log_day, effect, dexamethasone = (array[:, of_patient] for array in columns)
        log_m0, kl, kd, r, ec50 = at.phi[i, 0], *np.exp(at.phi[i, 1:])
        kill = np.exp(-r * day) * (effect / (ec50 + effect) + at.k * dexamethasone)
        weighted = weight * kill
        before = np.cumsum(weighted.sum(axis=0)) - weighted.sum(axis=0)
        m = np.exp(log_m0 + kl * day - kd * (before + share @ weighted))
        ratio = np.exp(-at.s * (log_day - np.log(at.te)))
        hazard = at.s / day / (1.0 + ratio) * np.exp(at.beta_link * m * (kl - kd * kill))
        out[i] = np.sum(weight * hazard)
    return out


def solver_seconds(data: JointData, at: Parameters, n: int) -> float:
    """One patient by solve_ivp at a relative tolerance of 1e-5, without derivatives; mean of `n`."""
    trial = data.trial
    days = trial.mprotein["day"].to_numpy(dtype=float)
    start = time.perf_counter()
    for i in range(n):

        def exposure(day: float, i: int = i) -> tuple[float, float]:
            effect, dexamethasone = data.exposure.evaluate(np.array([i]), np.array([day]))
            return float(effect[0]), float(dexamethasone[0])

        natural = np.exp(at.phi[i])
        scalars = (at.k, 0.0, at.beta_link, at.te, at.s, 0.5, 0.1)
        sets = Sets(*(np.array([value]) for value in (*natural, *scalars)))
        visits = days[(trial.mprotein["id"] == trial.patients.index[i]).to_numpy()]
        breaks = data.exposure.breakpoints.of(i)
        log_m_and_hazard(sets, exposure, breaks, visits, float(trial.pfs["day"].iloc[i]), 1e-5)
    return (time.perf_counter() - start) / n


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(1)
    for n in (50, 201, 1000, 5000):
        data = prepare(awkward_trial(n), ModelSpec(covariates={}))
        at = published(n, rng)
        seconds = kernel_seconds(data, at)
        nodes = data.panels.n_nodes
        print(
            f"{n:5} patients, {nodes:8} nodes: {1e3 * seconds:7.2f} ms, {1e9 * seconds / nodes:5.1f} ns a node,"
            f" {1e6 * seconds / n:5.1f} us a patient"
        )
        if n == 201:
            with equal_panels():
                equal = prepare(awkward_trial(n), ModelSpec(covariates={}))
            numpy_seconds = best(lambda equal=equal, at=at: cumulative_hazards(equal, at), 3)
            print(
                f"      NumPy, H alone: {numpy_seconds / seconds:.0f} times the kernel with all its derivatives"
            )
            solver = solver_seconds(data, at, 5)
            print(f"      solve_ivp, values alone: {solver * n / seconds:.0f} times")


if __name__ == "__main__":
    main()
