"""A model compiled for nutpie, in seconds where nutpie's own way takes tens of them.

nutpie compiles a function around the model's log density that takes the model's data from pointers, and with it, once
more, the density itself, whose compiled code is on disk. Here that function is small: the data's addresses are in it
and the density is called by name.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import numpy as np
import pymc as pm
import pytensor
from numba import carray, cfunc, from_dtype, types
from numba.core.errors import NumbaWarning
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array
from pymc.initial_point import make_initial_point_fn
from pytensor.compile.mode import Mode, get_mode
from pytensor.graph.rewriting.db import RewriteDatabaseQuery

from bayes_isa.inference.deferred import deferred
from bayes_isa.inference.starts import initial_points
from bayes_isa.model.compiled import VECTOR, named

_REFUSED, _GRADIENT_NOT_FINITE, _DENSITY_NOT_FINITE = 1, 3, 4  # nutpie's codes
_FAILED = -2

_NUMBERS = types.CPointer(types.float64)
_DENSITY = types.int64(types.uint64, _NUMBERS, _NUMBERS, _NUMBERS, types.voidptr)
_EXPAND = types.int64(types.uint64, types.uint64, _NUMBERS, _NUMBERS, types.voidptr)


def compiled_model(model: pm.Model) -> Any:
    """`model` compiled for `nutpie.sample`, its chains starting scattered around the model's own starting values."""
    starts = initial_points(model)
    # Free to contract and reorder, the compiler rounds in one way what it compiles now and in another what it loads
    # later: a seed would give other draws in the first run than in all others. What is not in kernels costs little.
    # No traceback: where in the code a node of the graph was made, nobody asks here.
    with pytensor.config.change_flags(numba__fastmath=False, traceback__limit=0), _without_collecting():
        # To import ArviZ, and matplotlib with it, takes a seventh of the time until chains start. nutpie needs them
        # for finished draws alone, so they come when chains are under way (`chains`).
        with deferred("arviz"):
            import nutpie

        try:
            return _compiled(model, **starts)
        except (AttributeError, ImportError, TypeError):  # a nutpie built otherwise
            return nutpie.compile_pymc_model(model, backend="numba", **starts)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Python looks for no garbage: among a graph's hundreds of thousands of objects that takes a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _compiled(model: pm.Model, initial_points: Any, jitter_rvs: Any) -> Any:
    """As `nutpie.compile_pymc_model`, from the same parts."""
    from nutpie import compile_pymc as parts

    starts = make_initial_point_fn(
        model=model,
        overrides=initial_points,
        default_strategy="support_point",
        jitter_rvs=jitter_rvs,
        return_transformed=True,
    )
    n_dim, n_expanded, density, expand, start, shapes, transformed = parts._make_functions(
        model,
        mode=_mode(model.check_bounds),
        compute_grad=True,
        join_expanded=True,
        pymc_initial_point_fn=parts._wrap_with_lock(starts),
    )
    data = {
        variable: np.array(variable.get_value(), order="C", copy=True)
        for function in (density, expand)
        for variable in function.get_shared()
    }
    keys = {variable: uuid4().hex for variable in data}
    by_key = {keys[variable]: array for variable, array in data.items()}
    dims, coords = parts._prepare_dims_and_coords(model, shapes, transformed)
    return parts.CompiledPyMCModel(
        _n_dim=n_dim,
        dims=dims,
        _coords=coords,
        _shapes={name: tuple(shape) for name, _, shape in zip(*shapes, strict=True)},
        compiled_logp_func=_density(density.vm.jit_fn, [data[v] for v in density.get_shared()], n_dim),
        compiled_expand_func=_expansion(
            expand.vm.jit_fn, [data[v] for v in expand.get_shared()], n_dim, n_expanded
        ),
        initial_point_func=start,
        shared_data=by_key,
        shared_var_keys=keys,
        user_data=parts.make_user_data(keys, by_key),
        n_expanded=n_expanded,
        shape_info=shapes,
        logp_func=density,
        expand_func=expand,
        reparameterized_names=transformed,
    )


def _mode(check_bounds: bool) -> Mode:
    """PyTensor's numba mode with what takes most of rewriting's time left out.

    The density is canonical before its gradient is taken, so that of the canonical forms only PyMC's own is wanted
    again: a parameter out of its bounds makes a density of -inf, not an error. Scalars and short vectors gain nothing
    by being worked on in place.
    """
    mode = get_mode("NUMBA").excluding("inplace")
    every = mode.provided_optimizer
    of_bounds = "local_check_parameter_to_ninf_switch" if check_bounds else "local_remove_check_parameter"
    canonical = {"canonicalize": RewriteDatabaseQuery(include=[of_bounds])}
    wanted = RewriteDatabaseQuery(
        every.include, every.require, every.exclude, {**every.subquery, **canonical}
    )
    return Mode(linker=mode.linker, optimizer=wanted)


def _density(function: Any, arrays: list[np.ndarray], n_dim: int) -> Any:
    """The C function (dim, x, gradient, value, user data) -> code."""
    call, with_data = _on_data(function, arrays)

    def log_density(dim, x, gradient, value, _):
        if dim != n_dim:
            return _REFUSED
        try:
            found, by_x = call(with_data(carray(x, (n_dim,))))
        except Exception:
            return _REFUSED
        value[0] = found.item()
        finite = True
        for i in range(n_dim):
            gradient[i] = by_x[i]
            finite &= np.isfinite(by_x[i])
        if not finite:
            return _GRADIENT_NOT_FINITE
        return 0 if np.isfinite(value[0]) else _DENSITY_NOT_FINITE

    return _c_function(_DENSITY, log_density)


def _expansion(function: Any, arrays: list[np.ndarray], n_dim: int, n_expanded: int) -> Any:
    """The C function (dim, expanded dim, x, expanded, user data) -> code."""
    call, with_data = _on_data(function, arrays)

    def expansion(dim, expanded_dim, x, expanded, _):
        if dim != n_dim or expanded_dim != n_expanded:
            return _FAILED
        try:
            (found,) = call(with_data(carray(x, (n_dim,))))
        except Exception:
            return _FAILED
        for i in range(n_expanded):
            expanded[i] = found[i]
        return 0

    return _c_function(_EXPAND, expansion)


def _c_function(signature: Any, function: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumbaWarning)
        return cfunc(signature)(function)


def _on_data(function: Any, arrays: list[np.ndarray]) -> tuple[Any, Any]:
    """What calls the jitted function of a vector and these arrays, and what makes its arguments from the vector."""
    found = [types.Array(from_dtype(array.dtype), array.ndim, "C") for array in arrays]
    call = named(f"model_{uuid4().hex}", (VECTOR, *found), function)

    @intrinsic
    def with_data(typing_context: Any, x: Any) -> Any:
        as_tuple = types.Tuple((x, *found))

        def code(context: Any, builder: Any, own: Any, values: Any) -> Any:
            made = [values[0]]
            for array, of_type in zip(arrays, found, strict=True):
                view = make_array(of_type)(context, builder)
                address = context.get_constant(types.uintp, array.ctypes.data)
                populate_array(
                    view,
                    data=builder.inttoptr(address, view.data.type),
                    shape=[context.get_constant(types.intp, size) for size in array.shape],
                    strides=[context.get_constant(types.intp, step) for step in array.strides],
                    itemsize=context.get_constant(types.intp, array.itemsize),
                    meminfo=None,
                )
                made.append(view._getvalue())
            return impl_ret_borrowed(context, builder, as_tuple, context.make_tuple(builder, as_tuple, made))

        return as_tuple(x), code

    return call, with_data
