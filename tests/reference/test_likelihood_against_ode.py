"""The likelihood against ODE solvers, over the bulk of the prior, for patients of every arm.

What is compared, for one patient and one parameter set at a time, is the sum of the patient's measurement terms and the
term of the PFS time. Population parameters are drawn from the weakly informative prior within its central 90 %,
individual ones within 2 SD of them; M0 lies near the patient's observed baseline (SD 20 %), because no other value has
any posterior weight. Measurement values are drawn from the model at each set, on the trial's days: far from the data
the residual error magnifies every error in log M at will.

Drawn independently of each other and of the PFS time, some sets make the patient's disease explode. A set counts as
`plausible` for a patient when M stays below 500 g/L and the patient had a chance of 1 in 150 or better to reach the PFS
time (H < 5). Plausible sets are held to the tolerance. The others are counted, and where H < 1e4 held to 10 % of the
event's term, as a sampler only needs to find its way out of there.

The panels here are made for the prior's bulk, without knowledge of the sets. Of 1269 plausible sets (the slow test at
its tolerance of 1e-3 with seeds 3 to 8) 1267 kept it and two, of seed 8, missed it: 3.2e-3 and 1.5e-3. `build_model`
makes panels at draws near the posterior and `log_likelihood` at the parameters it is given, so neither depends on this.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import xarray as xr
from kernels.trials import awkward_trial
from scipy.stats import truncnorm

from bayes_isa.model.joint_data import JointData, prepare
from bayes_isa.model.likelihood import evaluate_log_likelihood
from bayes_isa.model.priors import PriorSet, load_priors
from bayes_isa.model.spec import ModelSpec
from bayes_isa.pk import PK_PARAMETERS

from .joint_by_solve_ivp import (
    H_BOUND,
    Concentrations,
    Sets,
    log_m_and_hazard,
    measurement_sum,
    own_exposure,
)

UNUSED = ("nu", "correlation")  # of Student-t residuals and of correlated random effects alone
LARGEST_M = 500.0  # g/L
LARGEST_H = 5.0
INDIVIDUAL = ("KL", "KD", "R", "EC50")
COVARIATES = {"hazard": ("dexamethasone", "plasmacytoma")}


@dataclass(frozen=True)
class Errors:
    """Absolute errors of terms, (n_comparisons,) each, with what is needed to judge them."""

    arm: np.ndarray
    marker: np.ndarray
    event: np.ndarray
    event_size: np.ndarray
    hazard: np.ndarray
    plausible: np.ndarray

    def table(self) -> str:
        """Errors of plausible sets by arm."""
        aside = np.count_nonzero(~self.plausible)
        exploded = np.count_nonzero(self.hazard >= H_BOUND)
        lines = [
            f"{self.plausible.sum()} plausible sets; {aside} not, of which {exploded} with H above {H_BOUND:g}"
        ]
        for arm in np.unique(self.arm):
            own = self.plausible & (self.arm == arm)
            marker, event = (
                " ".join(f"{q:.0e}" for q in np.quantile(e[own], [0.5, 0.9, 1.0]))
                for e in (self.marker, self.event)
            )
            lines.append(
                f"{arm:24} {own.sum():3} sets; median, 90 %, max of marker: {marker}; event: {event}"
            )
        return "\n".join(lines)


def draw_sets(n: int, priors: PriorSet, baseline: float, rng: np.random.Generator) -> tuple[Sets, np.ndarray]:
    """`n` parameter sets for a patient with this baseline (g/L), and their hazard effects (n, 2); lp is 0 as yet."""

    def drawn(prior) -> np.ndarray:
        return prior.quantiles(rng.uniform(0.05, 0.95, n))

    population = {name: drawn(prior) for name, prior in priors.parameters.items() if name not in UNUSED}
    eta = truncnorm.rvs(-2.0, 2.0, size=(5, n), random_state=rng)
    kl, kd, r, ec50 = (
        population[f"{name}_pop"] * np.exp(population[f"omega_{name}"] * eta[1 + j])
        for j, name in enumerate(INDIVIDUAL)
    )
    effects = np.column_stack(
        [drawn(priors.covariate_effect("hazard", name)) for name in COVARIATES["hazard"]]
    )
    return Sets(
        m0=baseline * np.exp(0.2 * eta[0]),
        kl=kl,
        kd=kd,
        r=r,
        ec50=ec50,
        k=population["k"],
        lp=np.zeros(n),
        beta_link=drawn(priors.link("slope")),
        te=population["Te"],
        s=population["s"],
        sigma_add=population["sigma_add"],
        sigma_prop=population["sigma_prop"],
    ), effects


def compare_patient(
    data: JointData, i: int, n_sets: int, rtol: float, rng: np.random.Generator, *, own_pk: bool = False
) -> Errors:
    """Errors of the likelihood's terms for patient number `i` at `n_sets` sets; `own_pk`: SciPy's exposure too."""
    trial = data.trial
    baseline = float(trial.baseline_mprotein.iloc[i])
    sets, effects = draw_sets(n_sets, load_priors("weakly_informative"), baseline, rng)
    coded = data.covariates["hazard"].to_numpy()[i]
    sets = replace(sets, lp=effects @ coded)
    rows = np.flatnonzero(trial.mprotein["id"] == trial.patients.index[i])
    event_day = float(trial.pfs["day"].iloc[i])

    def of_package(day: float) -> tuple[float, float]:
        effect, dexamethasone = data.exposure.evaluate(np.array([i]), np.array([day]))
        return float(effect[0]), float(dexamethasone[0])

    exposure = _own_exposure(data, i) if own_pk else of_package
    visits = trial.mprotein["day"].to_numpy(dtype=float)[rows]
    breaks = data.exposure.breakpoints.of(i)
    log_m, hazard, log_hazard = log_m_and_hazard(sets, exposure, breaks, visits, event_day, rtol)
    value, below = _observed(sets, log_m, data.lloq[rows], rng)
    marker = measurement_sum(sets, log_m, value, below, data.lloq[rows])
    event = np.where(data.event[i], log_hazard, 0.0) - hazard
    found_marker, found_event = _terms(data, i, rows, sets, effects, value, below)
    with np.errstate(invalid="ignore"):
        return Errors(
            arm=np.full(n_sets, str(trial.patients["arm"].iloc[i])),
            marker=np.abs(found_marker - marker),
            event=np.abs(found_event - event),
            event_size=np.abs(event),
            hazard=hazard,
            plausible=(log_m.max(axis=1) < np.log(LARGEST_M)) & (hazard < LARGEST_H),
        )


def _own_exposure(data: JointData, i: int) -> Concentrations:
    trial = data.trial
    doses = trial.doses[trial.doses["id"] == trial.patients.index[i]]
    columns = ["day", "amount_mg", "duration_h"]
    isatuximab, dexamethasone = (
        doses.loc[doses["drug"] == drug, columns].to_numpy(dtype=float)
        for drug in ("isatuximab", "dexamethasone")
    )
    pk = trial.patients.iloc[i][[f"pk_{name}" for name in PK_PARAMETERS]].to_numpy(dtype=float)
    return own_exposure(pk, isatuximab, dexamethasone[:, :2], float(trial.last_day[i]))


def _observed(
    sets: Sets, log_m: np.ndarray, lloq: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Values (n_sets, n_visits) drawn from the model, the LLOQ where below it, and which are."""
    m = np.exp(log_m)
    sd = np.sqrt(sets.sigma_add[:, None] ** 2 + (sets.sigma_prop[:, None] * m) ** 2)
    value = m + sd * rng.standard_normal(m.shape)
    return np.maximum(value, lloq), value < lloq


def _terms(
    data: JointData,
    i: int,
    rows: np.ndarray,
    sets: Sets,
    effects: np.ndarray,
    value: np.ndarray,
    below: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The package's sums of measurement terms and event terms (n_sets,) of patient `i`, measurements at `rows`."""
    phi = np.log(np.column_stack([sets.m0, sets.kl, sets.kd, sets.r, sets.ec50]))
    scalars = {name: getattr(sets, name) for name in ("k", "s", "beta_link", "sigma_add", "sigma_prop")}
    parameters = xr.Dataset(
        {
            "phi": (
                ("sample", "patient", "parameter"),
                np.repeat(phi[:, None, :], data.trial.n_patients, axis=1),
            ),
            "beta_hazard": (("sample", "covariate_hazard"), effects),
            "Te": ("sample", sets.te),
            **{name: ("sample", column) for name, column in scalars.items()},
        }
    )
    found = []
    for number in range(len(phi)):
        values, belows = data.value.copy(), data.below.copy()
        values[rows], belows[rows] = value[number], below[number]
        observed = replace(data, value=values, below=belows)
        terms = evaluate_log_likelihood(observed, parameters.isel(sample=[number])).isel(sample=0)
        found.append((float(terms["m_protein"].to_numpy()[rows].sum()), float(terms["pfs"][i])))
    marker, event = np.array(found).T
    return marker, event


def compare(n_patients: int, per_arm: int, n_sets: int, tolerance: float, rtol: float, seed: int) -> Errors:
    """Errors for `per_arm` patients of every arm, `n_sets` sets each."""
    trial = awkward_trial(n_patients)
    data = prepare(trial, ModelSpec(tolerance=tolerance, covariates=COVARIATES))
    rng = np.random.default_rng(seed)
    arm = trial.patients["arm"].to_numpy(dtype=str)
    chosen = [
        i for name in np.unique(arm) for i in rng.permutation(np.flatnonzero(arm == name))[:per_arm].tolist()
    ]
    parts = [compare_patient(data, i, n_sets, rtol, rng) for i in chosen]
    return Errors(
        *(np.concatenate(columns) for columns in zip(*(vars(p).values() for p in parts), strict=True))
    )


def judge(errors: Errors, tolerance: float) -> None:
    """Plausible sets to the tolerance, most sets plausible, the others finite and roughly right."""
    print(f"\n{errors.table()}")
    ok = errors.plausible
    assert ok.mean() > 0.5
    assert np.all(errors.marker[ok] < tolerance)
    assert np.all(errors.event[ok] < tolerance)
    bounded = ~ok & (errors.hazard < H_BOUND)
    assert np.all(errors.event[bounded] < 0.1 * np.maximum(1.0, errors.event_size[bounded]))


def test_every_arm_at_the_default_tolerance():
    judge(compare(60, per_arm=2, n_sets=9, tolerance=1e-3, rtol=1e-7, seed=1), 1e-3)


def test_every_arm_at_a_tight_tolerance():
    judge(compare(30, per_arm=1, n_sets=6, tolerance=1e-6, rtol=1e-11, seed=2), 1e-6)


@pytest.mark.parametrize("arm", ["3 mg/kg Q2W", "20 mg/kg QW-Q2W + dex"])
def test_exposure_by_ode_as_well(arm):
    trial = awkward_trial(30)
    data = prepare(trial, ModelSpec(tolerance=1e-6, covariates=COVARIATES))
    i = int(np.flatnonzero(trial.patients["arm"] == arm)[0])
    judge(compare_patient(data, i, 6, 1e-9, np.random.default_rng(4), own_pk=True), 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("tolerance", "rtol"), [(1e-3, 1e-7), (1e-6, 1e-11)])
def test_200_sets_per_tolerance(tolerance, rtol):
    judge(compare(201, per_arm=7, n_sets=8, tolerance=tolerance, rtol=rtol, seed=3), tolerance)
