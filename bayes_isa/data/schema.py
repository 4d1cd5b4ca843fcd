"""What the four tables of a data set hold: columns, kinds, units."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["id", "text", "number", "flag"]


@dataclass(frozen=True, slots=True)
class Column:
    """One known column. `default` stands in for a blank cell; the user is told so."""

    name: str
    kind: Kind
    description: str
    required: bool = True  # the column must exist
    blank: bool = False  # its cells may be blank
    default: float | None = None


DRUGS = ("isatuximab", "dexamethasone")
DEFAULT_LLOQ = 0.5  # g/L, the limit of the serum protein electrophoresis of the isatuximab studies

PK_COLUMNS = ("pk_CLinf", "pk_CLm", "pk_KCL", "pk_g", "pk_Vc", "pk_Q", "pk_Vp", "pk_Vm", "pk_Km")
POSITIVE_COVARIATES = {
    "weight_kg": "body weight, kg",
    "age_years": "age, years",
    "albumin_g_per_l": "serum albumin, g/L",
    "albumin_uln_ratio": "serum albumin over its upper limit of normal",
    "alp_uln_ratio": "alkaline phosphatase over its upper limit of normal",
    "b2m_mg_per_l": "beta-2-microglobulin, mg/L",
    "prior_lines": "number of prior lines of therapy",
}
FLAG_COVARIATES = {
    "igg": "1: IgG myeloma",
    "lenalidomide_refractory": "1: refractory to lenalidomide",
    "plasmacytoma": "1: plasmacytoma at baseline",
    "japanese_study": "1: patient of the Japanese study",
    "female": "1: female",
    "asian": "1: Asian",
}
TEXT_COLUMNS = {"study": "name of the study", "arm": "name of the treatment arm"}

SCHEMA: dict[str, tuple[Column, ...]] = {
    "patients": (
        Column("id", "id", "patient"),
        *(Column(c, "text", d, required=False, blank=True) for c, d in TEXT_COLUMNS.items()),
        *(Column(c, "number", d, required=False, blank=True) for c, d in POSITIVE_COVARIATES.items()),
        *(Column(c, "flag", d, required=False, blank=True) for c, d in FLAG_COVARIATES.items()),
        *(Column(c, "number", "individual PK parameter", required=False, blank=True) for c in PK_COLUMNS),
    ),
    "doses": (
        Column("id", "id", "patient"),
        Column("drug", "text", " or ".join(DRUGS)),
        Column("day", "number", "start of the dose, days since the first dose"),
        Column("amount_mg", "number", "amount, mg"),
        Column("duration_h", "number", "duration of the infusion, h; 0 for an oral dose", blank=True),
    ),
    "mprotein": (
        Column("id", "id", "patient"),
        Column("day", "number", "days since the first dose"),
        Column("value_g_per_l", "number", "serum M-protein, g/L", blank=True),
        Column("lloq_g_per_l", "number", "its limit of quantification, g/L", False, True, DEFAULT_LLOQ),
        Column("below_lloq", "flag", "1: below the limit"),
    ),
    "pfs": (
        Column("id", "id", "patient"),
        Column("day", "number", "progression, death or censoring, days since the first dose", blank=True),
        Column("event", "flag", "1: progression or death, 0: censored"),
        Column("day_lower", "number", "last visit without progression, days", required=False, blank=True),
        Column(
            "day_upper", "number", "visit at which progression was seen, days", required=False, blank=True
        ),
        Column(
            "entry_day", "number", "start of observation, days; blank for day 0", required=False, blank=True
        ),
    ),
}


def nearest(name: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The candidate most like `name`, whatever its case; None when none is close."""
    by_key = {candidate.strip().lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.strip().lower(), by_key, n=1, cutoff=cutoff)
    return by_key[close[0]] if close else None
