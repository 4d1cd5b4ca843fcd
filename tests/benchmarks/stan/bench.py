"""The peer: the same posterior in Stan. Agreement, ratios of gradient time, ratio of effective samples per second.

sh tests/benchmarks/stan/environment.sh
PYTHONPATH=tests python -m benchmarks.stan.bench                      # 50 patients, 2 chains of 200 + 200: some minutes
PYTHONPATH=tests python -m benchmarks.stan.bench --patients 201 --chains 4 --tune 500 --draws 1000       # hours

The quadrature, the data and the priors are exported from this package; matrices want equally many nodes in all panels,
so that the programs and our model in textbook coordinates have those, as accurate as ours in response coordinates.
Gradients are timed in turn in this process, one thread, at the starting point; the Stan ones compiled with
-march=native and, but for the one with reduce_sum, without STAN_THREADS, which PyStan sets; the shortest of many calls
counts. reduce_sum (which frees its tape patient by patient) and stanc's --O1 were found to be worth a few per cent at
most.
Stan's chains are PyStan's, at Stan's default adapt_delta of 0.8, and start at this package's warm start, which spares
them the search; ours are `bi.fit` with its defaults. Seconds are of tuning and draws without compilation, Stan's by its
own clock. Short Stan chains have seldom converged: then their ESS, and its ratio, flatter them or mean little.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pymc as pm
import xarray as xr

import bayes_isa as bi
from bayes_isa.data.trial import Trial
from bayes_isa.errors import BayesIsaWarning
from bayes_isa.model.build import record_of
from benchmarks.equal_panels import equal_panels
from benchmarks.inference_run import Run, evenly_chosen, run, worst
from benchmarks.sampler_density import SamplerDensity
from benchmarks.stan.density import CACHE, StanDensity, build_density
from benchmarks.stan.environment import HOW_TO, stan_python
from benchmarks.stan.export import package_name, stan_data, unconstrained
from benchmarks.stan.programs import program
from benchmarks.stopwatch import shortest_seconds

PROGRAMS = ("noncentered", "reduce_sum", "centered")
_POINTS = 5
_SPREAD = 0.05  # SD of the random points around the starting point, unconstrained scale; at 0.2 some hazards overflow
_REPEATS = 30


@dataclass(frozen=True)
class Agreement:
    """Largest relative difference of log densities, and of gradients by the largest component, over random points."""

    density: float
    gradient: float


@dataclass(frozen=True)
class StanRun:
    """What a run of Stan yields: diagnostics as in `Run`."""

    summary: Any
    seconds: float
    divergent_share: float
    gradients_per_draw: float
    gradient_seconds: float


def textbook(trial: Trial, coordinates: str) -> tuple[pm.Model, dict[str, Any]]:
    """Our model in a Stan program's coordinates, and that program's data."""
    with equal_panels():
        model = bi.build_model(trial, spec=bi.ModelSpec(coordinates=coordinates))
    record = record_of(model)
    return model, stan_data(record.data, record.priors)


def agreement(ours: SamplerDensity, stan: StanDensity, start: np.ndarray, *, seed: int) -> Agreement:
    """At the starting point and at random points around it."""
    rng = np.random.default_rng(seed)
    differences = []
    for scale in (0.0, *[_SPREAD] * _POINTS):
        at = start + scale * rng.standard_normal(start.size)
        value, slope = ours(at)
        peer_value, peer_slope = stan(unconstrained(stan.names, ours.by_name(at)))
        mine = unconstrained(stan.names, ours.by_name(slope))
        differences.append(
            (abs(value - peer_value) / abs(value), np.max(np.abs(mine - peer_slope)) / np.max(np.abs(mine)))
        )
    return Agreement(*(float(largest) for largest in np.max(differences, axis=0)))


def compare_gradients(trial: Trial, names: dict[str, StanDensity], model: pm.Model) -> None:
    """Print ms per gradient of `model`, of the default model and of the Stan programs `names`; ratios."""
    ours = SamplerDensity(model)
    default = bi.build_model(trial)
    response = SamplerDensity(default)
    start, start_response = ours.flat(model.initial_point()), response.flat(default.initial_point())
    at = {name: unconstrained(stan.names, ours.by_name(start)) for name, stan in names.items()}
    functions = [
        lambda: response(start_response),
        lambda: ours(start),
        *(lambda stan=stan, x=at[name]: stan(x) for name, stan in names.items()),
    ]
    labels = ["bayes_isa, response coordinates", "bayes_isa, textbook coordinates", *names]
    seconds = shortest_seconds(*functions, repeats=_REPEATS)
    print(f"  {'':38} {'ms':>9} {'/ response':>11} {'/ textbook':>11}")
    for label, taken in zip(labels, seconds, strict=True):
        print(f"  {label:38} {1e3 * taken:9.3f} {taken / seconds[0]:11.1f} {taken / seconds[1]:11.1f}")


def sample_stan(name: str, model: pm.Model, data: dict[str, Any], given: argparse.Namespace) -> StanRun:
    """Run PyStan in its own environment, from our starting point."""
    start = {key.removesuffix("_log__"): value for key, value in model.initial_point().items()}
    logs = {key.removesuffix("_log__") for key in model.initial_point() if key.endswith("_log__")}
    natural = {key: np.exp(value) if key in logs else value for key, value in start.items()}
    init: dict[str, Any] = {
        "pop": [float(natural[f"{p}_pop"]) for p in bi.ModelSpec().individual],
        "omega": [float(natural[f"omega_{p}"]) for p in bi.ModelSpec().individual],
    }
    individual = "phi" if name == "centered" else "eta"
    for key in ("k", "Te", "s", "sigma_add", "sigma_prop", "beta_link", individual):
        init[key] = np.asarray(natural[key]).tolist()
    for target in (*bi.ModelSpec().individual, "hazard"):
        init[f"beta_{target}"] = np.asarray(natural.get(f"beta_{target}", [])).tolist()
    job = {"program": program(name), "data": data, "init": init, "delta": 0.8}
    job |= {key: getattr(given, key) for key in ("chains", "draws", "tune", "seed")}
    with tempfile.TemporaryDirectory() as directory:
        job_file, result_file = Path(directory) / "job.json", Path(directory) / "result.npz"
        job_file.write_text(json.dumps(job))
        script = Path(__file__).resolve().parent / "sample.py"
        command = [str(stan_python()), str(script), str(job_file), str(result_file)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"PyStan failed:\n{done.stderr[-4000:]}")
        with np.load(result_file) as found:
            return _stan_run({key: found[key] for key in found.files})


def _stan_run(found: dict[str, np.ndarray]) -> StanRun:
    steps, divergent = found.pop("n_leapfrog__"), found.pop("divergent__")
    warm_up, sampling = found.pop("warmup_seconds"), found.pop("sampling_seconds")
    for other in ("treedepth__", "build_seconds", "wall_seconds"):
        del found[other]
    population = {}
    for name, draws in found.items():
        if name in ("pop", "omega"):
            for position in range(draws.shape[2]):
                population[package_name(f"{name}.{position + 1}")[0]] = draws[:, :, position]
        elif draws.size:
            population[name] = draws
    tree = xr.Dataset(
        {n: (("chain", "draw", *(f"{n}_dim",) * (a.ndim - 2)), a) for n, a in population.items()}
    )
    return StanRun(
        summary=az.summary(tree, ci_prob=0.9, ci_kind="eti", round_to="none").astype(float),
        seconds=float(np.max(warm_up + sampling)),
        divergent_share=float(divergent.mean()),
        gradients_per_draw=float(steps.mean()),
        gradient_seconds=float(sampling.sum() / steps.sum()),
    )


def report_sampling(ours: Run, stan: StanRun) -> None:
    """Print both runs and the ratio of effective samples per second."""
    lines = [("", "bayes_isa", "Stan")]
    for column, label in (
        ("r_hat", "R-hat, largest"),
        ("ess_bulk", "bulk ESS, least"),
        ("ess_tail", "tail ESS, least"),
    ):
        mine = ours.worst(column)
        theirs = worst(stan.summary, column)
        lines.append((label, f"{mine[1]:.3f} {mine[0]}", f"{theirs[1]:.3f} {theirs[0]}"))
    sampler = ours.diagnosis.sampler
    lines += [
        (
            "divergent draws, %",
            f"{100 * sampler['divergent_share']:.2f}",
            f"{100 * stan.divergent_share:.2f}",
        ),
        ("gradients a draw", f"{sampler['gradients_per_draw']:.1f}", f"{stan.gradients_per_draw:.1f}"),
        ("ms a gradient, in chains", "", f"{1e3 * stan.gradient_seconds:.3f}"),
        ("s, tuning and draws", f"{ours.seconds['sampling']:.1f}", f"{stan.seconds:.1f}"),
    ]
    for label, mine_text, stan_text in lines:
        print(f"  {label:26}{mine_text:>28}{stan_text:>28}")
    peer = worst(stan.summary, "ess_bulk")[1] / stan.seconds
    ratio = ours.ess_per_second / peer
    print(f"  least bulk ESS a second: {ours.ess_per_second:.4g} against {peer:.4g}: {ratio:.0f} times")


def sample_both(trial: Trial, model: pm.Model, data: dict[str, Any], given: argparse.Namespace) -> None:
    """Run and print both samplers, one after the other."""
    print(f"{given.chains} chains of {given.tune} + {given.draws}:", flush=True)
    settings = {key: getattr(given, key) for key in ("chains", "draws", "tune", "seed")}
    report_sampling(run(trial, "response", **settings), sample_stan(given.program, model, data, given))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--patients", type=int, default=50, help="of the 201, spread over all arms; at least 5"
    )
    parser.add_argument(
        "--rk45-patients", type=int, default=5, help="for the program with ode_rk45; 0: leave out"
    )
    parser.add_argument("--program", choices=PROGRAMS, default="noncentered", help="to sample")
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--tune", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-sampling", action="store_true", help="agreement and gradients alone")
    parser.add_argument("--cache", type=Path, default=CACHE, help="directory of compiled programs")
    return parser.parse_args()


def main() -> None:
    """Print everything."""
    given = arguments()
    if stan_python() is None:
        raise SystemExit(HOW_TO)
    full = bi.load_example("virtual_rrmm")
    trial = evenly_chosen(full, given.patients)
    model, data = textbook(trial, "centered" if given.program == "centered" else "noncentered")
    print(f"{trial.n_patients} patients, {data['order'] * data['n_panels']} quadrature nodes")
    programs = ("centered",) if given.program == "centered" else ("noncentered", "reduce_sum")
    densities = {
        f"Stan, {name}": StanDensity(build_density(name, given.cache, threads=name == "reduce_sum"), data)
        for name in programs
    }
    ours = SamplerDensity(model)
    start = ours.flat(model.initial_point())
    each = [agreement(ours, stan, start, seed=given.seed) for stan in densities.values()]
    found = Agreement(*np.max([(one.density, one.gradient) for one in each], axis=0))
    print(
        f"Largest relative difference at {_POINTS + 1} points: log density {found.density:.1e}, "
        f"gradient {found.gradient:.1e} of its largest component"
    )
    print("A gradient:")
    compare_gradients(trial, densities, model)
    if not given.no_sampling:
        sample_both(trial, model, data, given)
    if given.rk45_patients:
        warnings.simplefilter("ignore", BayesIsaWarning)  # covariates that do not vary among so few
        few = evenly_chosen(full, given.rk45_patients)
        few_model, few_data = textbook(few, "noncentered")
        rk45 = StanDensity(build_density("rk45", given.cache), few_data)
        mine = SamplerDensity(few_model)
        start = mine.flat(few_model.initial_point())
        peer = rk45(unconstrained(rk45.names, mine.by_name(start)))[0]
        print(
            f"A gradient, {few.n_patients} patients; log density with ode_rk45 off by {abs(peer - mine(start)[0]):.1e}:"
        )
        compare_gradients(few, {"Stan, ode_rk45 for each patient": rk45}, few_model)


if __name__ == "__main__":
    main()
