"""`prior_sensitivity`: how much the posterior owes to the priors, and where the two disagree."""

from __future__ import annotations

import arviz as az
import numpy as np
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.errors import ModelError
from bayes_isa.inference.estimates import entry_of, prior_by_parameter
from bayes_isa.inference.storage import population_variables, priors_of, spec_of, trial_of
from bayes_isa.model.joint_data import prepare
from bayes_isa.model.likelihood import evaluate_log_likelihood, with_panels_at
from bayes_isa.model.prior import Prior
from bayes_isa.model.priors import PriorSet
from bayes_isa.model.spec import ModelSpec

# Kallioinen et al. 2024 take a change of 0.05 in the cumulative Jensen-Shannon distance, per halving or doubling of the
# power, as sensitive.
_THRESHOLD = 0.05
# With all 4000 draws of the built-in data set's fit no sensitivity to the priors changes by more than 0.01; with 1000
# by up to 0.02.
_DRAWS = 2000
CONFLICT, STRONG, FINE = "potential prior-data conflict", "strong prior or weak likelihood", "none"


def prior_sensitivity(
    fit: xr.DataTree,
    *,
    threshold: float = _THRESHOLD,
    n_draws: int = _DRAWS,
    trial: Trial | None = None,
    spec: ModelSpec | None = None,
    priors: PriorSet | None = None,
) -> xr.Dataset:
    """Power-scaling sensitivity of every population parameter, and a report of conflicts of prior and data.

    All priors of population parameters together, or the likelihood of all patients, are raised to a power slightly off
    1, by importance weights (Kallioinen et al. 2024, doi:10.1007/s11222-023-10366-5, by ArviZ). The distributions of
    random effects are part of the model and not scaled. At most about n_draws draws are used, evenly spaced in each
    chain.

    Returns a Dataset, dim parameter: `prior`, `likelihood` (sensitivities), `diagnosis` ("potential prior-data
    conflict": both above `threshold`; "strong prior or weak likelihood": the prior's alone; "none"); where the
    posterior lies in its prior: `prior_probability` of a value at most the posterior median, `contraction`
    1 - (posterior SD / prior SD)^2 (Schad et al. 2021, doi:10.1037/met0000275; of logs where the prior is on positive
    numbers); `posterior_median`. attrs "not_scaled": parameters without a prior in the prior set. Raises ModelError for
    a fit without what is needed.
    """
    if "posterior" not in fit.children:
        raise ModelError("the fit has no group 'posterior': pass what `bayes_isa.fit` returned")
    chosen = spec_of(fit) if spec is None else spec
    posterior = fit["posterior"].to_dataset()
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    posterior = posterior.isel(draw=slice(None, None, max(1, chains * draws // n_draws)))
    data = prepare(trial_of(fit) if trial is None else trial, chosen, rough=True)
    known = prior_by_parameter(posterior, priors_of(fit) if priors is None else priors, chosen)
    flat = xr.Dataset({label: entry_of(posterior, label) for label in known})
    tree = xr.DataTree.from_dict(
        {
            "posterior": flat,
            "log_prior": _log_priors(flat, posterior, known),
            "log_likelihood": evaluate_log_likelihood(with_panels_at(data, posterior), posterior)[
                ["patient_total"]
            ],
        }
    )
    by_prior, by_likelihood = (az.psense(tree, group=group) for group in ("prior", "likelihood"))
    labels = list(known)
    prior_s = np.array([float(by_prior[label]) for label in labels])
    likelihood_s = np.array([float(by_likelihood[label]) for label in labels])
    scaled = {label.partition("[")[0] for label in labels}
    population = population_variables(posterior)
    return _report(flat, known, prior_s, likelihood_s, threshold).assign_attrs(
        threshold=threshold,
        not_scaled=[name for name in population if name not in {*scaled, "correlation_cholesky"}],
    )


def _log_priors(flat: xr.Dataset, posterior: xr.Dataset, known: dict[str, Prior]) -> xr.Dataset:
    """Log prior density of every parameter, of correlations together, up to constants."""
    alone = [label for label in known if not label.startswith("correlation[")]
    densities = {label: _log_density(flat[label], known[label]) for label in alone}
    if len(alone) < len(known):
        eta = known[next(label for label in known if label not in alone)].kwargs["eta"]
        matrix = posterior["correlation"].transpose(..., "parameter", "parameter_other")
        value = (eta - 1.0) * np.linalg.slogdet(matrix.to_numpy())[1]
        densities["correlation"] = (
            matrix[..., 0, 0].drop_vars(["parameter", "parameter_other"]).copy(data=value)
        )
    return xr.Dataset(densities)


def _log_density(draws: xr.DataArray, prior: Prior) -> xr.DataArray:
    return draws.copy(data=prior.scipy().logpdf(draws.to_numpy()))


def _report(
    flat: xr.Dataset, known: dict[str, Prior], prior: np.ndarray, likelihood: np.ndarray, threshold: float
) -> xr.Dataset:
    probability, contraction, median = [], [], []
    for label, density in known.items():
        draws = flat[label].to_numpy().ravel()
        median.append(float(np.median(draws)))
        probability.append(float(density.scipy().cdf(median[-1])))
        positive = density.support()[0] >= 0.0
        contraction.append(
            1.0 - (np.std(np.log(draws) if positive else draws) / _spread(density, positive)) ** 2
        )
    diagnosis = np.where(prior < threshold, FINE, np.where(likelihood >= threshold, CONFLICT, STRONG))
    return xr.Dataset(
        {
            "prior": ("parameter", prior, {"units": "1"}),
            "likelihood": ("parameter", likelihood, {"units": "1"}),
            "diagnosis": ("parameter", diagnosis.astype(object)),
            "posterior_median": ("parameter", median),
            "prior_probability": ("parameter", probability, {"units": "1"}),
            "contraction": ("parameter", contraction, {"units": "1"}),
        },
        coords={"parameter": list(known)},
    )


def _spread(prior: Prior, positive: bool) -> float:
    """SD of the prior, on the log scale for positive parameters: from its central 68 %, exact for normal shapes."""
    low, high = prior.quantiles([0.15865525, 0.84134475])
    return float(0.5 * (np.log(high) - np.log(low) if positive else high - low))
