"""Nodes and errors of the quadrature by tolerance and order (-: panels differ), on 201 patients of all arms.

PYTHONPATH=tests python -m benchmarks.bench_quadrature

Errors are against a solution of the highest order with a tolerance of 1e-7, at parameters drawn from the bulk of the
weakly informative prior (see tests/reference), for patients to whom they are plausible: M below 500 g/L, H below 5.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from kernels.trials import awkward_trial
from scipy.stats import truncnorm

from bayes_isa.data.trial import Trial
from bayes_isa.kernels.evaluate import Parameters, evaluate_terms
from bayes_isa.kernels.hazard import make_shape
from bayes_isa.kernels.panels import Panels, build_panels
from bayes_isa.kernels.quadrature import ORDERS
from bayes_isa.model.exposures import trial_exposure
from bayes_isa.model.joint_data import trial_timeline
from bayes_isa.model.priors import load_priors
from bayes_isa.model.reference import reference_parameters

N_SETS = 40
SHAPE = make_shape("slope", "loglogistic", "emax")


@dataclass(frozen=True)
class Solution:
    """Per set: log M of the measurements, H and log hazard of the patients."""

    log_m: np.ndarray
    cumulative: np.ndarray
    log_event: np.ndarray


def draw_parameters(baseline: np.ndarray, rng: np.random.Generator) -> Parameters:
    """One set of population parameters within the prior's central 90 %, individual ones within 2 SD."""
    priors = load_priors("weakly_informative")

    def drawn(prior) -> float:
        return float(prior.quantiles([rng.uniform(0.05, 0.95)])[0])

    eta = truncnorm.rvs(-2.0, 2.0, size=(baseline.size, 5), random_state=rng)
    phi = np.log(baseline)[:, None] + 0.2 * eta
    for column, name in enumerate(("KL", "KD", "R", "EC50"), start=1):
        typical, omega = (drawn(priors.parameters[which]) for which in (f"{name}_pop", f"omega_{name}"))
        phi[:, column] = np.log(typical) + omega * eta[:, column]
    k, te, s = (drawn(priors.parameters[name]) for name in ("k", "Te", "s"))
    return Parameters(phi, k, np.zeros(baseline.size), drawn(priors.link("slope")), te, s)


def solve(panels: Panels, sets: list[Parameters]) -> Solution:
    """The kernel's terms at every set."""
    terms = [evaluate_terms(panels, SHAPE, one) for one in sets]
    columns = ([getattr(t, name) for t in terms] for name in ("log_m", "cumulative_hazard", "log_event"))
    return Solution(*(np.array(column) for column in columns))


def main(trial: Trial | None = None) -> None:
    """Print the table."""
    trial = trial or awkward_trial()
    exposure = trial_exposure("pk", trial.patients, trial.doses, trial.last_day)
    line = trial_timeline(trial, exposure)
    baseline = trial.baseline_mprotein.to_numpy(dtype=float)
    reference = reference_parameters(baseline, "slope")
    rng = np.random.default_rng(1)
    sets = [draw_parameters(baseline, rng) for _ in range(N_SETS)]

    def panels_of(tolerance: float, order: int | None) -> Panels:
        return build_panels(line, exposure.evaluate, SHAPE, reference, tolerance=tolerance, order=order)

    exact = solve(panels_of(1e-7, ORDERS[0]), sets)
    patient = np.repeat(np.arange(line.n_patients), np.diff(line.measurement_offset))
    highest = np.full((N_SETS, line.n_patients), -np.inf)
    for row, log_m in zip(highest, exact.log_m, strict=True):
        np.maximum.at(row, patient, log_m)
    plausible = (highest < np.log(500.0)) & (exact.cumulative < 5.0)
    dies = trial.pfs["event"].to_numpy(dtype=bool)
    print(f"{plausible.mean():.0%} of {plausible.size} patients' sets plausible")
    print(
        "tolerance order  nodes (a patient)  build s | event term: median, 99.9 %, max, missed | log M: median, max"
    )
    for tolerance in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        for order in (None, *ORDERS[: 3 if tolerance > 1e-4 else 2]):
            start = time.perf_counter()
            panels = panels_of(tolerance, order)
            seconds = time.perf_counter() - start
            found = solve(panels, sets)
            with np.errstate(invalid="ignore"):
                error = np.abs(
                    found.cumulative - exact.cumulative - dies * (found.log_event - exact.log_event)
                )
            event = error[plausible]
            log_m = np.abs(found.log_m - exact.log_m)[plausible[:, patient]]
            cost = f"{panels.n_nodes:6} ({panels.n_nodes / line.n_patients:6.0f}) {seconds:13.1f}"
            print(
                f"{tolerance:9.0e} {order or '-':>5} {cost} | {np.median(event):10.0e} {np.quantile(event, 0.999):7.0e}"
                f" {event.max():7.0e} {np.mean(event > tolerance):8.3%}"
                f" | {np.median(log_m):7.0e} {log_m.max():7.0e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
