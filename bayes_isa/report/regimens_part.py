"""Comparison of regimens."""

from __future__ import annotations

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from bayes_isa.plots.plot_exposure import plot_exposure
from bayes_isa.plots.plot_pfs import plot_pfs
from bayes_isa.plots.plot_regimens import plot_regimens
from bayes_isa.plots.plot_response import plot_response
from bayes_isa.report.document import Block, Bullets, Section, Table, Text
from bayes_isa.report.images import picture
from bayes_isa.report.words import conclusions, interval_of
from bayes_isa.simulation.compare import QUANTITIES
from bayes_isa.simulation.trials import Sims

_TABLED = {
    "median_pfs": "Median PFS, weeks",
    "median_pfs_difference": "Gain, weeks",
    "hazard_ratio": "Hazard ratio",
    "probability_longer_median_pfs": "P(longer PFS)",
    "probability_hazard_ratio_below": "P(lower hazard)",
    "probability_best": "P(best)",
}
_RESPONSE = {
    "week8_change": "M-protein at week 8, %",
    "overall_response_rate": "PR or better, %",
    "vgpr_rate": "VGPR, %",
    "clinical_benefit_rate": "MR or better, %",
    "disease_control_rate": "SD or better, %",
}


def regimens_section(
    sims: Sims, table: pd.DataFrame, response: xr.Dataset, profiles: xr.Dataset | None, estimates: xr.Dataset
) -> Section:
    """PFS curves, medians, hazard ratios, probabilities of being better, and response rates."""
    root = sims.to_dataset() if isinstance(sims, xr.DataTree) else sims
    reference = table.attrs["reference"]
    n = int(table["n_trials"].iloc[0])
    blocks: list[Block] = [
        Text(
            f"{n} trials of {root.sizes['patient']} patients are simulated under each regimen for "
            f"{float(root.attrs['horizon_day']) / 7.0:.0f} weeks, each trial at one draw of the posterior, with "
            "the same "
            "patients and random numbers under all regimens. What differs between trials: "
            f"{root.attrs.get('vary', 'all')}. "
            f"Patients: {root.attrs.get('population', 'as given')}. Reference: {reference}."
        ),
        Bullets(conclusions(table)),
        picture(
            _figure(plot_pfs(sims)),
            name="pfs",
            caption="Progression-free survival by regimen: median over simulated trials and 90 % band.",
            alt="Probability of progression-free survival against weeks, a curve with a band per regimen; "
            "medians are in "
            "the table below.",
        ),
        _table("PFS by regimen: median over trials (5 % to 95 %)", table, _TABLED, _decision_note(table)),
        _table("Response by regimen: median over trials (5 % to 95 %)", table, _RESPONSE, _RESPONSE_NOTE),
        picture(
            plot_regimens(table),
            name="regimens",
            caption="The regimens side by side, medians and 90 % intervals over trials.",
            alt="A panel per quantity with a point and an interval per regimen; the numbers are in the tables "
            "above.",
        ),
        picture(
            plot_response(response),
            name="response",
            caption="Best response by serum M-protein, and the largest change of M-protein, patients sorted by it.",
            alt="Stacked bars with the share of patients in each category of best response by regimen, and "
            "curves of the "
            "largest change from baseline over patients.",
        ),
    ]
    if profiles is not None:
        blocks.append(
            picture(
                plot_exposure(profiles, estimates=estimates),
                name="exposure",
                caption="Concentrations under each regimen in the patients of the data.",
                alt="Isatuximab in mg/L on a log scale against weeks and dexamethasone in micromol/L against "
                "days, median "
                "and interval over patients, with the typical EC50.",
            )
        )
    return Section("regimens", "Which regimen?", blocks)


_RESPONSE_NOTE = (
    "By serum M-protein alone, confirmed at two consecutive visits: VGPR a fall of at least 90 %, PR 50 %, MR 25 "
    "%; "
    "patients without two visits beyond baseline count as failures."
)


def _decision_note(table: pd.DataFrame) -> str:
    margin, bound = table.attrs["margin_weeks"], table.attrs["hazard_ratio_below"]
    note = (
        f"P(longer PFS): median PFS longer than the reference's by more than {margin:g} weeks; P(lower hazard): "
        "hazard "
        f"ratio below {bound:g}; P(best): longest median PFS of all, in the next trial of this size."
    )
    left_out = [QUANTITIES[name] for name in table.attrs.get("left_out", [])]
    return f"{note} Beyond the horizon and left out: {', '.join(left_out)}." if left_out else note


def _table(caption: str, table: pd.DataFrame, headings: dict[str, str], note: str) -> Table:
    rows = [
        [regimen, *(interval_of(table, regimen, quantity) for quantity in headings)]
        for regimen in dict.fromkeys(map(str, table["regimen"]))
    ]
    return Table(caption, ("Regimen", *headings.values()), rows, note)


def _figure(ax: object) -> Figure:
    figure = ax.get_figure(root=True)  # type: ignore[attr-defined]
    assert isinstance(figure, Figure)
    return figure
