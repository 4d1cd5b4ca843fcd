"""How a posterior is sampled."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from bayes_isa.errors import ModelError

# Above the usual 0.8, at which a gradient yields as many effective draws, but a draw fewer (21 instead of 31 gradients
# with the built-in trial): data that say little about each patient then miss the ESS that `diagnose` asks for.
TARGET_ACCEPT = 0.9
# The patients of the built-in trial. With as many, steps are short enough there not to run into the walls of patients'
# posteriors, which stand as near in a smaller trial.
_PATIENTS = 201
SAMPLERS = ("nutpie", "pymc")


@dataclass(frozen=True)
class SamplerSettings:
    """What `fit` is told about sampling; raises ModelError for settings that make no sense, naming all of them.

    draws, tune: kept and thrown away, per chain. seed None: one is drawn. target_accept None: see
    `default_target_accept`. cores None: all.
    options: further arguments of `nutpie.sample` or `pymc.sample`.
    """

    draws: int = 1000
    tune: int = 500
    chains: int = 4
    seed: int | None = None
    sampler: Literal["nutpie", "pymc"] = "nutpie"
    target_accept: float | None = None
    cores: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong = [
            f"{name}: expected a whole number of at least 1, found {value!r}"
            for name, value in (("draws", self.draws), ("tune", self.tune), ("chains", self.chains))
            if int(value) != value or value < 1
        ]
        if self.target_accept is not None and not 0.0 < self.target_accept < 1.0:
            wrong.append(f"target_accept: expected a number between 0 and 1, found {self.target_accept!r}")
        if self.sampler not in SAMPLERS:
            wrong.append(f"sampler: expected 'nutpie' or 'pymc', found {self.sampler!r}")
        if wrong:
            raise ModelError("; ".join(wrong))

    def for_patients(self, n_patients: int | None) -> SamplerSettings:
        """With a seed, drawn if there is none, and the target_accept of a trial of so many patients, if none is given.

        None: of a model that is not one of a trial.
        """
        drawn = int(np.random.SeedSequence().generate_state(1)[0]) if self.seed is None else int(self.seed)
        accept = default_target_accept(n_patients) if self.target_accept is None else self.target_accept
        return replace(self, seed=drawn, target_accept=accept)

    def attrs(self) -> dict[str, Any]:
        """What a fit carries of them: all but the cores, which change no draw."""
        return {
            "seed": self.seed,
            "sampler": self.sampler,
            "draws": self.draws,
            "tune": self.tune,
            "chains": self.chains,
            "target_accept": self.target_accept,
            "options": json.dumps(dict(self.options), default=str),
        }


def default_target_accept(n_patients: int | None) -> float:
    """0.9, and more for fewer than 201 patients: what steps as long as theirs are accepted with.

    The error of the energy adds up over patients: at one step length, 1 minus the mean acceptance goes with the root of
    their number (Beskos et al. 2013, doi:10.3150/12-BEJ414). At 0.9 throughout, steps grow as trials get smaller.
    """
    share = 1.0 if n_patients is None else min(n_patients / _PATIENTS, 1.0)
    return round(1.0 - (1.0 - TARGET_ACCEPT) * math.sqrt(share), 3)
