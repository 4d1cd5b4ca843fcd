"""What a calibration ranks: every population parameter, one patient's own, and quantities that hang on all of them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import xarray as xr

from bayes_isa.kernels.evaluate import Parameters, evaluate_terms
from bayes_isa.kernels.hazard import make_shape
from bayes_isa.kernels.panels import Panels, build_panels
from bayes_isa.kernels.timeline import Timeline
from bayes_isa.kernels.trajectory import INDIVIDUAL
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.likelihood import evaluate_log_likelihood
from bayes_isa.model.reference import reference_parameters

# Plasma levels that the doses of the two studies span, held for 8 weeks, when the first response is judged.
_CONCENTRATIONS = (300.0, 100.0)  # mg/L
_DAY = 56.0
_TYPICAL_BASELINE = 27.0  # g/L, published; only for the choice of panels
LOG_LIKELIHOODS = ("log_likelihood", "log_likelihood_m_protein", "log_likelihood_pfs")
HAZARD_RATIO = "log_hazard_ratio"


class Quantities:
    """From draws (sample, ...) to the ranked quantities, each (sample,)."""

    def of(self, data: JointData, draws: xr.Dataset) -> dict[str, np.ndarray]:
        """Population parameters by name ("KL_pop", "beta_M0[log_albumin]"), "phi[0, KL]" ... of the first patient,
        the log-likelihood of the data at the individual parameters, whole and of either outcome, and the log hazard
        ratio at day 56 of a typical patient held at 300 against 100 mg/L isatuximab."""
        found = _population(draws)
        own = draws["phi"].transpose("sample", "patient", "parameter").to_numpy()[:, 0]
        found |= {f"phi[0, {name}]": own[:, column] for column, name in enumerate(INDIVIDUAL)}
        terms = evaluate_log_likelihood(data, draws)
        parts = terms["m_protein"].sum("measurement"), terms["pfs"].sum("patient")
        likelihoods = (parts[0] + parts[1], *parts)
        found |= dict(zip(LOG_LIKELIHOODS, (term.to_numpy() for term in likelihoods), strict=True))
        return found | {HAZARD_RATIO: self._log_hazard_ratio(data, draws)}

    def _log_hazard_ratio(self, data: JointData, draws: xr.Dataset) -> np.ndarray:
        typical = np.log(np.column_stack([draws[f"{name}_pop"].to_numpy() for name in INDIVIDUAL]))
        ratios = np.empty(len(typical))
        for number, row in enumerate(typical):
            one = draws.isel(sample=number)
            shared = (float(one[name]) for name in ("beta_link", "Te", "s"))
            parameters = Parameters(np.tile(row, (2, 1)), 0.0, np.zeros(2), *shared)
            high, low = evaluate_terms(self._panels, data.shape, parameters).log_event
            ratios[number] = high - low
        return ratios

    @cached_property
    def _panels(self) -> Panels:
        """Two patients without measurements, each at one concentration up to the day."""
        concentration, day = np.array(_CONCENTRATIONS), np.full(2, _DAY)
        none = np.zeros(3, dtype=np.int64)
        timeline = Timeline(none, np.empty(0), none, np.empty(0), day)

        def exposure(patient: np.ndarray, when: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return concentration[patient], np.zeros(when.shape)

        baseline = np.full(2, _TYPICAL_BASELINE)
        reference = reference_parameters(baseline, "slope", last_day=day)
        return build_panels(timeline, exposure, make_shape("slope", "loglogistic", "emax"), reference)


def _population(draws: xr.Dataset) -> dict[str, np.ndarray]:
    """Every variable without a patient: scalars, and covariate effects one by one."""
    found = {}
    for name, values in draws.data_vars.items():
        others = [d for d in values.dims if d != "sample"]
        if not others:
            found[str(name)] = values.to_numpy()
        elif str(name).startswith("beta_"):
            for label in draws[others[0]].to_numpy():
                found[f"{name}[{label}]"] = values.sel({others[0]: label}).to_numpy()
    return found
