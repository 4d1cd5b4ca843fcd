"""`quantile_residuals`: standard normal under the model, for measurements below the LLOQ and censored PFS as well."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.special import ndtri, ndtri_exp
from scipy.stats import cauchy, kstest

from bayes_isa.data import Trial
from bayes_isa.kernels.evaluate import evaluate_terms
from bayes_isa.kernels.residual import log_distribution
from bayes_isa.model.patient_terms import kernel_parameters, residual_of
from bayes_isa.model.spec import ModelSpec
from bayes_isa.prediction.draws import thinned


def quantile_residuals(
    fit: xr.DataTree,
    *,
    seed: int,
    n_draws: int = 100,
    trial: Trial | None = None,
    spec: ModelSpec | None = None,
) -> xr.Dataset:
    """Randomised quantile residuals of every measurement and PFS time at each of `n_draws` posterior draws.

    A measurement's is Phi^-1 F(y), F the distribution of the residual error around the draw's own curve; one below the
    LLOQ takes Phi^-1 of a uniform number between 0 and F(LLOQ). A PFS time's is Phi^-1 of 1 - exp(-H), H the cumulative
    hazard since entry; a censored one takes a uniform number above that, one known to lie in an interval a uniform
    number between the values at its ends (Dunn and Smyth 1996, doi:10.1080/10618600.1996.10474708;
    for joint models Rizopoulos 2012, chapter 6). At one posterior draw, parameters and data are a draw of the joint
    model, so the residuals are independent standard normal if the model holds, with no correction for parameters fitted
    (Johnson 2007, doi:10.1214/07-BA229); averages over draws are not.

    Returns a Dataset: `m_protein` (sample, measurement), `pfs` (sample, patient); `predicted` (measurement) posterior
    median of M in g/L; coords with patient, day, `below_lloq`, `event`; `p_value` (outcome) of normality, one
    Kolmogorov-Smirnov test a draw, the draws combined by Cauchy's rule, which holds for dependent tests (Liu and Xie
    2020, doi:10.1080/01621459.2018.1554485). Raises ModelError for a fit without posterior or of other patients.
    """
    given = thinned(fit, n_draws, trial=trial, spec=spec)
    data, draws = given.data, given.draws
    rng = np.random.default_rng(seed)
    n = draws.sizes["sample"]
    marker, pfs = np.empty((n, data.value.size)), np.empty((n, data.event.size))
    predicted = np.empty((n, data.value.size))
    for number in range(n):
        one = draws.isel(sample=number)
        terms = evaluate_terms(data.panels, data.shape, kernel_parameters(data, one))
        m, residual = np.exp(terms.log_m), residual_of(one)
        z = (data.value - m) / residual.sd(m)
        predicted[number] = m
        # Uniform below the limit on the log scale: exact in the far tail.
        drawn = ndtri_exp(np.log(rng.uniform(size=z.size)) + log_distribution(z, residual.nu))
        marker[number] = np.where(data.below, drawn, _as_normal(z, residual.nu))
        probability = np.where(data.interval_censored, terms.log_event, np.nan)
        pfs[number] = _of_pfs(terms.cumulative_hazard, data.event, rng, probability)
    return _labelled(data.trial, draws, marker, pfs, np.median(predicted, axis=0))


def _as_normal(z: np.ndarray, nu: float) -> np.ndarray:
    """Phi^-1 F(z), by symmetry from the lower tail, which has the digits."""
    return z if np.isinf(nu) else -np.sign(z) * ndtri_exp(log_distribution(-np.abs(z), nu))


def _of_pfs(
    cumulative_hazard: np.ndarray,
    event: np.ndarray,
    rng: np.random.Generator,
    log_probability: np.ndarray | None = None,
) -> np.ndarray:
    """-Phi^-1 of survival; what is left of it is uniform for a censored patient.

    `log_probability` (n,): of an event within its interval given survival to it, NaN for exact and censored times; the
    survival lost there is uniform.
    """
    share = rng.uniform(size=event.size)
    lost = np.where(event, 0.0, np.log(share))
    if log_probability is not None:
        between = np.isfinite(log_probability)
        lost = np.where(between, np.log1p(-share * np.exp(np.where(between, log_probability, 0.0))), lost)
    log_survival = lost - cumulative_hazard
    # Close to survival 1 its logarithm has the digits, close to 0 too: ndtri_exp keeps both but the last bits near 1.
    with np.errstate(divide="ignore"):
        early = ndtri(-np.expm1(log_survival))
    return np.where(log_survival > -0.5, early, -ndtri_exp(np.minimum(log_survival, -0.5)))


def _labelled(
    trial: Trial, draws: xr.Dataset, marker: np.ndarray, pfs: np.ndarray, predicted: np.ndarray
) -> xr.Dataset:
    rows = trial.mprotein
    return xr.Dataset(
        {
            "m_protein": (("sample", "measurement"), marker, {"units": "1"}),
            "pfs": (("sample", "patient"), pfs, {"units": "1"}),
            "predicted": ("measurement", predicted, {"units": "g/L"}),
            "p_value": ("outcome", [_normality(marker), _normality(pfs)]),
        },
        coords={
            "sample": draws["sample"].to_numpy(),
            "outcome": ["m_protein", "pfs"],
            "patient": trial.patients.index.to_numpy(dtype=object),
            "event": ("patient", trial.pfs["event"].to_numpy(dtype=bool)),
            "pfs_day": ("patient", trial.pfs["day"].to_numpy(dtype=float), {"units": "day"}),
            "measurement": np.arange(len(rows)),
            "measurement_patient": ("measurement", rows["id"].to_numpy(dtype=object)),
            "measurement_day": ("measurement", rows["day"].to_numpy(dtype=float), {"units": "day"}),
            "below_lloq": ("measurement", rows["below_lloq"].to_numpy(dtype=bool)),
        },
    )


def _normality(residuals: np.ndarray) -> float:
    return combine_p_values([kstest(row, "norm").pvalue for row in residuals])


def combine_p_values(p_values: Sequence[float]) -> float:
    """One p-value from dependent tests, by Cauchy's rule (Liu and Xie 2020, doi:10.1080/01621459.2018.1554485)."""
    # Scores are infinite at 0 and 1; a p-value of exactly 1 is a rounding of one next to it.
    scores = cauchy.isf(np.clip(p_values, 1e-300, 1.0 - 1e-12))
    return float(cauchy.sf(np.mean(scores)))
