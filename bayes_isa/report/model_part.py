"""Model, priors, convergence and parameters."""

from __future__ import annotations

import xarray as xr

from bayes_isa.inference.diagnose import Diagnosis, Limits
from bayes_isa.model.spec import ModelSpec
from bayes_isa.plots.plot_covariate_effects import plot_covariate_effects
from bayes_isa.plots.plot_parameters import plot_parameters
from bayes_isa.report.document import Block, Bullets, Section, Table, Text
from bayes_isa.report.images import picture
from bayes_isa.report.words import convergence, span, with_span

_LINKS = {
    "none": "does not depend on M-protein",
    "slope": "depends on how fast M-protein changes at that moment (dM/dt, g/L/day)",
    "value": "depends on M-protein at that moment (g/L)",
    "log_value": "depends on the logarithm of M-protein at that moment",
    "relative_slope": "depends on the relative rate at which M-protein changes at that moment (1/day)",
}
_HAZARDS = {
    "loglogistic": "log-logistic: it rises and then falls if the shape s exceeds 1",
    "weibull": "Weibull",
    "exponential": "constant (exponential)",
}


_DRIVERS = {
    "pk": "C the isatuximab concentration in mg/L from the published population pharmacokinetics",
    "kpd": "C the rate in mg/day at which isatuximab leaves a virtual compartment that its doses enter, with a "
    "half-life of {half_life:g} days (K-PD: no concentrations; EC50 is the rate of half effect, EDK50)",
}


_MISSING = {
    "published": "Missing continuous covariates are taken as the median, missing binary ones as a level of their own.",
    "impute": "Missing continuous covariates are latent variables, normal given the patient's other covariates and "
    "informed by marker and PFS (missing at random is assumed); missing binary ones are a level of their own.",
}


def _effect(spec: ModelSpec) -> str:
    if spec.exposure == "constant":
        return "E = 1 while on treatment (constant exposure)"
    form = "C / (EC50 + C)" if spec.effect == "emax" else "C / EC50"
    return f"E(C) = {form}, {_DRIVERS[spec.exposure].format(half_life=spec.kpd_half_life_day)}"


def model_section(spec: ModelSpec, estimates: xr.Dataset, sources: dict[str, str]) -> Section:
    """Equations in words, and every prior with its source. sources: name and description of the prior set."""
    effect = _effect(spec)
    link = _LINKS.get(spec.link, f"depends on M-protein by the link {spec.link!r}")
    hazard = _HAZARDS.get(spec.hazard, spec.hazard)
    level = 100 * estimates.attrs["level"]
    rows = []
    for name in estimates["parameter"].to_numpy():
        one = estimates.sel(parameter=name)
        interval = span(float(one["prior_low"]), float(one["prior_high"]))
        rows.append(
            [
                str(name),
                str(one["meaning"].item()),
                f"{one['prior'].item()}; {level:g} % of it in {interval}",
                f"{str(one['source'].item()).rstrip('.')}. {one['rationale'].item()}",
            ]
        )
    blocks: list[Block] = [
        Text(
            "Serum M-protein M grows at rate KL and is killed by the drugs, an effect that fades at rate R:"
        ),
        Text("dM/dt = KL M − KD exp(−R t) [E(C) + k Cd] M,   M(0) = M0", kind="equation"),
        Text(
            f"{effect}. Cd is dexamethasone in µmol/L. Measurements scatter around M with an additive and a "
            "proportional error; values below the limit of quantification count as lying somewhere below it."
        ),
        Text("h(t) = h0(t) exp(covariates + beta_link L(t))", kind="equation"),
        Text(
            f"is the hazard of progression or death. It {link}; the baseline hazard h0 is {hazard}. Individual "
            "parameters are log-normal around typical values that depend on covariates; continuous covariates enter as "
            "log(value / median). Those of one patient are "
            f"{'correlated' if spec.correlated else 'independent, given covariates'}. "
            f"{_MISSING[spec.missing_covariates]}"
        ),
        Text(f"Priors: the set “{sources['name']}”. {sources['description']}"),
        Table(
            "Priors and their sources",
            ("Parameter", "Meaning", "Prior", "Source, and why"),
            rows,
            numbers_from=99,
        ),
    ]
    return Section("model", "Model and priors", blocks)


def convergence_section(diagnosis: Diagnosis) -> Section:
    """The verdict in words, then its numbers."""
    limits, numbers, table = Limits(), diagnosis.sampler, diagnosis.table
    rows = [
        ["Largest R-hat of a population parameter", f"{table['r_hat'].max():.3f}", f"at most {limits.r_hat}"],
        ["Least bulk effective sample size", f"{table['ess_bulk'].min():.0f}", f"at least {limits.ess:g}"],
        ["Least tail effective sample size", f"{table['ess_tail'].min():.0f}", f"at least {limits.ess:g}"],
        [
            "Divergent draws",
            f"{numbers['divergences']:.0f} of {numbers['draws']:.0f} ({100 * numbers['divergent_share']:.2f} %)",
            f"at most {100 * limits.divergences:g} %",
        ],
    ]
    if "min_e_bfmi" in numbers:
        rows.append(["Least E-BFMI of a chain", f"{numbers['min_e_bfmi']:.2f}", f"at least {limits.e_bfmi}"])
    if "max_r_hat_individual" in numbers:
        bound = f"at most {limits.r_hat_individual}"
        rows.append(
            ["Largest R-hat of an individual parameter", f"{numbers['max_r_hat_individual']:.3f}", bound]
        )
    blocks: list[Block] = [
        Text(convergence(diagnosis), kind="good" if diagnosis.ok else "bad"),
        Text(
            "R-hat compares chains with each other (1 is perfect agreement); the effective sample size is the "
            "number of "
            "independent draws that the correlated ones are worth; a divergent draw marks a place the sampler "
            "could not "
            "follow, near which the posterior may be missed; E-BFMI tells whether the sampler moves freely."
        ),
        Table("Convergence checks", ("Check", "Found", "Limit"), rows),
    ]
    if diagnosis.failures:
        blocks += [Text("What failed:"), Bullets([str(failure) for failure in diagnosis.failures])]
    return Section("convergence", "Did the sampler converge?", blocks)


def parameters_section(
    estimates: xr.Dataset, diagnosis: Diagnosis, effects: xr.Dataset | None, shrinkage: xr.Dataset
) -> Section:
    """The table beside the published estimates, both drawn together, and covariates as ratios."""
    level = 100 * estimates.attrs["level"]
    rows = []
    for name in estimates["parameter"].to_numpy():
        one, checks = estimates.sel(parameter=name), diagnosis.table.loc[str(name)]
        rows.append(
            [
                str(name),
                str(one["unit"].item()),
                with_span(*(float(one[name]) for name in ("median", "low", "high"))),
                with_span(*(float(one[name]) for name in ("published", "published_low", "published_high"))),
                f"{checks['r_hat']:.3f}",
                f"{checks['ess_bulk']:.0f}",
            ]
        )
    bounds = f"({level:g} % interval)"
    columns = ("Parameter", "Unit", f"Posterior median {bounds}", f"Published {bounds}", "R-hat", "ESS")
    note = (
        "Published: joint model of M-protein and PFS under isatuximab, CPT:PSP 2023; intervals from its standard "
        "errors. A dash: nothing published compares under this model."
    )
    if estimates.attrs["without_prior"]:
        note += f" Not shown, as the prior set has no entry for them: {', '.join(estimates.attrs['without_prior'])}."
    blocks: list[Block] = [
        Table("Population parameters beside the published estimates", columns, rows, note, numbers_from=2),
        picture(
            plot_parameters(estimates),
            name="parameters",
            caption="Prior (dashed), posterior (filled) and published estimate (diamond) of every population "
            "parameter.",
            alt="A panel per population parameter with the densities of prior and posterior and the published "
            "estimate "
            "with its interval; the numbers are in the table above.",
        ),
        _shrinkage_table(shrinkage),
    ]
    if effects is not None:
        blocks += _effects(effects)
    return Section("parameters", "Parameters", blocks)


def _shrinkage_table(shrinkage: xr.Dataset) -> Table:
    rows = [
        [str(name), f"{100 * float(shrinkage['shrinkage'].sel(parameter=name)):.0f}"]
        for name in shrinkage["parameter"].to_numpy()
    ]
    note = "0 %: each patient's own data fix the parameter; 100 %: they say nothing of it."
    return Table("Shrinkage of individual parameters", ("Parameter", "Shrinkage, %"), rows, note)


def _effects(effects: xr.Dataset) -> list[Block]:
    level = 100 * effects.attrs["level"]
    rows = []
    for label in effects["contrast"].to_numpy():
        one = effects.sel(contrast=label)
        rows.append(
            [
                str(label),
                with_span(*(float(one[name]) for name in ("median", "low", "high"))),
                with_span(*(float(one[name]) for name in ("published", "published_low", "published_high"))),
            ]
        )
    columns = ("Contrast", f"Ratio ({level:g} % interval)", f"Published ({level:g} % interval)")
    return [
        Table("Covariate effects as ratios of a parameter or of the hazard", columns, rows),
        picture(
            plot_covariate_effects(effects).figure,  # type: ignore[arg-type]
            name="covariates",
            caption="Covariate effects as ratios; 1 is no effect.",
            alt="A line per contrast with the ratio and its interval, beside the published one; the numbers are "
            "in the "
            "table above.",
        ),
    ]
