"""Individual fits, predictive checks, and what depends on the priors."""

from __future__ import annotations

import xarray as xr

from bayes_isa.plots.plot_individuals import plot_individuals
from bayes_isa.plots.plot_km_vpc import plot_km_vpc
from bayes_isa.plots.plot_prior_sensitivity import plot_prior_sensitivity
from bayes_isa.plots.plot_residuals import plot_residuals
from bayes_isa.plots.plot_vpc import plot_vpc
from bayes_isa.report.document import Block, Bullets, Section, Table, Text
from bayes_isa.report.images import picture
from bayes_isa.report.words import agreement, number


def individuals_section(fits: xr.Dataset, n_patients: int) -> Section:
    """Curves of some patients."""
    n = fits.sizes["patient"]
    which = (
        "All patients."
        if n == n_patients
        else f"{n} of {n_patients} patients, evenly spaced in the data set."
    )
    level = 100 * fits.attrs["level"]
    figure = picture(
        plot_individuals(fits),
        name="individuals",
        caption=f"Fitted M-protein of single patients: posterior median, {level:g} % bands, measurements.",
        alt="A panel per patient with measured M-protein in g/L on a log scale against weeks, the fitted curve "
        "with its "
        "bands, and a line at progression, death or censoring.",
    )
    return Section("individuals", "Individual fits", [Text(which), figure])


def checks_section(checks: dict[str, xr.Dataset]) -> Section:
    """Does the model simulate data like those seen? checks: "vpc", "vpc_arm", "km", "km_arm", "residuals"."""
    everyone, curves, residuals = (
        checks["vpc"].isel(stratum=0),
        checks["km"].isel(stratum=0),
        checks["residuals"],
    )
    verdicts = [
        agreement(float(everyone["p_value"].sel(statistic="m_protein")), "M-protein over time"),
        agreement(float(everyone["p_value"].sel(statistic="below_lloq")), "Share below the LLOQ"),
        agreement(float(curves["p_value"]), "PFS"),
        agreement(float(residuals["p_value"].sel(outcome="m_protein")), "Residuals of M-protein"),
        agreement(float(residuals["p_value"].sel(outcome="pfs")), "Residuals of PFS"),
    ]
    blocks: list[Block] = [
        Text(
            "The trial is simulated again from the posterior, with its own patients, visits, dropout and "
            "follow-up, and "
            "compared with what was observed. A small p-value says that the model would rarely produce such data."
        ),
        Bullets(verdicts),
        picture(
            plot_vpc(checks["vpc"]),
            name="vpc",
            caption="Visual predictive check of M-protein, all patients.",
            alt="Observed percentiles of M-protein over time on the bands of the simulated ones, and the share "
            "of values "
            "below the limit of quantification, observed and simulated.",
        ),
    ]
    if "vpc_arm" in checks:
        blocks += _by_arm(checks["vpc_arm"])
    km = checks.get("km_arm", checks["km"])
    blocks += [
        picture(
            plot_km_vpc(km),
            name="km",
            caption="Kaplan-Meier curves of PFS over those of replicates.",
            alt="Observed Kaplan-Meier curve of progression-free survival against weeks over the band of "
            "simulated ones, "
            "with the numbers at risk.",
        ),
        picture(
            plot_residuals(residuals),
            name="residuals",
            caption="Randomised quantile residuals of M-protein and PFS; standard normal if the model holds.",
            alt="Residuals against predicted M-protein and against time, and normal quantile plots of the "
            "residuals of "
            "M-protein and of PFS.",
        ),
    ]
    return Section("checks", "Is the model any good?", blocks)


def _by_arm(check: xr.Dataset) -> list[Block]:
    level = 100 * check.attrs["level"]
    return [
        picture(
            plot_vpc(check),
            name="vpcarm",
            caption=f"Visual predictive check of M-protein by arm, {level:g} % bands.",
            alt="As the figure before, a pair of panels for each arm.",
        )
    ]


def sensitivity_section(report: xr.Dataset) -> Section:
    """How much the posterior owes to the priors."""
    diagnosis = report["diagnosis"].to_numpy()
    conflicts = [str(n) for n in report["parameter"].to_numpy()[diagnosis == "potential prior-data conflict"]]
    strong = [str(n) for n in report["parameter"].to_numpy()[diagnosis == "strong prior or weak likelihood"]]
    said = []
    if conflicts:
        said.append(
            f"Both prior and data move the posterior of {', '.join(conflicts)}: the two may disagree there, and "
            "another prior would change these results."
        )
    if strong:
        said.append(f"The data say little of {', '.join(strong)}: what is reported rests on the prior.")
    if not said:
        said.append("No population parameter is sensitive to its prior beyond the threshold.")
    rows = [
        [
            str(name),
            number(float(one["prior"])),
            number(float(one["likelihood"])),
            f"{100 * float(one['contraction']):.0f}",
            str(one["diagnosis"].item()),
        ]
        for name, one in ((n, report.sel(parameter=n)) for n in report["parameter"].to_numpy())
    ]
    note = (
        f"Change of the posterior per halving or doubling of the power of priors or likelihood; above "
        f"{report.attrs['threshold']:g} counts as sensitive. Contraction: share of the prior variance that the "
        "data removed."
    )
    columns = ("Parameter", "To the prior", "To the data", "Contraction, %", "Verdict")
    return Section(
        "sensitivity",
        "Sensitivity to the priors",
        [
            Bullets(said),
            picture(
                plot_prior_sensitivity(report).figure,  # type: ignore[arg-type]
                name="sensitivity",
                caption="Power-scaling sensitivity to prior (filled) and data (open).",
                alt="A line per population parameter with its sensitivity to the prior and to the data; the "
                "numbers are "
                "in the table below.",
            ),
            Table("Sensitivity by parameter", columns, rows, note),
        ],
    )
