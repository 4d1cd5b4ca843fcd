"""Everything that is fixed before the first trial, and the simulation of any stretch of trials from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from bayes_isa.errors import ModelError
from bayes_isa.kernels.hazard import Shape
from bayes_isa.simulation.engine import Outcome, simulate_patients
from bayes_isa.simulation.parameters import ParameterSet, PosteriorDraws
from bayes_isa.simulation.patients import Coding, dexamethasone_shift, linear_predictor
from bayes_isa.simulation.plans import Column, Plan
from bayes_isa.simulation.pool import Pool, trial_individuals
from bayes_isa.simulation.response import assess

SOURCES = ("parameters", "patients", "events")
"""Sources of uncertainty between trials."""

# One stream of random numbers for each purpose, so that what is held leaves the others alone.
_SETUP, _PATIENTS, _EVENTS, _RESIDUAL = range(4)


@dataclass(frozen=True)
class Study:
    """Patients, parameters, plans and random numbers of all trials; what a worker needs to simulate any of them."""

    seed: int
    vary: frozenset[str]
    draws: PosteriorDraws
    chosen: np.ndarray  # (trial,) positions in `draws`
    pool: Pool
    plans: list[Plan]
    columns: list[Column]
    shape: Shape
    visits: np.ndarray
    days: np.ndarray  # of the marginal survival curves
    observed: bool

    @property
    def sizes(self) -> dict[str, int]:
        """Lengths of the result's dimensions."""
        return {
            "trial": self.chosen.size,
            "regimen": len(self.columns),
            "patient": self.pool.size,
            "visit": self.visits.size,
            "day": self.days.size,
        }

    @property
    def bytes_per_trial(self) -> int:
        """Size of one trial's results."""
        n = self.sizes
        per_patient = 9 + 4 * n["visit"] * (2 if self.observed else 1)
        return n["regimen"] * (n["patient"] * per_patient + 8 * n["day"])

    def fingerprint(self) -> str:
        """The same for studies with the same results."""
        digest = hashlib.sha256()
        for part in _leaves(
            (self.seed, sorted(self.vary), self.draws, self.chosen, self.pool, self.plans, self.columns)
        ):
            digest.update(part)
        for part in _leaves((self.shape, self.visits, self.days, self.observed)):
            digest.update(part)
        return digest.hexdigest()


def setup_stream(seed: int) -> np.random.Generator:
    """Random numbers for what is fixed before the first trial."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_SETUP,)))


def check_sources(vary: Iterable[str]) -> frozenset[str]:
    """The sources of uncertainty asked for. Raises ModelError for an unknown one."""
    given = frozenset([vary] if isinstance(vary, str) else vary)
    if not given <= set(SOURCES):
        unknown = ", ".join(sorted(map(str, given - set(SOURCES))))
        raise ModelError(f"vary: expected any of {', '.join(SOURCES)}, found {unknown}")
    return given


def simulate_stretch(study: Study, first: int, last: int) -> dict[str, np.ndarray]:
    """Trials `first` to `last` - 1: arrays by variable, trial by trial the same however they are cut."""
    n = study.sizes | {"trial": last - first}
    shape = (n["trial"], n["regimen"], n["patient"])
    out = {
        "pfs_day": np.empty(shape),
        "event": np.empty(shape, dtype=bool),
        "m_protein": np.empty((*shape, n["visit"]), np.float32),
        "survival": np.empty((*shape[:2], n["day"])),
        "source": np.empty((n["trial"], n["patient"]), np.int32),
    }
    if study.observed:
        out["m_protein_observed"] = np.empty_like(out["m_protein"])
    for number in range(first, last):
        _simulate_trial(study, number, {name: values[number - first] for name, values in out.items()})
    return out


def _stream(study: Study, purpose: int, source: str, number: int) -> np.random.Generator:
    trial = number if source in study.vary else 0
    return np.random.default_rng(np.random.SeedSequence(study.seed, spawn_key=(purpose, trial)))


def _simulate_trial(study: Study, number: int, out: Mapping[str, np.ndarray]) -> None:
    """One trial of every regimen, written into `out`."""
    position = int(study.chosen[number])
    parameters = study.draws.at(position)
    rng = _stream(study, _PATIENTS, "patients", number)
    chosen, phi, codings, log_baseline = trial_individuals(position, parameters, study.pool, study.draws, rng)
    target = _stream(study, _EVENTS, "events", number).exponential(size=chosen.size)
    outcomes = _outcomes(study, parameters, chosen, phi, codings, log_baseline, target)
    residual = _stream(study, _RESIDUAL, "events", number)
    noise = parameters.standard_errors(residual, (chosen.size, study.visits.size)) if study.observed else None
    out["source"][:] = chosen
    for j, column in enumerate(study.columns):
        result = outcomes[column.plan]
        if column.switched is not None:
            result = _switched(study, column, result, outcomes[column.switched])
        with np.errstate(over="ignore"):  # untreated growth leaves every scale: infinite in float32
            m = np.exp(result.log_m)
            out["m_protein"][j] = m
        out["event"][j] = np.isfinite(result.pfs_day)
        out["pfs_day"][j] = np.minimum(result.pfs_day, study.days[-1])
        out["survival"][j] = result.survival.mean(axis=0)
        if noise is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                measured = np.where(np.isinf(m), m, m + parameters.residual_sd(m) * noise)
                out["m_protein_observed"][j] = measured


def _outcomes(
    study: Study,
    parameters: ParameterSet,
    chosen: np.ndarray,
    phi: np.ndarray,
    codings: Mapping[str, Coding],
    log_baseline: np.ndarray,
    target: np.ndarray,
) -> list[Outcome]:
    """What the trial's patients would go through under each plan."""
    hazard, betas = codings.get("hazard"), parameters.effects.get("hazard")
    fixed = linear_predictor(hazard, betas, log_baseline=log_baseline) + np.zeros(chosen.size)
    with_dexamethasone = 0.0 if hazard is None or betas is None else float(hazard.dexamethasone @ betas)
    shift = dexamethasone_shift(parameters, codings)
    outcomes = []
    for plan in study.plans:
        of_patients = parameters.of_patients(
            phi + plan.has_dexamethasone * shift, fixed + with_dexamethasone * plan.hazard_dexamethasone
        )
        outcome = simulate_patients(
            plan.panels,
            study.shape,
            of_patients,
            chosen,
            target,
            study.visits,
            plan.visit_panel,
            plan.day_panel,
        )
        _require_numbers(study, outcome, chosen, phi)
        outcomes.append(outcome)
    return outcomes


def _require_numbers(study: Study, outcome: Outcome, chosen: np.ndarray, phi: np.ndarray) -> None:
    """Raises ModelError when a curve is no number; infinite M-protein and hazard, in growth nobody treats, are."""
    wrong = np.isnan(outcome.survival).any(axis=1) | np.isnan(outcome.log_m).any(axis=1)
    if wrong.any():
        first = int(np.argmax(wrong))
        patient = study.pool.patients.index[chosen[first]]
        raise ModelError(
            f"the hazard or M-protein of {int(wrong.sum())} simulated patients is not a number, first of patient "
            f"{patient} with log M0, KL, KD, R, EC50 = {np.round(phi[first], 3).tolist()}: "
            "expected finite parameters; look at the posterior for extreme draws"
        )


def _switched(study: Study, column: Column, stay: Outcome, switch: Outcome) -> Outcome:
    """Patients in response on the day of the switch go on as under `switch`, the others as under `stay`."""
    known = int(np.searchsorted(study.visits, column.day, side="right"))
    with np.errstate(over="ignore"):
        response = assess(np.exp(stay.log_m), np.full(stay.pfs_day.size, known))
    does = (response.best >= column.response) & (response.progression_visit < 0)
    return Outcome(
        np.where(does, switch.pfs_day, stay.pfs_day),
        np.where(does[:, None], switch.log_m, stay.log_m),
        np.where(does[:, None], switch.survival, stay.survival),
    )


def _leaves(value: Any) -> Iterable[bytes]:
    """Bytes of every array, number and text in a nested structure."""
    if isinstance(value, np.ndarray):
        yield str((value.shape, value.dtype)).encode()
        yield str(value.tolist()).encode() if value.dtype == object else np.ascontiguousarray(value).tobytes()
    elif is_dataclass(value):
        for field in fields(value):
            yield from _leaves(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key in value:
            yield from _leaves((key, value[key]))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _leaves(part)
    elif hasattr(value, "to_csv"):
        yield value.to_csv().encode()
    else:
        yield repr(value).encode()
