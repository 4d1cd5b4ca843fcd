"""The normal model of incomplete covariates at one parameter set, in plain arrays.

Covariate j of patient i, given what is known of everybody and the incomplete covariates before it:

    z_ij ~ Normal(a_j + x_i' b_j + sum_{l < j} c_jl z_il, s_j)

which is any joint normal distribution of (z_i1, ..., z_ic) given x_i, written as a sequence of regressions (Lipsitz and
Ibrahim 1996, doi:10.1093/biomet/83.4.916).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LOG_2PI = float(np.log(2.0 * np.pi))
# Expectation-maximisation for starting values alone; it halves its error in a few rounds unless most is missing.
_MOST_ROUNDS = 200
_AT_REST = 1e-6  # of a covariate's SD


@dataclass(frozen=True)
class Conditional:
    """What is missing of n patients' covariates given what is known: normal.

    mean (n, c), given values as they are; covariance (n, c, c), 0 for given values; log_density (n,) of what is given.
    """

    mean: np.ndarray
    covariance: np.ndarray
    log_density: np.ndarray


@dataclass(frozen=True)
class CovariateModel:
    """Coefficients of each regression, (1 + r + j,): intercept, predictors, earlier covariates; residual SDs (c,)."""

    coefficients: tuple[np.ndarray, ...]
    sd: np.ndarray

    def joint(self, predictors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means (n, c) and covariance (c, c) of the incomplete covariates at predictors (n, r)."""
        r, c = predictors.shape[1], self.sd.size
        base = np.column_stack([own[0] + predictors @ own[1 : 1 + r] for own in self.coefficients])
        earlier = np.zeros((c, c))
        for j, own in enumerate(self.coefficients):
            earlier[j, :j] = own[1 + r :]
        whole = np.linalg.inv(np.eye(c) - earlier)
        return base @ whole.T, (whole * self.sd**2) @ whole.T

    def conditional(self, given: np.ndarray, predictors: np.ndarray) -> Conditional:
        """Of what is NaN in `given` (n, c), at predictors (n, r)."""
        means, joint = self.joint(predictors)
        unknown = np.isnan(given)
        mean, covariance = np.where(unknown, means, given), np.zeros((*given.shape, given.shape[1]))
        log_density = np.zeros(len(given))
        patterns, member = np.unique(unknown, axis=0, return_inverse=True)
        for number, hidden in enumerate(patterns):
            who, known = np.flatnonzero(member.ravel() == number), ~hidden
            away = given[np.ix_(who, known)] - means[np.ix_(who, known)]
            gain = np.linalg.solve(joint[np.ix_(known, known)], joint[np.ix_(known, hidden)])
            mean[np.ix_(who, hidden)] += away @ gain
            left = joint[np.ix_(hidden, hidden)] - joint[np.ix_(hidden, known)] @ gain
            covariance[np.ix_(who, hidden, hidden)] = left
            log_density[who] = _log_normal(away, joint[np.ix_(known, known)])
        return Conditional(mean, covariance, log_density)


def _log_normal(away: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    z = np.linalg.solve(covariance, away.T).T
    return -0.5 * (np.sum(z * away, axis=1) + away.shape[1] * _LOG_2PI + np.linalg.slogdet(covariance)[1])


def estimated(given: np.ndarray, predictors: np.ndarray, prior_sds: tuple[np.ndarray, ...]) -> CovariateModel:
    """Posterior mode, roughly, by expectation-maximisation: for starting values.

    given (n, c), NaN where missing; predictors (n, r); prior_sds of coefficients as in `CovariateModel`.
    """
    spread = np.nanstd(given, axis=0)
    model = CovariateModel(tuple(np.zeros(own.size) for own in prior_sds), spread)
    before = np.full(given.shape, np.inf)
    for _ in range(_MOST_ROUNDS):
        found = model.conditional(given, predictors)
        if np.max(np.abs(found.mean - before) / spread) < _AT_REST:
            break
        before = found.mean
        model = _maximised(model, found, predictors, prior_sds)
    return model


def _maximised(
    model: CovariateModel, found: Conditional, predictors: np.ndarray, prior_sds: tuple[np.ndarray, ...]
) -> CovariateModel:
    coefficients, sd = [], np.empty_like(model.sd)
    n, spread = len(found.mean), found.covariance.sum(axis=0)
    for j, prior_sd in enumerate(prior_sds):
        design = np.column_stack([np.ones(n), predictors, found.mean[:, :j]])
        first = design.shape[1] - j
        products, with_own = design.T @ design, design.T @ found.mean[:, j]
        products[first:, first:] += spread[:j, :j]
        with_own[first:] += spread[:j, j]
        own = np.linalg.solve(products + np.diag((model.sd[j] / prior_sd) ** 2), with_own)
        square = found.mean[:, j] @ found.mean[:, j] + spread[j, j]
        square += own @ products @ own - 2.0 * own @ with_own
        coefficients.append(own)
        sd[j] = np.sqrt(square / n)
    return CovariateModel(tuple(coefficients), sd)
