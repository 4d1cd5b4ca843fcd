"""What a fit of the built-in trial costs and what it yields, as a table; ratios between coordinates in one run.

PYTHONPATH=tests python -m benchmarks.bench_inference                            # 4 chains of 500 + 1000
PYTHONPATH=tests python -m benchmarks.bench_inference --against noncentered      # and the ratio of ESS per second

Wall times hold for the machine and its load; ratios within one run travel better. Every stage includes loading compiled
code from the disk cache, and compiling in the first run after a change.
"""

from __future__ import annotations

import argparse

import bayes_isa as bi
from bayes_isa.model.spec import COORDINATES
from benchmarks.inference_run import Run, evenly_chosen, run


def rows(result: Run) -> dict[str, str]:
    """The table's rows for one run."""
    sampler = result.diagnosis.sampler
    seconds = result.seconds

    def worst(column: str, digits: str) -> str:
        name, value = result.worst(column)
        return f"{value:{digits}} {name}"

    return {
        "R-hat, largest": worst("r_hat", ".4f"),
        "bulk ESS, least": worst("ess_bulk", ".0f"),
        "tail ESS, least": worst("ess_tail", ".0f"),
        "R-hat of phi, largest": f"{sampler['max_r_hat_individual']:.4f}",
        "divergent draws, %": f"{100 * sampler['divergent_share']:.2f}",
        "gradients a draw": f"{sampler['gradients_per_draw']:.1f}",
        "ms a gradient": f"{1e3 * result.gradient_seconds:.3f}",
        **{f"s, {stage}": f"{taken:.1f}" for stage, taken in seconds.items()},
        "s, all": f"{sum(seconds.values()):.1f}",
        "least bulk ESS a second": f"{result.ess_per_second:.3g}",
        "diagnosis": "passed" if result.diagnosis.ok else f"{len(result.diagnosis.failures)} failures",
    }


def table(results: list[Run]) -> str:
    """One column a run."""
    columns = [rows(result) for result in results]
    lines = [f"{'':26}" + "".join(f"{result.coordinates:>28}" for result in results)]
    lines += [f"{label:26}" + "".join(f"{column[label]:>28}" for column in columns) for label in columns[0]]
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=201, help="how many of the 201, spread over all arms")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--tune", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cores", type=int, default=None, help="default: as nutpie chooses")
    parser.add_argument("--target-accept", type=float, default=None, help="default: that of `bi.fit`")
    parser.add_argument("--coordinates", choices=COORDINATES, default="response")
    parser.add_argument(
        "--against", choices=COORDINATES, action="append", default=[], help="for the ratio; may be repeated"
    )
    return parser.parse_args()


def main() -> None:
    """Print the table and the ratios."""
    given = arguments()
    trial = evenly_chosen(bi.load_example("virtual_rrmm"), given.patients)
    settings = {name: getattr(given, name) for name in ("chains", "draws", "tune", "seed")}
    settings |= {
        name: getattr(given, name) for name in ("cores", "target_accept") if getattr(given, name) is not None
    }
    print(f"{trial.n_patients} patients, " + ", ".join(f"{name} {value}" for name, value in settings.items()))
    results = [run(trial, coordinates, **settings) for coordinates in (given.coordinates, *given.against)]
    print(table(results))
    for other in results[1:]:
        ratio = results[0].ess_per_second / other.ess_per_second
        print(
            f"least bulk ESS a second, {results[0].coordinates} against {other.coordinates}: {ratio:.1f} times"
        )


if __name__ == "__main__":
    main()
