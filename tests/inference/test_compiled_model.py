"""The sampler gets the functions that nutpie would compile for itself, and its own where it is built otherwise."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import numpy as np
import nutpie
import pymc as pm
import pytest

from bayes_isa.inference.compiled_model import compiled_model

from .toy import toy_model

_INTEGER, _POINTER = ctypes.c_uint64, ctypes.c_void_p


def model_with_data() -> pm.Model:
    model = toy_model()
    with model:
        weight = pm.Data("weight", np.linspace(0.5, 1.5, 12).reshape(4, 3))
        count = pm.Data("count", np.arange(3))
        pm.Normal("z", pm.math.dot(weight, count) * model["mu"], model["omega"], observed=np.ones(4))
    return model


def density(compiled: Any, x: np.ndarray, size: int | None = None) -> tuple[int, float, np.ndarray]:
    """Code, value and gradient of the C function that the sampler calls."""
    function = ctypes.CFUNCTYPE(ctypes.c_int64, _INTEGER, *[_POINTER] * 4)(
        compiled.compiled_logp_func.address
    )
    value, gradient = np.empty(1), np.empty(x.size)
    pointers = [array.ctypes.data for array in (x, gradient, value, compiled.user_data)]
    return function(size or x.size, *pointers), float(value[0]), gradient


def expanded(compiled: Any, x: np.ndarray) -> tuple[int, np.ndarray]:
    function = ctypes.CFUNCTYPE(ctypes.c_int64, _INTEGER, _INTEGER, *[_POINTER] * 3)(
        compiled.compiled_expand_func.address
    )
    out = np.empty(compiled.n_expanded)
    pointers = [array.ctypes.data for array in (x, out, compiled.user_data)]
    return function(x.size, out.size, *pointers), out


@pytest.fixture(scope="module")
def both() -> tuple[Any, Any]:
    """Compiled our way and nutpie's."""
    model = model_with_data()
    return compiled_model(model), nutpie.compile_pymc_model(model)


def test_same_functions_as_nutpies_own(both: tuple[Any, Any]) -> None:
    ours, theirs = both
    assert ours.shapes == theirs.shapes
    assert ours.dims == theirs.dims
    for name, index in theirs.coords.items():
        assert ours.coords[name].equals(index)
    rng = np.random.default_rng(1)
    for _ in range(5):
        x = rng.normal(size=ours.n_dim)
        (code, value, gradient), (their_code, their_value, their_gradient) = (
            density(ours, x),
            density(theirs, x),
        )
        assert code == their_code == 0
        # nutpie's operations in place add in another order.
        np.testing.assert_allclose([value, *gradient], [their_value, *their_gradient], rtol=1e-12)
        (code, found), (their_code, their_found) = expanded(ours, x), expanded(theirs, x)
        assert code == their_code == 0
        np.testing.assert_allclose(found, their_found, rtol=1e-12)


def test_what_is_no_number_and_what_does_not_fit_is_told_to_the_sampler(both: tuple[Any, Any]) -> None:
    ours, theirs = both
    x = np.full(ours.n_dim, np.nan)
    assert density(ours, x)[0] == density(theirs, x)[0] != 0
    assert density(ours, x, size=3)[0] != 0


def test_a_nutpie_built_otherwise_compiles_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("nutpie.compile_pymc._prepare_dims_and_coords")
    chosen = object()
    monkeypatch.setattr(nutpie, "compile_pymc_model", lambda model, **_: chosen)
    assert compiled_model(toy_model()) is chosen


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_afterwards_as_before(enabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def compiled(*_: Any, **__: Any) -> None:
        seen.append(gc.isenabled())
        raise RuntimeError("no code")

    monkeypatch.setattr("bayes_isa.inference.compiled_model._compiled", compiled)
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(RuntimeError, match="no code"):
            compiled_model(toy_model())
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()
    assert seen == [False]
