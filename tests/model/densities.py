"""A density of phi made up for a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class MadeUp:
    """Log-densities (set, patient) of some patients by a function of all patients' phi (set, patient, d), level."""

    function: Callable[[np.ndarray], np.ndarray]
    everyone: int
    patients: np.ndarray

    @classmethod
    def of_all(cls, function: Callable[[np.ndarray], np.ndarray], n_patients: int) -> MadeUp:
        return cls(function, n_patients, np.arange(n_patients))

    def __call__(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        padded = np.full((len(phi), self.everyone, phi.shape[2]), np.nan)
        padded[:, self.patients] = phi
        return self.function(padded)[:, self.patients], np.zeros_like(phi)

    def of(self, patients: np.ndarray) -> MadeUp:
        return replace(self, patients=self.patients[patients])
