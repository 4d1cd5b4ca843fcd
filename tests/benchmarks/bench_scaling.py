"""How the cost of a gradient grows with the number of patients: virtual trials of 50 to 5000.

PYTHONPATH=tests python -m benchmarks.bench_scaling [--patients 50 201 1000 5000] [--seed 1]

The kernel alone (values and all derivatives, at the true individual parameters), and the model's whole log density and
gradient (kernel, coordinates, priors, at the starting point) through the very function that nutpie's chains call. One
thread. "s, once": exposure and panels, and the warm start.
"""

from __future__ import annotations

import argparse

import numpy as np

import bayes_isa as bi
from bayes_isa.data.published import PUBLISHED_ESTIMATES
from bayes_isa.kernels.evaluate import Parameters, empty_terms
from bayes_isa.kernels.trajectory import trajectory
from bayes_isa.model import search
from bayes_isa.model.build import record_of
from bayes_isa.model.joint_data import JointData
from bayes_isa.simulation.virtual_trial import VirtualTrial, draw_virtual_trial
from benchmarks.sampler_density import SamplerDensity
from benchmarks.stopwatch import shortest_seconds, timed

_REPEATS = 25


def true_parameters(virtual: VirtualTrial) -> Parameters:
    """The parameters that a virtual trial was drawn with, covariate effects on the hazard apart."""
    of = PUBLISHED_ESTIMATES
    logs = [column for column in virtual.truth.individual if column.startswith("log_")]
    phi = virtual.truth.individual[logs].to_numpy(dtype=float)
    return Parameters(phi, of["k"], np.zeros(len(phi)), of["beta_link"], of["Te"], of["s"])


def kernel_seconds(data: JointData, at: Parameters) -> float:
    """One call of the kernel."""
    design = data.panels.design
    buffers = tuple(vars(empty_terms(design.measurement_day.size, design.event_day.size)).values())
    arguments = at.as_arguments()
    (seconds,) = shortest_seconds(
        lambda: trajectory(design, data.shape, *arguments, *buffers), repeats=_REPEATS
    )
    return seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, nargs="+", default=[50, 201, 1000, 5000])
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(
        "             nodes |          kernel alone           |          whole gradient           |     s, once\n"
        "patients (a patient) |     ms  ns a node  us a patient |     ms  us a patient  a second     | data  start"
    )
    for n in given.patients:
        virtual = draw_virtual_trial(n, seed=given.seed)
        with timed(data=(search, "prepare"), start=(search, "warm_start")) as laps:
            model = bi.build_model(virtual.trial)
        data = record_of(model).data
        nodes = data.panels.n_nodes
        kernel = kernel_seconds(data, true_parameters(virtual))
        density = SamplerDensity(model)
        at = density.flat(model.initial_point())
        (whole,) = shortest_seconds(lambda density=density, at=at: density(at), repeats=_REPEATS)
        print(
            f"{n:8} {nodes:8} ({nodes / n:4.0f}) |"
            f" {1e3 * kernel:6.3f} {1e9 * kernel / nodes:10.1f} {1e6 * kernel / n:13.2f} |"
            f" {1e3 * whole:6.3f} {1e6 * whole / n:13.2f} {1.0 / whole:9.0f}     |"
            f" {laps['data'].seconds:5.1f} {laps['start'].seconds:5.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
