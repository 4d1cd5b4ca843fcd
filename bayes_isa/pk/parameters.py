"""Individual pharmacokinetic parameters of isatuximab: typical values from covariates, and draws around them.

Source: the population model of Fau et al. 2020 (476 patients), two compartments with a linear clearance that
falls with time plus Michaelis-Menten elimination. Hours, milligrams and litres throughout.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayes_isa.errors import DataError, Problem

PK_PARAMETERS = ("CLinf", "CLm", "KCL", "g", "Vc", "Q", "Vp", "Vm", "Km")
"""Columns of every array of individual parameters: L/h, -, h, -, L, L/h, L, mg/L/h, mg/L."""

TYPICAL_VALUES = (0.00955, 0.664, 1055.0, 3.91, 5.13, 0.0432, 3.62, 0.136, 0.300)
"""Values of a white man of 75.6 kg with IgG myeloma and beta-2-microglobulin 3.90 mg/L."""

BETWEEN_PATIENT_CV = (0.475, 0.972, 1.15, 1.18, 0.257, 0.858, 0.456, 0.615, 0.889)
"""Coefficients of variation, same order; that of `CLm` is of a normal distribution, the others log-normal."""

_MEDIAN_WEIGHT_KG = 75.6
_MEDIAN_B2M_MG_PER_L = 3.90
_CLM = PK_PARAMETERS.index("CLm")


def typical_parameters(
    weight_kg: ArrayLike,
    b2m_mg_per_l: ArrayLike,
    igg: ArrayLike,
    female: ArrayLike,
    asian: ArrayLike,
    p2f2: ArrayLike = 0,
) -> NDArray[np.float64]:
    """Typical parameters of patients with given covariates.

    Parameters
    ----------
    weight_kg, b2m_mg_per_l
        Body weight in kg and beta-2-microglobulin in mg/L, shape (n,), finite and positive.
    igg, female, asian, p2f2
        0 or 1, shape (n,) or a scalar: IgG myeloma, sex, Asian, commercial drug material (0 in the studies
        this package models).

    Returns
    -------
    Array (n, 9), columns `PK_PARAMETERS`.

    Raises
    ------
    DataError
        If a covariate is missing, infinite, not positive or not 0/1; each offending position is listed.
    """
    covariates = _checked_covariates(
        weight_kg=weight_kg, b2m_mg_per_l=b2m_mg_per_l, igg=igg, female=female, asian=asian, p2f2=p2f2
    )
    log_weight = np.log(covariates["weight_kg"] / _MEDIAN_WEIGHT_KG)
    log_b2m = np.log(covariates["b2m_mg_per_l"] / _MEDIAN_B2M_MG_PER_L)
    non_igg = 1.0 - covariates["igg"]

    shift = np.zeros((log_weight.size, len(PK_PARAMETERS)))
    column = {name: shift[:, j] for j, name in enumerate(PK_PARAMETERS)}
    column["CLinf"] += 0.621 * log_weight + 0.343 * log_b2m - 0.751 * non_igg
    column["KCL"] += -0.931 * non_igg
    column["Vc"] += (
        0.472 * log_weight
        - 0.137 * covariates["p2f2"]
        - 0.275 * covariates["asian"]
        - 0.126 * covariates["female"]
    )
    column["Q"] += 0.477 * log_weight
    column["Vp"] += 0.719 * log_weight
    return np.asarray(TYPICAL_VALUES) * np.exp(shift)


def draw_parameters(typical: ArrayLike, rng: np.random.Generator) -> NDArray[np.float64]:
    """Individual parameters drawn around typical ones with the published between-patient variability.

    Log-normal with variance log(CV^2 + 1) about the typical value as median; `CLm` is normal with a standard
    deviation of CV times its value, so that it may be negative (clearance then rises with time).

    Parameters
    ----------
    typical
        Array (n, 9), columns `PK_PARAMETERS`.
    rng
        Source of randomness; the draws depend on nothing else.

    Returns
    -------
    Array (n, 9).
    """
    centre = np.asarray(typical, dtype=float)
    cv = np.asarray(BETWEEN_PATIENT_CV)
    normal = rng.standard_normal(centre.shape)
    drawn = centre * np.exp(np.sqrt(np.log1p(cv**2)) * normal)
    drawn[:, _CLM] = centre[:, _CLM] * (1.0 + cv[_CLM] * normal[:, _CLM])
    return drawn


def _checked_covariates(**values: ArrayLike) -> dict[str, NDArray[np.float64]]:
    names = list(values)
    arrays = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, dtype=float)) for v in values.values()))
    problems = []
    for name, array in zip(names, arrays, strict=True):
        binary = name in {"igg", "female", "asian", "p2f2"}
        good = np.isin(array, (0.0, 1.0)) if binary else np.isfinite(array) & (array > 0)
        wanted = "0 or 1" if binary else "finite and positive"
        problems += [
            Problem(f"{name} at position {i} is {array[i]:g}, not {wanted}", "Impute it or drop the patient")
            for i in np.flatnonzero(~good)
        ]
    if problems:
        raise DataError("typical PK parameters need complete covariates", problems)
    return dict(zip(names, arrays, strict=True))
