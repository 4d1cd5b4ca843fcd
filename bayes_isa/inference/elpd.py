"""`elpd_loo`: expected log predictive density of patients left out, individual parameters integrated out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import arviz as az  # noqa: F401 - registers the accessor `azstats`
import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import logsumexp

from bayes_isa.data import Trial
from bayes_isa.errors import ModelError
from bayes_isa.inference.marginal import N_DRAWS, N_POINTS, marginal_likelihood
from bayes_isa.inference.refits import refit_without
from bayes_isa.model.priors import PriorSet
from bayes_isa.model.spec import ModelSpec

# A fifth of the draws is smoothed as the tail; a Pareto shape is not worth its name with fewer than twenty.
_LEAST_SAMPLES = 100
ELPD_PARTS = ("joint", "marker", "pfs", "pfs_given_marker")


def elpd_loo(
    fit: xr.DataTree,
    *,
    n_points: int = N_POINTS,
    n_draws: int = N_DRAWS,
    seed: int = 0,
    refit: bool = False,
    fit_options: Mapping[str, Any] | None = None,
    trial: Trial | None = None,
    spec: ModelSpec | None = None,
    priors: PriorSet | None = None,
) -> xr.Dataset:
    """Leave-one-patient-out ELPD of a joint model: how well it predicts the whole record of a new patient.

    With theta the population parameters and a patient's random effects integrated out (`marginal_likelihood`), the
    posterior without patient i is reached by Pareto smoothed importance sampling (Vehtari, Gelman and Gabry 2017,
    doi:10.1007/s11222-016-9696-4; integrated for hierarchical models as in Merkle, Furr and Rabe-Hesketh 2019,
    doi:10.1007/s11336-019-09679-0). Under it the record splits exactly:

        log p(y_i, T_i) = log p(y_i) + log p(T_i | y_i)

    into "marker" and "pfs_given_marker"; "pfs" is log p(T_i) alone. The observed baseline M-protein as a covariate is
    given throughout. A patient's covariates are given; what is missing of them, where the model imputes, is integrated
    out given the others, and leaving the patient out takes them from the covariate model as well.

    n_points, n_draws, seed: see `marginal_likelihood`. refit: fit anew without each patient whose Pareto k exceeds
    `good_k`, for exact values (minutes each); fit_options go to `fit` and default to the settings of the fit.

    Returns a Dataset, dims (part, patient): `elpd`; `p_loo`, in-sample less left-out density; (patient): `pareto_k`,
    `ess` of the posterior draws under the weights, `refitted`; (part): `elpd_total`, `se`, `p_loo_total`; and of the
    integration, (integral, patient), `integration_ess` (mean share of points) and `noise_sd`. attrs: "good_k", the
    bound of k for this number of draws, "n_high_k". The noise of the integrals does not bias the ELPD: weights and
    densities come from independent halves of the points.
    """
    marginal = marginal_likelihood(
        fit, n_points=n_points, n_draws=n_draws, seed=seed, trial=trial, spec=spec, priors=priors
    )
    result = elpd_from_marginal(marginal)
    too_high = result["pareto_k"].to_numpy() > result.attrs["good_k"]
    if not refit or not too_high.any():
        return result
    return with_refits(
        result,
        fit,
        [str(i) for i in result["patient"].to_numpy()[too_high]],
        n_points=n_points,
        n_draws=n_draws,
        seed=seed,
        fit_options=fit_options,
        trial=trial,
        spec=spec,
        priors=priors,
    )


def elpd_from_marginal(marginal: xr.Dataset) -> xr.Dataset:
    """PSIS-LOO from the log-likelihoods of `marginal_likelihood`. Raises ModelError where a patient is impossible."""
    joint = _whole_record(marginal, marginal["log_likelihood"])
    impossible = ~np.isfinite(joint.transpose("patient", ...).to_numpy()).all(axis=(1, 2))
    if impossible.any():
        ids = ", ".join(map(str, joint["patient"].to_numpy()[impossible][:10]))
        raise ModelError(f"patients {ids} have probability 0 at some posterior draw: raise n_points")
    n_samples = joint.sizes["chain"] * joint.sizes["draw"]
    if n_samples < _LEAST_SAMPLES:
        raise ModelError(
            f"expected at least {_LEAST_SAMPLES} posterior draws to leave patients out, found {n_samples}"
        )
    log_weights, pareto_k = _psis(joint)
    halves = marginal["half_log_likelihood"]
    crossed = []
    for weighing, evaluated in ((0, 1), (1, 0)):
        own, _ = _psis(_whole_record(marginal, halves.isel(half=weighing, drop=True)))
        crossed.append(_log_mean(halves.isel(half=evaluated, drop=True), own))
    elpd = _with_conditional(0.5 * (crossed[0] + crossed[1]))
    even = xr.zeros_like(log_weights) - np.log(n_samples)
    in_sample = _with_conditional(_log_mean(marginal["log_likelihood"], even))
    ess = np.exp(-_log_sum(2.0 * log_weights))
    return _with_totals(
        xr.Dataset(
            {
                "elpd": elpd,
                "p_loo": in_sample - elpd,
                "pareto_k": pareto_k,
                "ess": ess,
                "refitted": ("patient", np.zeros(joint.sizes["patient"], dtype=bool)),
                "integration_ess": marginal["ess"].mean(("chain", "draw")).rename(part="integral")
                / marginal.attrs["n_points"],
                "noise_sd": marginal["noise_sd"].rename(part="integral"),
            },
            attrs={
                # Draws below which the k that can still be estimated falls under 0.7 (Vehtari et al. 2024,
                # arXiv:1507.02646).
                "good_k": float(min(1.0 - 1.0 / np.log10(max(n_samples, 11)), 0.7)),
                "n_samples": n_samples,
                "n_points": marginal.attrs["n_points"],
                "n_unusable": marginal.attrs["n_unusable"],
            },
        )
    )


def with_refits(
    result: xr.Dataset,
    fit: xr.DataTree,
    patients: Sequence[str],
    *,
    n_points: int = N_POINTS,
    n_draws: int = N_DRAWS,
    seed: int = 0,
    fit_options: Mapping[str, Any] | None = None,
    trial: Trial | None = None,
    spec: ModelSpec | None = None,
    priors: PriorSet | None = None,
) -> xr.Dataset:
    """`elpd_loo`'s result with the values of these patients replaced by those of refits without them, one by one."""
    updated = result.copy(deep=True)
    for patient in patients:
        marginal = refit_without(
            fit,
            patient,
            n_points=n_points,
            n_draws=n_draws,
            seed=seed,
            fit_options=fit_options,
            trial=trial,
            spec=spec,
            priors=priors,
        )
        likelihood = marginal["log_likelihood"]
        even = xr.zeros_like(likelihood.isel(part=0, drop=True)) - np.log(likelihood[0, :, :, 0].size)
        exact = _with_conditional(_log_mean(likelihood, even)).isel(patient=0)
        at = {"patient": patient}
        updated["p_loo"].loc[at] = (updated["p_loo"] + updated["elpd"]).sel(at) - exact
        updated["elpd"].loc[at] = exact
        updated["refitted"].loc[at] = True
    return _with_totals(updated)


def _whole_record(marginal: xr.Dataset, log_likelihood: xr.DataArray) -> xr.DataArray:
    """All of a patient that the posterior has seen: outcomes, and covariates where these are modelled."""
    joint = log_likelihood.sel(part="joint", drop=True)
    return joint + marginal["covariate_log_likelihood"] if "covariate_log_likelihood" in marginal else joint


def _psis(log_likelihood: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Normalised smoothed log weights of leaving each patient out, and Pareto k."""
    dims = ["chain", "draw"]
    relative = _relative_efficiency(log_likelihood)
    log_weights, k = log_likelihood.azstats.psislw(r_eff=relative, dim=dims)
    return log_weights - _log_sum(log_weights), k


def _relative_efficiency(log_likelihood: xr.DataArray) -> float:
    """Mean relative ESS of the likelihood over patients; 1 for a single chain too short to tell."""
    if log_likelihood.sizes["draw"] < 4:
        return 1.0
    scaled = log_likelihood.copy(data=np.exp(log_likelihood - log_likelihood.max(("chain", "draw"))))
    ess = scaled.azstats.ess(method="mean", relative=True)
    return float(np.clip(np.nanmean(ess), 1e-3, 1.0))


def _log_sum(values: xr.DataArray) -> xr.DataArray:
    return xr.apply_ufunc(lambda x: logsumexp(x, axis=(-2, -1)), values, input_core_dims=[["chain", "draw"]])


def _log_mean(log_likelihood: xr.DataArray, log_weights: xr.DataArray) -> xr.DataArray:
    return _log_sum(log_likelihood + log_weights)


def _with_conditional(parts: xr.DataArray) -> xr.DataArray:
    """Adds p(T | y) = p(y, T) / p(y)."""
    conditional = (parts.sel(part="joint") - parts.sel(part="marker", drop=True)).assign_coords(
        part="pfs_given_marker"
    )
    return xr.concat([parts, conditional.expand_dims("part")], dim="part").transpose("part", ...)


def _with_totals(result: xr.Dataset) -> xr.Dataset:
    n = result.sizes["patient"]
    k = result["pareto_k"].where(~result["refitted"])
    return result.assign(
        elpd_total=result["elpd"].sum("patient"),
        se=np.sqrt(n) * result["elpd"].std("patient", ddof=1 if n > 1 else 0),
        p_loo_total=result["p_loo"].sum("patient"),
    ).assign_attrs(n_high_k=int((k > result.attrs["good_k"]).sum()))


def elpd_table(result: xr.Dataset) -> pd.DataFrame:
    """ELPD, its standard error and the effective number of parameters of every part."""
    table = result[["elpd_total", "se", "p_loo_total"]].to_dataframe()
    return table.rename(columns={"elpd_total": "elpd", "p_loo_total": "p_loo"}).rename_axis("part")
