"""`write_report`: everything about a fit, and a comparison of regimens, in one HTML file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import xarray as xr

from bayes_isa.data import Trial
from bayes_isa.errors import ModelError, RegimenError
from bayes_isa.inference.covariate_effects import covariate_effects
from bayes_isa.inference.covariate_selection import covariate_selection
from bayes_isa.inference.diagnose import Diagnosis, diagnose
from bayes_isa.inference.estimates import parameter_estimates
from bayes_isa.inference.storage import priors_of, require_writable, spec_of, trial_of
from bayes_isa.prediction.eta_shrinkage import eta_shrinkage
from bayes_isa.prediction.individual_fits import individual_fits
from bayes_isa.prediction.km_vpc import km_vpc
from bayes_isa.prediction.prior_sensitivity import prior_sensitivity
from bayes_isa.prediction.quantile_residuals import quantile_residuals
from bayes_isa.prediction.replicates import replicate_trial
from bayes_isa.prediction.vpc import vpc
from bayes_isa.report.checks_part import checks_section, individuals_section, sensitivity_section
from bayes_isa.report.closing_part import limits_section, origin_section, summary_section
from bayes_isa.report.data_part import data_section
from bayes_isa.report.document import Bullets, Section
from bayes_isa.report.model_part import convergence_section, model_section, parameters_section
from bayes_isa.report.regimens_part import regimens_section
from bayes_isa.report.selection_part import selection_section
from bayes_isa.report.words import conclusions, convergence
from bayes_isa.simulation.compare import compare_regimens
from bayes_isa.simulation.exposure_profiles import exposure_profiles
from bayes_isa.simulation.response_summary import response_summary
from bayes_isa.simulation.trials import Sims

STEPS = 8
"""What `progress` counts to."""


def write_report(
    fit: xr.DataTree,
    sims: Sims | None = None,
    *,
    out: str | Path,
    reference: str | None = None,
    n_individuals: int = 12,
    n_replicates: int = 300,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the report of a fit to `out`, one HTML file that needs neither network nor this package.

    fit            what `bayes_isa.fit` returned or `load_fit` read; one that failed its diagnostics is called so.
    sims           what `simulate_trials` returned or `open_trials` read; without it nothing is said of regimens.
    reference      the regimen others are compared with; the first simulated one by default.
    n_individuals  patients whose fits are drawn, evenly spaced in the data set.
    n_replicates   of the trial, for predictive checks (300: ends of 90 % bands to about 2 % of the probability).
    seed           of replicates, residuals and predictive bands.
    progress       called with (steps done, steps).

    Returns the path. Raises ModelError for a fit that carries no trial, or an `out` that cannot be written,
    RegimenError for a reference that was not simulated.
    """
    target = Path(out)
    require_writable(target)
    if n_individuals < 1 or n_replicates < 1:
        raise ModelError(
            f"expected n_individuals and n_replicates >= 1, found {n_individuals}, {n_replicates}"
        )
    step = _Steps(progress)
    trial = trial_of(fit)
    diagnosis = diagnose(fit)
    table = None
    regimens: list[str] = []
    if sims is not None:
        regimens = [str(name) for name in sims["regimen"].to_numpy()]
        table = compare_regimens(sims, reference=reference or regimens[0])
    step()
    sections = _sections(
        fit, trial, diagnosis, sims, table, regimens, n_individuals, n_replicates, seed, step
    )
    (check,) = (section for section in sections if section.key == "checks")
    (verdicts,) = (block for block in check.blocks if isinstance(block, Bullets))
    doubts = [text for text in verdicts.items if "look like" not in text]
    sentences = (
        conclusions(table)
        if table is not None
        else ["No trials were simulated: nothing is said of regimens."]
    )
    sections.insert(0, summary_section(convergence(diagnosis), diagnosis.ok, sentences, doubts))
    target.write_text(_page(trial.name, sections), encoding="utf-8", newline="\n")
    step()
    return target


class _Steps:
    """Counts the steps done and tells of them."""

    def __init__(self, tell: Callable[[int, int], None] | None) -> None:
        self.done, self.tell = 0, tell

    def __call__(self) -> None:
        self.done += 1
        if self.tell is not None:
            self.tell(min(self.done, STEPS), STEPS)


def _sections(
    fit: xr.DataTree,
    trial: Trial,
    diagnosis: Diagnosis,
    sims: Sims | None,
    table: pd.DataFrame | None,
    regimens: list[str],
    n_individuals: int,
    n_replicates: int,
    seed: int,
    step: _Steps,
) -> list[Section]:
    spec, priors = spec_of(fit), priors_of(fit)
    estimates = parameter_estimates(fit)
    posterior = fit["posterior"].to_dataset()
    has_effects = any(str(name).startswith("covariate_") for name in posterior.dims)
    selecting = has_effects and spec.covariate_prior == "horseshoe"
    effects = covariate_effects(fit) if has_effects and not selecting else None
    sections = [
        data_section(trial, regimens, json.loads(str(fit.attrs.get("left_out", "{}")))),
        model_section(spec, estimates, {"name": priors.name, "description": priors.description}),
        convergence_section(diagnosis),
        parameters_section(estimates, diagnosis, effects, eta_shrinkage(fit)),
    ]
    if selecting:
        sections.append(selection_section(covariate_selection(fit)))
    step()
    chosen = np.unique(np.linspace(0, trial.n_patients - 1, min(n_individuals, trial.n_patients)).round())
    ids = [str(trial.patients.index[int(i)]) for i in chosen]
    sections.append(individuals_section(individual_fits(fit, ids, seed=seed), trial.n_patients))
    step()
    sections.append(checks_section(_checks(fit, trial, n_replicates, seed)))
    step()
    if sims is not None and table is not None:
        profiles = _profiles(trial, regimens) if spec.exposure == "pk" else None
        step()
        sections.append(regimens_section(sims, table, response_summary(sims), profiles, estimates))
    step()
    sections.append(sensitivity_section(prior_sensitivity(fit)))
    sections.append(limits_section(spec, simulated=sims is not None))
    sections.append(origin_section(_attrs(fit), seed, None if sims is None else _attrs(sims)))
    step()
    return sections


def _checks(fit: xr.DataTree, trial: Trial, n_replicates: int, seed: int) -> dict[str, xr.Dataset]:
    replicates = replicate_trial(fit, n_replicates=n_replicates, seed=seed)
    checks = {
        "vpc": vpc(replicates),
        "km": km_vpc(replicates),
        "residuals": quantile_residuals(fit, seed=seed),
    }
    if (
        "arm" in trial.patients
        and trial.patients["arm"].notna().all()
        and len(trial.patients["arm"].unique()) > 1
    ):
        checks |= {"vpc_arm": vpc(replicates, by="arm"), "km_arm": km_vpc(replicates, by="arm")}
    return checks


def _profiles(trial: Trial, regimens: list[str]) -> xr.Dataset | None:
    """Concentrations of the regimens; None where one is no plain regimen (a switch, or a label of the user's)."""
    try:
        return exposure_profiles(trial, regimens)
    except RegimenError:
        return None


def _attrs(given: xr.Dataset | xr.DataTree) -> Mapping[str, object]:
    return {str(name): value for name, value in given.attrs.items()}


def _page(name: str, sections: list[Section]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bayes_isa.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    return template.render(
        title=f"{name}: M-protein and progression-free survival", sections=sections, today=date.today()
    )
