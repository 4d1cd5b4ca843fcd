"""Virtual trials: the isatuximab studies as the published model has them, the truth beside the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bayes_isa.data import Trial, design_matrix, trial_from_tables, write_trial
from bayes_isa.data.population import assign_arms, draw_population
from bayes_isa.data.published import PUBLISHED_EFFECTS, PUBLISHED_ESTIMATES
from bayes_isa.data.schema import DEFAULT_LLOQ, PK_COLUMNS
from bayes_isa.data.truth import Truth, read_truth, write_truth
from bayes_isa.errors import DataError
from bayes_isa.kernels.design import offsets_of
from bayes_isa.kernels.evaluate import Parameters, evaluate_curves, event_times, log_m_at_measurements
from bayes_isa.kernels.hazard import Shape, make_shape
from bayes_isa.kernels.panels import ReferenceParameters, build_panels
from bayes_isa.kernels.timeline import Timeline
from bayes_isa.kernels.trajectory import INDIVIDUAL
from bayes_isa.model.exposures import trial_exposure
from bayes_isa.pk import Exposure
from bayes_isa.regimens import Regimen
from bayes_isa.simulation.parameters import ParameterSet
from bayes_isa.simulation.patients import (
    Coding,
    code_patients,
    draw_individuals,
    linear_predictor,
    with_individual_pk,
)
from bayes_isa.simulation.pfs_endpoints import MONTH_DAYS
from bayes_isa.simulation.quadrature import simulation_panels

__all__ = ["VirtualTrial", "draw_virtual_trial", "read_truth", "write_virtual_trial"]

VISIT_DAYS = 28.0  # M-protein at baseline and every 4 weeks, as in the studies
_YEAR_DAYS = 365.25
# Panels are made for the one true parameter set, so a tight tolerance costs little.
_TOLERANCE = 1e-6
_NO_FOLLOW_UP = 1e-5  # a second: a PFS time must lie after day 0
_DAY_DIGITS = 6  # of a PFS day, so that the hazard up to it stays as drawn even when it is a matter of hours


@dataclass(frozen=True)
class VirtualTrial:
    """A trial that never took place, and the parameters it was drawn with."""

    trial: Trial
    truth: Truth


def draw_virtual_trial(
    n: int = 201,
    *,
    seed: int,
    follow_up_months: tuple[float, float] = (6.0, 24.0),
    dropout_per_year: float = 0.1,
    lloq_g_per_l: float = DEFAULT_LLOQ,
    pfs_visit_days: float | None = None,
    estimates: Mapping[str, float] = PUBLISHED_ESTIMATES,
    effects: Mapping[str, Mapping[str, float]] = PUBLISHED_EFFECTS,
    correlation: Mapping[tuple[str, str], float] | None = None,
    name: str = "virtual",
) -> VirtualTrial:
    """A virtual trial of `n` patients under the joint model, at the published estimates (CPT:PSP 2023).

    Patients as in the published baseline table (`draw_population`), in the published arms; individual PK
    parameters from the published population model; KD given the observed baseline M-protein; continuous
    covariates centred at the medians of these patients.

    Choices, none of them published:

    - PFS by inversion of the cumulative hazard, dosing continued: progression is seen when it happens, not at
      the next visit, unless `pfs_visit_days` (28: with the M-protein) says how far apart visits are. Then an
      event lies between two of them, (day_lower, day_upper], PFS is censored at the last one, treatment goes on
      until progression is seen, and an event that no visit within follow-up sees is censored. The log-normal
      growth rates make a patient in a thousand progress within the first hour, and one in two thousand within a
      second: moved to a later time, such a patient would contradict the model.
    - Follow-up ends administratively: entry is uniform over the time that leaves `follow_up_months` (least,
      most).
    - Patients are lost at a constant rate `dropout_per_year`, independent of everything: a few per cent
      before the median PFS.
    - Doses end with follow-up: none on the day of progression or censoring or later.
    - M-protein on day 0 and every 28 days of follow-up, and at the end-of-treatment visit on the day of
      progression or dropout, so that each patient has a value after baseline, as in the study. That visit
      depends on the M-protein only through the PFS time, which the joint likelihood contains: it selects
      nothing.
    - Values have two decimals, PFS days six digits. A value below `lloq_g_per_l`, also when residual error
      makes it negative, is reported as below the limit.

    `estimates` (names and units of `PUBLISHED_ESTIMATES`) and `effects` replace the published ones, for
    studies of recovery. `correlation` gives the random effects of one patient, independent in the publication,
    correlations by pair, such as {("KL", "KD"): 0.6}. The same arguments give the same trial. Raises DataError
    for an impossible design, or correlations that cannot all be true at once.
    """
    _check_design(follow_up_months, dropout_per_year, lloq_g_per_l, pfs_visit_days)
    # A stream for each purpose: a change to one step leaves the others' numbers alone.
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(6)]
    population, arms, pk, individual, residual, outcome = streams
    patients = with_individual_pk(assign_arms(draw_population(n, seed=population), seed=arms), pk)
    # The arm says it; as a column it would be a second copy that a regimen cannot change.
    patients = patients.drop(columns="dexamethasone")
    parameters = _parameter_set(estimates, effects, correlation or {})
    codings = code_patients(patients, {target: tuple(betas) for target, betas in effects.items()}, None)
    phi, observed, center = draw_individuals(parameters, codings, n, individual)
    end = _administrative_end(n, follow_up_months, outcome)
    doses = _arm_doses(patients, end)
    hazard_lp = _hazard_predictor(parameters, codings.get("hazard"), patients, doses, observed, center)
    model = _Model(
        trial_exposure("pk", patients, doses, end),
        make_shape("slope", "loglogistic", "emax"),
        parameters.of_patients(phi, hazard_lp),
    )
    day, event, left_study, followed = _outcomes(model, end, dropout_per_year, outcome)
    pfs = pd.DataFrame({"id": patients.index, "day": day, "event": event.astype(int)})
    if pfs_visit_days is not None:
        pfs = at_visits(pfs, followed, pfs_visit_days)
        day, event = pfs["day"].to_numpy(dtype=float), pfs["event"].to_numpy(dtype=bool)
    mprotein = _measurements(
        model, parameters, day, left_study, observed, lloq_g_per_l, residual, patients.index
    )
    given = doses[doses["day"].to_numpy() < day[patients.index.get_indexer(pd.Index(doses["id"]))]]
    trial = trial_from_tables(patients.reset_index(), given, mprotein, pfs, name=name)
    matrices = [design_matrix(trial, list(betas)) for betas in effects.values()]
    centers = {name: value for matrix in matrices for name, value in matrix.attrs["centers"].items()}
    truth = Truth(
        parameters={
            **estimates,
            **{f"beta_{target}": dict(betas) for target, betas in effects.items()},
            **({} if parameters.correlation is None else {"correlation": parameters.correlation.tolist()}),
        },
        centers=centers,
        individual=_individual_table(patients, phi),
        seed=seed,
    )
    return VirtualTrial(trial, truth)


def write_virtual_trial(virtual: VirtualTrial, path: str | Path) -> None:
    """Write the four CSV files of the trial, `truth.json` and `truth_individual.csv` into directory `path`.

    `read_trial` and `read_truth` give them back.
    """
    write_trial(virtual.trial, path)
    write_truth(virtual.truth, path)


@dataclass(frozen=True)
class _Model:
    """The true model of every patient: exposure under continued dosing, choices, parameters."""

    exposure: Exposure
    shape: Shape
    parameters: Parameters

    @property
    def reference(self) -> ReferenceParameters:
        """The true parameters as the one set that panels are made for."""
        true = self.parameters
        shared = (np.array([value]) for value in (true.k, true.beta_link, true.te, true.s))
        return ReferenceParameters(true.phi[None], *shared)

    def event_days(self, target: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Days at which the cumulative hazards reach `target` (n,), infinite when after `end` (n,)."""
        panels = simulation_panels(
            self.exposure, self.shape, self.reference, np.empty(0), end, widest_day=1.0, tolerance=_TOLERANCE
        )
        return event_times(panels, evaluate_curves(panels, self.shape, self.parameters), target)

    def m_protein(self, visits: list[np.ndarray], end: np.ndarray) -> np.ndarray:
        """M (g/L) at the `visits` of each patient, one patient after another, none after `end` (n,)."""
        offsets = offsets_of([len(days) for days in visits])
        timeline = Timeline(*self.exposure.breakpoints, offsets, np.concatenate(visits), end)
        # The hazard is of no interest here; that of a patient who progresses in minutes is hard to resolve.
        unlinked = replace(self.reference, beta_link=np.zeros(1))
        panels = build_panels(timeline, self.exposure.evaluate, self.shape, unlinked, tolerance=_TOLERANCE)
        curves = evaluate_curves(panels, self.shape, self.parameters)
        return np.exp(log_m_at_measurements(panels, curves, self.parameters))


def _check_design(
    follow_up_months: tuple[float, float], dropout_per_year: float, lloq: float, pfs_visit_days: float | None
) -> None:
    least, most = follow_up_months
    if not 0.0 < least <= most < np.inf:
        raise DataError(f"follow_up_months is {follow_up_months}: give the least and the most, both positive")
    if not 0.0 <= dropout_per_year < np.inf:
        raise DataError(f"dropout_per_year is {dropout_per_year}; it must be 0 or a positive rate")
    if not 0.0 < lloq < np.inf:
        raise DataError(f"lloq_g_per_l is {lloq}; it must be positive")
    if pfs_visit_days is not None and not 0.0 < pfs_visit_days < np.inf:
        raise DataError(f"pfs_visit_days is {pfs_visit_days}; it must be positive, or None for exact times")


def _parameter_set(
    estimates: Mapping[str, float],
    effects: Mapping[str, Mapping[str, float]],
    correlation: Mapping[tuple[str, str], float],
) -> ParameterSet:
    absent = [name for name in PUBLISHED_ESTIMATES if name not in estimates]
    if absent:
        raise DataError(f"estimates lack {', '.join(absent)}")
    return ParameterSet(
        log_typical=np.log([estimates[f"{name}_pop"] for name in INDIVIDUAL]),
        omega=np.array([estimates[f"omega_{name}"] for name in INDIVIDUAL]),
        effects={target: np.array(list(betas.values())) for target, betas in effects.items()},
        k=estimates["k"],
        beta_link=estimates["beta_link"],
        te=estimates["Te"],
        s=estimates["s"],
        sigma_add=estimates["sigma_add"],
        sigma_prop=estimates["sigma_prop"],
        nu=estimates.get("nu", np.inf),
        correlation=_correlation_matrix(correlation) if correlation else None,
    )


def _correlation_matrix(pairs: Mapping[tuple[str, str], float]) -> np.ndarray:
    """(5, 5). Raises DataError for unknown parameters and where the pairs cannot all be true at once."""
    matrix = np.eye(len(INDIVIDUAL))
    for pair, value in pairs.items():
        if len({*pair} & {*INDIVIDUAL}) != 2 or not -1.0 < value < 1.0:
            raise DataError(
                f"correlation {pair}: {value}: expected two of {', '.join(INDIVIDUAL)}, and a number between -1 and 1"
            )
        row, column = (INDIVIDUAL.index(name) for name in pair)
        matrix[row, column] = matrix[column, row] = value
    if np.linalg.eigvalsh(matrix)[0] <= 0.0:
        raise DataError(f"correlation {dict(pairs)}: expected a positive definite matrix, this is none")
    return matrix


def _administrative_end(
    n: int, follow_up_months: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    low, high = (months * MONTH_DAYS for months in follow_up_months)
    return _rounded(rng.uniform(low, high, n))


def _arm_doses(patients: pd.DataFrame, end: np.ndarray) -> pd.DataFrame:
    """Doses of every patient's arm before `end` (n,) days."""
    parts = []
    for arm, members in patients.assign(end=end).groupby("arm", sort=False):
        regimen = Regimen.parse(str(arm))
        parts.append(
            regimen.doses(list(members.index), members["weight_kg"], members["age_years"], members["end"])
        )
    return pd.concat(parts, ignore_index=True)


def _hazard_predictor(
    parameters: ParameterSet,
    coding: Coding | None,
    patients: pd.DataFrame,
    doses: pd.DataFrame,
    observed: np.ndarray,
    center: float,
) -> np.ndarray:
    """w'beta_w (n,); dexamethasone counts for patients whose regimen has it."""
    if coding is None:
        return np.zeros(len(patients))
    betas = parameters.effects["hazard"]
    treated = patients.index.isin(doses.loc[doses["drug"] == "dexamethasone", "id"]).astype(float)
    fixed = linear_predictor(coding, betas, log_baseline=np.log(observed / center))
    return fixed + (coding.dexamethasone @ betas) * treated


def _outcomes(
    model: _Model, end: np.ndarray, dropout_per_year: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """PFS day (n,), whether it is an event, whether the patient left treatment then (event or dropout), and the day to
    which the patient would have been followed without progression."""
    target, lost = rng.exponential(size=end.size), rng.exponential(size=end.size)
    dropout = lost * _YEAR_DAYS / dropout_per_year if dropout_per_year > 0.0 else np.full(end.size, np.inf)
    progression = model.event_days(target, end)
    event = progression <= np.minimum(dropout, end)
    day = np.minimum(np.minimum(progression, dropout), end)
    return _rounded(day), event, event | (dropout < end), np.minimum(dropout, end)


def at_visits(pfs: pd.DataFrame, followed: np.ndarray, visit_days: float) -> pd.DataFrame:
    """The PFS table (`day` exact, `event`) as visits every `visit_days` from day 0 show it, with day_lower, day_upper.

    followed: day to which each patient would have come to visits (n,). Events that no visit sees are censored at the
    last visit before that, as are the censored; those lost before the first one have no follow-up (a second).
    """
    day, event = pfs["day"].to_numpy(dtype=float), pfs["event"].to_numpy(dtype=bool)
    upper = visit_days * np.ceil(day / visit_days)
    seen = event & (upper <= followed)
    last = visit_days * np.floor(np.where(event, followed, day) / visit_days)
    return pfs.assign(
        day=np.where(seen, upper, np.maximum(last, _NO_FOLLOW_UP)),
        event=seen.astype(int),
        day_lower=np.where(seen, upper - visit_days, np.nan),
        day_upper=np.where(seen, upper, np.nan),
    )


def _rounded(day: np.ndarray) -> np.ndarray:
    return np.array([float(f"{value:.{_DAY_DIGITS}g}") for value in day])


def _measurements(
    model: _Model,
    parameters: ParameterSet,
    day: np.ndarray,
    left_study: np.ndarray,
    baseline: np.ndarray,
    lloq: float,
    rng: np.random.Generator,
    ids: pd.Index,
) -> pd.DataFrame:
    """M-protein at every visit with residual error: the table of mprotein.csv."""
    visits = []
    for last, leaves in zip(day, left_study, strict=True):
        scheduled = np.arange(0.0, last + 1e-9, VISIT_DAYS)
        visits.append(np.unique(np.append(scheduled, last)) if leaves else scheduled)
    m = model.m_protein(visits, day)
    value = np.round(m + parameters.residual_sd(m) * parameters.standard_errors(rng, m.size), 2)
    count = [len(days) for days in visits]
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    value[first] = baseline  # KD was drawn given it
    below = value < lloq
    return pd.DataFrame(
        {
            "id": np.repeat(ids.to_numpy(), count),
            "day": np.concatenate(visits),
            "value_g_per_l": np.where(below, lloq, value),
            "lloq_g_per_l": lloq,
            "below_lloq": below.astype(int),
        }
    )


def _individual_table(patients: pd.DataFrame, phi: np.ndarray) -> pd.DataFrame:
    logs = pd.DataFrame(phi, index=patients.index, columns=[f"log_{name}" for name in INDIVIDUAL])
    return pd.concat([logs, patients[list(PK_COLUMNS)]], axis=1)
