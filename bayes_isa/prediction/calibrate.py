"""`calibrate`: is the inference right? Virtual trials drawn from the prior and fitted, the truths ranked."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.data.covariates import available_covariates
from bayes_isa.data.published import PUBLISHED_EFFECTS, PUBLISHED_ESTIMATES
from bayes_isa.errors import BayesIsaWarning, ModelError
from bayes_isa.inference.calibrate import Progress, run_calibration
from bayes_isa.inference.ranks import N_RANKED, ranks, smallest_ess, thinned
from bayes_isa.inference.replicates import Replicate
from bayes_isa.inference.reuse import CompiledForm
from bayes_isa.inference.storage import population_variables
from bayes_isa.model.build import build_model, record_of
from bayes_isa.model.prior import Prior
from bayes_isa.model.priors import PriorSet, load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.calibration_quantities import Quantities
from bayes_isa.simulation.parameters import fit_at_truth
from bayes_isa.simulation.virtual_trial import VirtualTrial, draw_virtual_trial

# Two chains of 200 give an ESS of 99 and more for every parameter of most small trials; where they do not, twice as
# many are drawn, and so on.
_DRAWS, _TUNE, _CHAINS = 200, 200, 2
_MOST_DRAWS = 3200
_TARGET_ACCEPT = 0.9
# Designs drawn until every published covariate varies among the patients: one in fifty of 30 patients lacks one.
_MOST_DESIGNS = 10
# Trials drawn until nobody progresses earlier.
_MOST_TRIALS = 100
_EARLIEST_DAY = 0.1
# Standard errors of the published estimates, from 201 patients, times this: a prior about as informative as 50
# patients, so that posteriors of 30 hang on data and prior alike. The error printed for k is 3 %, which no data could
# correct.
_WIDENING = 2.0
_WIDENING_OF_K = 5.0
_LINK = Prior(
    "LogNormal",
    {"median": 6.65, "sigma": 0.25},
    "log hazard per g/L/day",
    "joint model of 2023: 6.65; published spread to 14",
    "Positive, unlike the prior for a fit: where growth protects from progression, curves grow out of all bounds.",
)


def calibrate(
    n_replicates: int = 200,
    *,
    out: str | Path,
    seed: int = 1,
    n_patients: int = 30,
    priors: PriorSet | str | None = None,
    earliest_day: float = _EARLIEST_DAY,
    coordinates: str = "response",
    processes: int = 1,
    progress: Progress | None = None,
) -> xr.DataTree:
    """Simulation-based calibration of the whole joint model (Talts et al. 2018, arXiv:1804.06788).

    Each replicate draws population parameters from the prior, a virtual trial of `n_patients` at them
    (`draw_virtual_trial`), fits it as `build_model` and NUTS do, and ranks the truths among 99 near independent
    posterior draws. When generator, likelihood, coordinates and sampler agree, all ranks are uniform.

    Ranked are every population parameter, the five of one patient, the log-likelihood, and a hazard ratio of two
    concentrations (see `bayes_isa.prediction.calibration_quantities`).

    out           directory with a file for each replicate; an interrupted run continues from it
    priors        of both simulation and fit; by default `calibration_priors()`
    earliest_day  replicates in which a patient progresses before this day are drawn anew, parameters and all, and
                  counted (`redrawn`): growth that fast takes tens of times as many gradients a draw. Ranks are
                  uniform for any data, so a choice by the data leaves them uniform; 0 takes every trial.
    processes     run at once; each compiles the model once

    Returns the DataTree of `bayes_isa.inference.calibrate.collect`: ranks, tests of uniformity ("uniformity"), and
    "prior_sbc" for `arviz.plot_ecdf_pit`; `plot_calibration` draws it. Raises ModelError for a directory that holds
    something else.
    """
    chosen = calibration_priors() if priors is None else priors
    prior_set = load_priors(chosen) if isinstance(chosen, str) else chosen
    experiment = JointExperiment(
        prior_set.to_dict(), ModelSpec(coordinates=coordinates).to_dict(), n_patients, seed, earliest_day
    )
    return run_calibration(
        experiment, n_replicates=n_replicates, out=Path(out), processes=processes, progress=progress
    )


def calibration_priors(widening: float = _WIDENING) -> PriorSet:
    """The published estimates with `widening` times their standard errors: trials that could be real, yet differ.

    The sets for fitting serve badly here: of trials drawn from "weakly_informative" a quarter have a median PFS below
    three weeks, and 30 patients hardly change "published_2023".
    """
    published = load_priors("published_2023")
    wider = published.with_(
        **{
            name: _widened(prior, _WIDENING_OF_K if name == "k" else widening)
            for name, prior in published.parameters.items()
            if name in PUBLISHED_ESTIMATES  # not what only other models than the published one have
        }
    )
    for target, table in published.covariate_effects.items():
        for covariate, prior in table.items():
            wider = wider.with_covariate_effect(target, covariate, _widened(prior, widening))
    return wider.with_link("slope", _LINK)


def _widened(prior: Prior, factor: float) -> Prior:
    kwargs = {**prior.kwargs, "sigma": factor * prior.kwargs["sigma"]}
    return Prior(prior.dist, kwargs, prior.unit, prior.source, f"{factor:g} times the published error.")


@dataclass(frozen=True)
class JointExperiment:
    """The joint model's experiment, in plain values, so that it can be sent to other processes."""

    priors: dict[str, Any]
    spec: dict[str, Any]
    n_patients: int
    seed: int
    earliest_day: float = _EARLIEST_DAY

    def settings(self) -> dict[str, Any]:
        """All that decides the outcome."""
        sampler = {
            "draws": _DRAWS,
            "tune": _TUNE,
            "chains": _CHAINS,
            "target_accept": _TARGET_ACCEPT,
            "ranked": N_RANKED,
        }
        # Their distributions alone: a source told in other words is no other prior.
        priors = PriorSet.from_dict(self.priors).summary()["dist"].to_dict()
        return {
            "experiment": "joint model",
            "bayes_isa": version("bayes-isa"),
            **asdict(self),
            "priors": priors,
            **sampler,
        }

    def start(self) -> Callable[[int], Replicate]:
        """A process's own replicates, with code compiled for the first of them."""
        return _JointReplicates(self)


class _JointReplicates:
    """Called with a replicate's number; keeps the compiled code between calls."""

    def __init__(self, experiment: JointExperiment) -> None:
        self.experiment = experiment
        self.priors = PriorSet.from_dict(experiment.priors)
        self.spec = ModelSpec(**experiment.spec)
        self.quantities = Quantities()
        self.form: CompiledForm | None = None

    def __call__(self, number: int) -> Replicate:
        virtual, sampler_seed, redrawn = self.draw(number)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", BayesIsaWarning)
            model = build_model(virtual.trial, self.priors, self.spec)
        if self.form is None:
            self.form = CompiledForm.of(model)
        record = record_of(model)
        assert record is not None  # build_model has just left it
        fitted = self._sample(self.form, model, sampler_seed)
        posterior = fitted["posterior"].to_dataset()
        draws = thinned(posterior)
        truth = fit_at_truth(virtual.truth)["posterior"].to_dataset().stack(sample=("chain", "draw"))
        truth = truth.drop_vars(["sample", "chain", "draw"])
        coded = {d: posterior[d] for d in posterior.dims if str(d).startswith("covariate_")}
        drawn = self.quantities.of(record.data, draws)
        true = self.quantities.of(record.data, truth.sel(coded))
        try:
            found = ranks({name: float(true[name][0]) for name in drawn}, drawn)
        except ValueError as error:
            raise ModelError(f"quantities of the truth or the posterior are {error}") from error
        facts = _facts(fitted, virtual.trial) | {
            "warnings": float(sum(issubclass(w.category, BayesIsaWarning) for w in caught)),
            "redrawn": float(redrawn),
        }
        return Replicate(number, found, facts)

    def draw(self, number: int) -> tuple[VirtualTrial, int, int]:
        """A replicate's trial at parameters from the prior, its sampler's seed, and how many were drawn before."""
        for attempt in range(_MOST_TRIALS):
            seeds = np.random.SeedSequence([self.experiment.seed, number, attempt])
            of_prior, of_trial, of_sampler = seeds.spawn(3)
            virtual = self._trial(np.random.default_rng(of_prior), of_trial)
            if virtual.trial.pfs["day"].min() >= self.experiment.earliest_day:
                return virtual, int(of_sampler.generate_state(1)[0]), attempt
        raise ModelError(
            f"in each of {_MOST_TRIALS} trials somebody progresses before day {self.experiment.earliest_day:g}: "
            "take an earlier day, fewer patients or narrower priors"
        )

    def _trial(self, rng: np.random.Generator, seeds: np.random.SeedSequence) -> VirtualTrial:
        """A trial at parameters from the prior. Designs, which tell nothing of the parameters, are drawn until all
        covariates vary: all replicates then have one set of parameters."""
        estimates = {name: float(self._prior(name).draw(rng)) for name in PUBLISHED_ESTIMATES}
        effects = {
            target: {name: float(self.priors.covariate_effect(target, name).draw(rng)) for name in names}
            for target, names in PUBLISHED_EFFECTS.items()
        }
        for seed in seeds.generate_state(_MOST_DESIGNS):
            virtual = draw_virtual_trial(
                self.experiment.n_patients, seed=int(seed), estimates=estimates, effects=effects
            )
            wanted = self.spec.wanted_covariates.values()
            if not any(available_covariates(virtual.trial, names)[1] for names in wanted):
                return virtual
        raise ModelError(
            f"none of {_MOST_DESIGNS} designs of {self.experiment.n_patients} patients has every published covariate "
            "at two levels: take more patients"
        )

    def _prior(self, name: str) -> Prior:
        return self.priors.link("slope") if name == "beta_link" else self.priors.parameters[name]

    @staticmethod
    def _sample(form: CompiledForm, model: Any, seed: int) -> xr.DataTree:
        """Draws enough that 99 of them are near independent."""
        draws = _DRAWS
        while True:
            fitted = form.sample(
                model, draws=draws, tune=_TUNE, chains=_CHAINS, seed=seed, target_accept=_TARGET_ACCEPT
            )
            _, ess = smallest_ess(_of_population(fitted))
            if ess >= N_RANKED or draws >= _MOST_DRAWS:
                return fitted
            draws *= 2


def _of_population(fitted: xr.DataTree) -> xr.Dataset:
    posterior = fitted["posterior"].to_dataset()
    return posterior[population_variables(posterior)]


def _facts(fitted: xr.DataTree, trial: Trial) -> dict[str, float]:
    population, stats = _of_population(fitted), fitted["sample_stats"].to_dataset()
    r_hat = az.rhat(population)
    return {
        "min_ess": smallest_ess(population)[1],
        "max_r_hat": max(float(np.max(v.to_numpy())) for v in r_hat.data_vars.values()),
        "divergences": float(stats["diverging"].sum()),
        "draws": float(stats["diverging"].size),
        "leapfrogs_a_draw": float(stats["n_steps"].mean()),
        "first_day": float(trial.pfs["day"].min()),
        "events": float(trial.pfs["event"].sum()),
        "median_day": float(trial.pfs["day"].median()),
    }
