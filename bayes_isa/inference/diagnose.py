"""`diagnose`: can the draws of a fit be trusted? Names what fails, by how much, and what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.errors import ConvergenceError, ModelError
from bayes_isa.inference.correlations import with_pairs
from bayes_isa.inference.storage import population_variables

_BLOCK_BYTES = 16e6  # half of phi of the published study at the default draws
# Of five divergent draws, the fewest that fail at default settings, all are in one of four alike chains once in 256.
_NEARLY_ALL = 0.9


@dataclass(frozen=True)
class Limits:
    """What a trustworthy fit meets.

    R-hat and ESS after Vehtari et al. 2021 (doi:10.1214/20-BA1221): rank-normalised R-hat at most 1.01, bulk and tail
    ESS at least 100 a chain of the usual four. E-BFMI below 0.3 after Betancourt 2016 (arXiv:1604.00695). Divergences:
    one in a thousand, above which estimates of tails are suspect. Individual parameters number a thousand, of which the
    largest of well-mixed R-hats lies above 1.01 by chance; hence a bound of their own.
    """

    r_hat: float = 1.01
    r_hat_individual: float = 1.05
    ess: float = 400.0
    divergences: float = 1e-3
    e_bfmi: float = 0.3


@dataclass(frozen=True)
class Finding:
    """One check that failed: where, the value found, the limit, and what to do about it."""

    check: str
    where: str
    value: float
    limit: float
    remedy: str

    def __str__(self) -> str:
        return f"{self.check} of {self.where}: {self.value:.4g} (limit {self.limit:g}). {self.remedy}"


@dataclass(frozen=True)
class Diagnosis:
    """Outcome of `diagnose`: the table of population parameters, the sampler's numbers, and what failed."""

    table: pd.DataFrame = field(repr=False)
    sampler: dict[str, float]
    failures: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return not self.failures

    def raise_if_failed(self) -> None:
        """Raise ConvergenceError naming every failed check."""
        if self.failures:
            raise ConvergenceError(
                "the fit failed its diagnostics:\n" + "\n".join(f"  - {f}" for f in self.failures)
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "ok": self.ok,
            "failures": [asdict(f) for f in self.failures],
            "sampler": self.sampler,
            "parameters": self.table.reset_index().to_dict(orient="records"),
        }

    def __str__(self) -> str:
        verdict = "converged" if self.ok else f"{len(self.failures)} checks failed"
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in self.sampler.items())
        lines = [f"{verdict}: {numbers}", *(f"  - {f}" for f in self.failures)]
        return "\n".join(lines)


def diagnose(fit: xr.DataTree, *, limits: Limits | None = None) -> Diagnosis:
    """Check R-hat, bulk and tail ESS, divergences and E-BFMI of a fit.

    Population parameters are every posterior variable without a patient dimension; individual ones are held to an R-hat
    bound of their own. Raises ModelError for a tree without posterior or sample_stats.
    """
    if "posterior" not in fit.children or "sample_stats" not in fit.children:
        raise ModelError("expected a fit with the groups posterior and sample_stats")
    bound = limits or Limits()
    posterior = fit["posterior"].to_dataset()
    population = posterior[population_variables(posterior)]
    latent = [str(n) for n in posterior.data_vars if n == "phi" or str(n).startswith("imputed_")]
    individual = posterior[latent]
    table = _population_table(population)
    sampler, places = _sampler_numbers(fit, individual)
    failures = [
        *_parameter_failures(table, bound, chains=posterior.sizes["chain"]),
        *_sampler_failures(sampler, places, bound),
    ]
    return Diagnosis(table, sampler, tuple(failures))


def _population_table(population: xr.Dataset) -> pd.DataFrame:
    """One row per scalar, each correlation once: mean, sd, 90 % interval, R-hat, ESS."""
    table = az.summary(with_pairs(population), ci_prob=0.9, ci_kind="eti", round_to="none")
    table.index.name = "parameter"
    return table.astype(float)


def _sampler_numbers(fit: xr.DataTree, individual: xr.Dataset) -> tuple[dict[str, float], dict[str, str]]:
    """The sampler's numbers, and for some of them a place narrower than all chains."""
    stats = fit["sample_stats"].to_dataset()
    diverging = stats["diverging"]
    numbers = {
        "draws": float(diverging.size),
        "divergences": float(diverging.sum()),
        "divergent_share": float(diverging.mean()),
    }
    places = {}
    if concentrated := _in_one_chain(diverging.sum("draw")):
        places["divergent_share"] = concentrated
    if "energy" in stats:
        with np.errstate(over="ignore", invalid="ignore"):  # of a chain that went to 1e200: NaN, and fails
            numbers["min_e_bfmi"] = float(az.bfmi(stats[["energy"]])["energy"].min(skipna=False))
    if "n_steps" in stats:
        numbers["gradients_per_draw"] = float(stats["n_steps"].mean())
    if individual.data_vars:
        numbers["max_r_hat_individual"], places["max_r_hat_individual"] = _largest_r_hat(individual)
    return numbers, places


def _in_one_chain(divergences: xr.DataArray) -> str | None:
    """Which of several chains has nearly all divergent draws (chain,), if one does."""
    worst, total = int(divergences.to_numpy().argmax()), divergences.sum().item()
    number = divergences[worst].item()
    if divergences.size < 2 or total == 0 or number < _NEARLY_ALL * total:
        return None
    return f"all chains ({number} of {total} in chain {divergences.get_index('chain')[worst]})"


def _largest_r_hat(individual: xr.Dataset) -> tuple[float, str]:
    """Largest R-hat of phi and of imputed covariates, NaN if any is, and whose.

    A few patients at a time, for ranking them takes several copies.
    """
    found = []
    for name, values in individual.data_vars.items():
        dim = next(dim for dim in values.dims if str(dim).startswith("patient"))
        patients = values.sizes[dim]
        at_once = max(1, int(_BLOCK_BYTES * patients // max(values.nbytes, 1)))
        for first in range(0, patients, at_once):
            some = values.isel({dim: slice(first, first + at_once)}).load()
            r_hat = az.rhat(some.to_dataset())[name]
            ranked = r_hat.fillna(np.inf).to_numpy()  # NaN draws must not pass
            worst = np.unravel_index(ranked.argmax(), ranked.shape)
            patient, *rest = (r_hat.get_index(d)[at] for d, at in zip(r_hat.dims, worst, strict=True))
            whose = " ".join([f"{name} of patient {patient}", *(f"({label})" for label in rest)])
            found.append((r_hat[worst].item(), whose))
    return max(found, key=lambda pair: np.nan_to_num(pair[0], nan=np.inf))


def _parameter_failures(table: pd.DataFrame, bound: Limits, *, chains: int) -> list[Finding]:
    failures = []
    longer = "Run longer chains (--draws), or look at its trace and at the prior"
    if chains < 2:
        failures.append(Finding("number of chains", "the fit", chains, 2, "R-hat needs at least two chains"))
    for name, row in table.iterrows():
        if not row["r_hat"] <= bound.r_hat and chains > 1:
            failures.append(Finding("R-hat", str(name), row["r_hat"], bound.r_hat, longer))
        for column in ("ess_bulk", "ess_tail"):
            if not row[column] >= bound.ess:
                failures.append(Finding(column.replace("_", " "), str(name), row[column], bound.ess, longer))
    return failures


def _sampler_failures(numbers: dict[str, float], places: dict[str, str], bound: Limits) -> list[Finding]:
    if "divergent_share" in places:
        mend = (
            "That chain went where the others did not and hardly came back: longer chains (--draws) or another seed "
            "show how much there is, R-hat of individual parameters in whose posterior"
        )
    else:
        mend = (
            "Raise target_accept above that of this fit (0.95, 0.98); if they persist the posterior has a place the "
            "sampler cannot enter"
        )
    checks = [
        ("share of divergent draws", "divergent_share", bound.divergences, True, mend),
        (
            "E-BFMI",
            "min_e_bfmi",
            bound.e_bfmi,
            False,
            "A heavy-tailed prior or a funnel; try other coordinates",
        ),
        (
            "largest R-hat",
            "max_r_hat_individual",
            bound.r_hat_individual,
            True,
            "Some individual parameters have not mixed; run longer chains",
        ),
    ]
    return [
        Finding(check, places.get(key, "all chains"), numbers[key], limit, remedy)
        for check, key, limit, upper, remedy in checks
        if key in numbers and not (numbers[key] <= limit if upper else numbers[key] >= limit)
    ]
