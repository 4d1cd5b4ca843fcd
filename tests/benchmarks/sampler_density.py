"""Log density and gradient of a PyMC model through the very function that nutpie's chains call."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
import pymc as pm

from bayes_isa.inference.compiled_model import compiled_model

_DOUBLES = ctypes.POINTER(ctypes.c_double)


class SamplerDensity:
    """A model compiled for nutpie: log density over unconstrained parameters, Jacobian included, and its gradient.

    `compiled`: what `compiled_model` made of the model, to save doing it again.
    """

    def __init__(self, model: pm.Model, compiled: Any = None) -> None:
        self._compiled = compiled or compiled_model(model)
        self._shapes = {name: np.shape(value) for name, value in model.initial_point().items()}
        self._order = [variable.name for variable in model.value_vars]
        self._gradient = np.empty(self._compiled.n_dim)

    def __call__(self, at: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density and gradient at `at` (n_unconstrained,); the gradient's buffer is reused.

        Raises ValueError where the model's function reports an error.
        """
        value = ctypes.c_double()
        failed = self._compiled.compiled_logp_func.ctypes(
            at.size,
            at.ctypes.data_as(_DOUBLES),
            self._gradient.ctypes.data_as(_DOUBLES),
            ctypes.byref(value),
            ctypes.c_void_p(self._compiled.user_data.ctypes.data),
        )
        if failed:
            raise ValueError(f"the log density's function returned {failed}")
        return value.value, self._gradient

    def flat(self, point: Mapping[str, Any]) -> np.ndarray:
        """A PyMC point as one vector."""
        return np.concatenate([np.ravel(point[name]) for name in self._order])

    def by_name(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """The inverse of `flat`: for points and gradients alike."""
        sizes = [int(np.prod(self._shapes[name])) for name in self._order]
        parts = np.split(vector, np.cumsum(sizes)[:-1])
        return {name: part.reshape(self._shapes[name]) for name, part in zip(self._order, parts, strict=True)}
