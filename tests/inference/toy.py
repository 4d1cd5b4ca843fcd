"""A hierarchical model that samples in a moment; run as a script, it is fitted into a store."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pymc as pm

SETTINGS = {"tune": 100, "chains": 2, "seed": 3, "progressbar": False}
PATIENTS = 100


def toy_model(shift: float = 0.0) -> pm.Model:
    """Means `phi` of patients around `mu` with SD `omega`, which has a transform; data moved by `shift`."""
    data = shift + np.random.default_rng(1).normal(1.0, 1.5, size=(PATIENTS, 2))
    coords = {"patient": [f"P{i}" for i in range(PATIENTS)], "parameter": ["a", "b"]}
    with pm.Model(coords=coords) as model:
        mu = pm.Normal("mu", 0.0, 5.0)
        omega = pm.LogNormal("omega", 0.0, 0.5)
        phi = pm.Normal("phi", mu, omega, dims=("patient", "parameter"))
        pm.Deterministic("twice", 2.0 * mu)
        pm.Normal("y", phi, 1.0, observed=data, dims=("patient", "parameter"))
    return model


if __name__ == "__main__":
    from bayes_isa.inference.fit import fit

    warnings.simplefilter("ignore")
    fit(toy_model(), draws=int(sys.argv[2]), store=sys.argv[1], **SETTINGS)
