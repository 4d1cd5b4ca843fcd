"""How a posterior is sampled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from bayes_isa.errors import ModelError

# Above the usual 0.8, at which a gradient yields as many effective draws, but a draw fewer (21 instead of 31 gradients
# with the built-in trial): data that say little about each patient then miss the ESS that `diagnose` asks for.
TARGET_ACCEPT = 0.9
SAMPLERS = ("nutpie", "pymc")


@dataclass(frozen=True)
class SamplerSettings:
    """What `fit` is told about sampling; raises ModelError for settings that make no sense, naming all of them.

    draws, tune: kept and thrown away, per chain. seed None: one is drawn. cores None: all.
    options: further arguments of `nutpie.sample` or `pymc.sample`.
    """

    draws: int = 1000
    tune: int = 500
    chains: int = 4
    seed: int | None = None
    sampler: Literal["nutpie", "pymc"] = "nutpie"
    target_accept: float = TARGET_ACCEPT
    cores: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong = [
            f"{name}: expected a whole number of at least 1, found {value!r}"
            for name, value in (("draws", self.draws), ("tune", self.tune), ("chains", self.chains))
            if int(value) != value or value < 1
        ]
        if not 0.0 < self.target_accept < 1.0:
            wrong.append(f"target_accept: expected a number between 0 and 1, found {self.target_accept!r}")
        if self.sampler not in SAMPLERS:
            wrong.append(f"sampler: expected 'nutpie' or 'pymc', found {self.sampler!r}")
        if wrong:
            raise ModelError("; ".join(wrong))

    def with_seed(self) -> SamplerSettings:
        """The same settings with a seed, drawn if there is none."""
        drawn = int(np.random.SeedSequence().generate_state(1)[0]) if self.seed is None else int(self.seed)
        return replace(self, seed=drawn)

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
