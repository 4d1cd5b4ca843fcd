"""What comes first and last: the summary, the limits, and how the report came about."""

from __future__ import annotations

from collections.abc import Mapping

from bayes_isa.model.spec import ModelSpec
from bayes_isa.report.document import Block, Bullets, Section, Table, Text

_SETTINGS = {
    "sampler": "Sampler",
    "chains": "Chains",
    "draws": "Draws kept per chain",
    "tune": "Warm-up draws per chain",
    "target_accept": "Target acceptance",
    "seed": "Seed of the fit",
}
_VERSIONED = ("bayes_isa", "pymc", "pytensor", "nutpie", "numba", "numpy", "xarray", "arviz")


def summary_section(verdict: str, ok: bool, sentences: list[str], doubts: list[str]) -> Section:
    """The answer in a few sentences."""
    blocks: list[Block] = [Text(verdict, kind="good" if ok else "bad"), Bullets(sentences)]
    if doubts:
        blocks += [Text("Keep in mind:"), Bullets(doubts)]
    return Section("summary", "In brief", blocks)


def limits_section(spec: ModelSpec, *, simulated: bool) -> Section:
    """What the results do not say."""
    limits = [
        "Serum M-protein alone: complete response needs immunofixation and marrow and counts as VGPR here; "
        "light-chain "
        "and extramedullary disease are not seen.",
        "The effect of a regimen is that of its concentrations under this model. Toxicity, adherence and the "
        "choice of "
        "doses by physicians are not modelled.",
        "PFS times are taken as stated in the data: exact, or right-censored. Progression found at a visit "
        "counts as "
        "having happened on its day, unless the data give an interval.",
    ]
    if spec.exposure == "pk":
        limits.append(
            "Isatuximab concentrations come from individual or typical pharmacokinetic parameters taken as "
            "known; their "
            "uncertainty is not carried through."
        )
    if spec.exposure != "constant":
        limits.append(
            "The constants of dexamethasone's kinetics are not part of the publication; those of other studies "
            "are used "
            "(CL/F 9.29 L/h, V/F 51.3 L)."
        )
    if spec.exposure == "kpd":
        limits.append(
            "Isatuximab's effect follows its doses alone (K-PD), with one half-life for all patients: faster clearance "
            "of the drug shows as a higher EC50."
        )
    if spec.exposure == "constant":
        limits.append(
            "Exposure is constant while on treatment: doses of isatuximab make no difference in this model."
        )
    if simulated:
        limits.append(
            "In simulated trials nobody stops treatment before progression or the horizon, and visits are on "
            "schedule."
        )
        limits.append(
            "A regimen unlike any in the data is an extrapolation along the concentration-effect curve; its "
            "interval holds "
            "the uncertainty of that curve's parameters, not of its form."
        )
    return Section("limits", "Limits", [Bullets(limits)])


def origin_section(attrs: Mapping[str, object], seed: int, sims: Mapping[str, object] | None) -> Section:
    """Versions, seeds and settings."""
    rows = [[text, str(attrs[name])] for name, text in _SETTINGS.items() if name in attrs]
    if sims is not None and "seed" in sims:
        rows.append(["Seed of the simulated trials", str(sims["seed"])])
    rows.append(["Seed of the checks in this report", str(seed)])
    rows += [[name, str(attrs[name])] for name in _VERSIONED if name in attrs]
    note = "The same data, seeds and versions give the same numbers."
    return Section("origin", "Versions and seeds", [Table("How it was made", ("What", "Value"), rows, note)])
