"""Joint models of serum M-protein and progression-free survival (PFS) under isatuximab, in PyMC.

A trial goes in; a posterior, the evidence that it can be trusted, and a comparison of regimens come out:

    import bayes_isa as bi

    trial = bi.load_example("virtual_rrmm")              # or bi.read_trial("mydata/"), bi.read_nonmem("data.csv")
    model = bi.build_model(trial, "weakly_informative", bi.ModelSpec(link="slope"))       # a plain pm.Model
    fit = bi.fit(model, seed=1)                          # an xarray DataTree
    bi.diagnose(fit).raise_if_failed()
    sims = bi.simulate_trials(fit, ["20 mg/kg QW-Q2W", "10 mg/kg QW-Q2W"], n_trials=1000, seed=2)
    bi.compare_regimens(sims, reference="10 mg/kg QW-Q2W")
    bi.plot_pfs(sims)

Time is in days since the first dose, M-protein in g/L, isatuximab in mg/L, dexamethasone in umol/L.

Map of the package, from the bottom up; each part imports only from those above it in this list:

errors       every error, with the file, row, patient and remedy of each problem
data         Trial: read, checked, written; covariates; virtual populations; the built-in data set
regimens     Regimen: short names such as "20 mg/kg QW-Q2W + dex 0-3mo", turned into doses
pk           concentrations of isatuximab and dexamethasone: arrays in, arrays out
kernels      M-protein, hazard and likelihood by quadrature, with their derivatives: NumPy and numba only
model        prior sets, ModelSpec, build_model, log_likelihood
inference    fit, save_fit, load_fit, diagnose, parameter_estimates, covariate_effects, covariate_selection, elpd_loo,
             compare_models
simulation   virtual trials, simulated trials, comparison of regimens, response, exposure
prediction   checks: replicates of the trial, VPCs, residuals, individual fits, prior predictive and sensitivity,
             calibration
plots        one figure a function
report       write_report: one HTML file for those who decide
cli          the command `bayes-isa`

Names below are imported when first used: `import bayes_isa` itself is quick and does not load PyMC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayes_isa.data import Trial, read_nonmem, read_trial, trial_from_tables, write_nonmem, write_trial
    from bayes_isa.data.candidates import all_covariates
    from bayes_isa.data.examples import load_example
    from bayes_isa.errors import BayesIsaError, BayesIsaWarning, ConvergenceError, DataError
    from bayes_isa.inference.compare_models import compare_models
    from bayes_isa.inference.covariate_effects import covariate_effects
    from bayes_isa.inference.covariate_selection import covariate_selection, reduced_spec
    from bayes_isa.inference.diagnose import diagnose
    from bayes_isa.inference.elpd import elpd_loo
    from bayes_isa.inference.estimates import parameter_estimates
    from bayes_isa.inference.fit import fit
    from bayes_isa.inference.storage import load_fit, save_fit
    from bayes_isa.model.build import build_model
    from bayes_isa.model.horseshoe import Horseshoe
    from bayes_isa.model.likelihood import log_likelihood
    from bayes_isa.model.priors import Prior, PriorSet, load_priors
    from bayes_isa.model.spec import ModelSpec
    from bayes_isa.plots.plot_calibration import plot_calibration
    from bayes_isa.plots.plot_covariate_effects import plot_covariate_effects
    from bayes_isa.plots.plot_covariate_selection import plot_covariate_selection
    from bayes_isa.plots.plot_eta import plot_eta
    from bayes_isa.plots.plot_exposure import plot_exposure
    from bayes_isa.plots.plot_individuals import plot_individuals
    from bayes_isa.plots.plot_km_vpc import plot_km_vpc
    from bayes_isa.plots.plot_mprotein import plot_mprotein
    from bayes_isa.plots.plot_parameters import plot_parameters
    from bayes_isa.plots.plot_pfs import plot_pfs
    from bayes_isa.plots.plot_prior_check import plot_prior_check
    from bayes_isa.plots.plot_prior_sensitivity import plot_prior_sensitivity
    from bayes_isa.plots.plot_regimens import plot_regimens
    from bayes_isa.plots.plot_residuals import plot_residuals
    from bayes_isa.plots.plot_response import plot_response
    from bayes_isa.plots.plot_vpc import plot_vpc
    from bayes_isa.prediction.calibrate import calibrate
    from bayes_isa.prediction.eta_shrinkage import eta_shrinkage
    from bayes_isa.prediction.individual_fits import individual_fits
    from bayes_isa.prediction.km_vpc import km_vpc
    from bayes_isa.prediction.prior_check import prior_check
    from bayes_isa.prediction.prior_sensitivity import prior_sensitivity
    from bayes_isa.prediction.quantile_residuals import quantile_residuals
    from bayes_isa.prediction.replicates import replicate_trial
    from bayes_isa.prediction.vpc import vpc
    from bayes_isa.regimens import Regimen, Switch
    from bayes_isa.report.write import write_report
    from bayes_isa.simulation.assurance import TwoArmTrial, assurance
    from bayes_isa.simulation.chunks import open_trials
    from bayes_isa.simulation.compare import compare_regimens
    from bayes_isa.simulation.earlier import earlier_progression
    from bayes_isa.simulation.endpoints import endpoints
    from bayes_isa.simulation.exposure_profiles import exposure_profiles
    from bayes_isa.simulation.reproduce import reproduce
    from bayes_isa.simulation.response_summary import response_summary
    from bayes_isa.simulation.separate import separate_uncertainty
    from bayes_isa.simulation.simulate import simulate_trials
    from bayes_isa.simulation.virtual_trial import draw_virtual_trial, write_virtual_trial

# A test holds this table and the imports above together.
_MODULE_OF = {
    "BayesIsaError": "bayes_isa.errors",
    "BayesIsaWarning": "bayes_isa.errors",
    "ConvergenceError": "bayes_isa.errors",
    "DataError": "bayes_isa.errors",
    "Horseshoe": "bayes_isa.model.horseshoe",
    "ModelSpec": "bayes_isa.model.spec",
    "Prior": "bayes_isa.model.priors",
    "PriorSet": "bayes_isa.model.priors",
    "Regimen": "bayes_isa.regimens",
    "Switch": "bayes_isa.regimens",
    "Trial": "bayes_isa.data",
    "TwoArmTrial": "bayes_isa.simulation.assurance",
    "all_covariates": "bayes_isa.data.candidates",
    "assurance": "bayes_isa.simulation.assurance",
    "build_model": "bayes_isa.model.build",
    "calibrate": "bayes_isa.prediction.calibrate",
    "compare_models": "bayes_isa.inference.compare_models",
    "compare_regimens": "bayes_isa.simulation.compare",
    "covariate_effects": "bayes_isa.inference.covariate_effects",
    "covariate_selection": "bayes_isa.inference.covariate_selection",
    "diagnose": "bayes_isa.inference.diagnose",
    "draw_virtual_trial": "bayes_isa.simulation.virtual_trial",
    "earlier_progression": "bayes_isa.simulation.earlier",
    "elpd_loo": "bayes_isa.inference.elpd",
    "endpoints": "bayes_isa.simulation.endpoints",
    "eta_shrinkage": "bayes_isa.prediction.eta_shrinkage",
    "exposure_profiles": "bayes_isa.simulation.exposure_profiles",
    "fit": "bayes_isa.inference.fit",
    "individual_fits": "bayes_isa.prediction.individual_fits",
    "km_vpc": "bayes_isa.prediction.km_vpc",
    "load_example": "bayes_isa.data.examples",
    "load_fit": "bayes_isa.inference.storage",
    "load_priors": "bayes_isa.model.priors",
    "log_likelihood": "bayes_isa.model.likelihood",
    "open_trials": "bayes_isa.simulation.chunks",
    "parameter_estimates": "bayes_isa.inference.estimates",
    "plot_calibration": "bayes_isa.plots.plot_calibration",
    "plot_covariate_effects": "bayes_isa.plots.plot_covariate_effects",
    "plot_covariate_selection": "bayes_isa.plots.plot_covariate_selection",
    "plot_eta": "bayes_isa.plots.plot_eta",
    "plot_exposure": "bayes_isa.plots.plot_exposure",
    "plot_individuals": "bayes_isa.plots.plot_individuals",
    "plot_km_vpc": "bayes_isa.plots.plot_km_vpc",
    "plot_mprotein": "bayes_isa.plots.plot_mprotein",
    "plot_parameters": "bayes_isa.plots.plot_parameters",
    "plot_pfs": "bayes_isa.plots.plot_pfs",
    "plot_prior_check": "bayes_isa.plots.plot_prior_check",
    "plot_prior_sensitivity": "bayes_isa.plots.plot_prior_sensitivity",
    "plot_regimens": "bayes_isa.plots.plot_regimens",
    "plot_residuals": "bayes_isa.plots.plot_residuals",
    "plot_response": "bayes_isa.plots.plot_response",
    "plot_vpc": "bayes_isa.plots.plot_vpc",
    "prior_check": "bayes_isa.prediction.prior_check",
    "prior_sensitivity": "bayes_isa.prediction.prior_sensitivity",
    "quantile_residuals": "bayes_isa.prediction.quantile_residuals",
    "read_nonmem": "bayes_isa.data",
    "read_trial": "bayes_isa.data",
    "reduced_spec": "bayes_isa.inference.covariate_selection",
    "replicate_trial": "bayes_isa.prediction.replicates",
    "reproduce": "bayes_isa.simulation.reproduce",
    "response_summary": "bayes_isa.simulation.response_summary",
    "save_fit": "bayes_isa.inference.storage",
    "separate_uncertainty": "bayes_isa.simulation.separate",
    "simulate_trials": "bayes_isa.simulation.simulate",
    "trial_from_tables": "bayes_isa.data",
    "vpc": "bayes_isa.prediction.vpc",
    "write_nonmem": "bayes_isa.data",
    "write_report": "bayes_isa.report.write",
    "write_trial": "bayes_isa.data",
    "write_virtual_trial": "bayes_isa.simulation.virtual_trial",
}

__all__ = [
    "BayesIsaError",
    "BayesIsaWarning",
    "ConvergenceError",
    "DataError",
    "Horseshoe",
    "ModelSpec",
    "Prior",
    "PriorSet",
    "Regimen",
    "Switch",
    "Trial",
    "TwoArmTrial",
    "all_covariates",
    "assurance",
    "build_model",
    "calibrate",
    "compare_models",
    "compare_regimens",
    "covariate_effects",
    "covariate_selection",
    "diagnose",
    "draw_virtual_trial",
    "earlier_progression",
    "elpd_loo",
    "endpoints",
    "eta_shrinkage",
    "exposure_profiles",
    "fit",
    "individual_fits",
    "km_vpc",
    "load_example",
    "load_fit",
    "load_priors",
    "log_likelihood",
    "open_trials",
    "parameter_estimates",
    "plot_calibration",
    "plot_covariate_effects",
    "plot_covariate_selection",
    "plot_eta",
    "plot_exposure",
    "plot_individuals",
    "plot_km_vpc",
    "plot_mprotein",
    "plot_parameters",
    "plot_pfs",
    "plot_prior_check",
    "plot_prior_sensitivity",
    "plot_regimens",
    "plot_residuals",
    "plot_response",
    "plot_vpc",
    "prior_check",
    "prior_sensitivity",
    "quantile_residuals",
    "read_nonmem",
    "read_trial",
    "reduced_spec",
    "replicate_trial",
    "reproduce",
    "response_summary",
    "save_fit",
    "separate_uncertainty",
    "simulate_trials",
    "trial_from_tables",
    "vpc",
    "write_nonmem",
    "write_report",
    "write_trial",
    "write_virtual_trial",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("bayes-isa")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
