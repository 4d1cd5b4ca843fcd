"""Parameter sets at which quadrature panels are made accurate: a spread that covers what data may say."""

from __future__ import annotations

import numpy as np
import scipy
from scipy.special import ndtri

from bayes_isa.kernels.panels import ReferenceParameters

# Published estimates and between-patient SDs of the log (CPT:PSP 2023), which also span related M-protein models. M0 is
# taken from the patient's own baseline: it is measured there with a residual error of 7 %, widened to 30 %. The SD of
# KD is widened from 0.87 and that of EC50 from 1.23: strong kill that sets in at once is what makes hazards sharp.
_MEAN = np.log([0.00531, 0.0396, 0.0192, 170.0])
_SD = np.array([0.947, 1.1, 1.13, 1.6])
_SD_BASELINE = 0.3
# From concentrations to dose rates, L/day: clearance of isatuximab at steady state, 0.00955 L/h (Fau et al. 2020).
_CLEARANCE = 0.229
# SD of beta_link around 0, a third more than the weakly informative prior's: no sign is assumed there, and at a
# negative sign the hazard peaks for hours after each dose instead of vanishing.
_LINK = {"slope": 12.0, "value": 0.07, "log_value": 1.3, "relative_slope": 130.0, "none": 0.0}
# k: published 5.47, doubled or halved within 2 SD. Te, s: published, at several times their standard errors.
_SHARED_MEAN = np.log([5.47, 272.0, 1.56])
_SHARED_SD = np.array([0.35, 0.5, 0.25])
# A power of 2 keeps the Sobol sequence balanced. Of 1269 plausible sets drawn from the prior two missed the default
# tolerance (3e-3, 1.5e-3), in corners that 512 sets miss as well; 64 sets miss several times as many.
_SETS = 128
# Undisturbed growth up to the end of follow-up, on the log scale: tenfold, from a median baseline of 25 g/L to three
# times the highest M-protein published (84 g/L).
_MOST_GROWTH = np.log(10.0)


def reference_parameters(
    baseline: np.ndarray, link: str, *, exposure: str = "pk", last_day: np.ndarray | None = None
) -> ReferenceParameters:
    """Quasi-random sets around the published model; `baseline` (n_patients,) is observed M-protein in g/L.

    With `last_day` (n_patients,), growth is kept to what a patient can have lived with up to then: curves that explode
    have no posterior weight, yet would take most of the panels.
    """
    uniform = scipy.stats.qmc.Sobol(9, seed=20230).random(_SETS)
    z = ndtri(np.clip(uniform, 0.005, 0.995))
    phi = np.empty((_SETS, baseline.size, 5))
    phi[:, :, 0] = np.log(baseline) + _SD_BASELINE * z[:, :1]
    phi[:, :, 1:] = (_MEAN + _SD * z[:, 1:5])[:, None, :]
    if exposure == "kpd":
        phi[:, :, 4] += np.log(_CLEARANCE)
    if last_day is not None:
        phi[:, :, 1] = np.minimum(phi[:, :, 1], np.log(_MOST_GROWTH / last_day))
    if exposure == "constant":
        phi[:, :, 4] = -np.inf
    k, te, s = np.exp(_SHARED_MEAN + _SHARED_SD * z[:, 5:8]).T
    return ReferenceParameters(phi, k, _LINK[link] * z[:, 8], te, s)
