"""Kernels compiled once, by themselves, and called by name.

Numba puts what a function calls into the function's own code, level by level, and compiles it again at each: with the
kernels inside, a model's log density takes minutes. Called by name, as functions of the C library are, they stay out,
and their compiled code, on disk beside its source, serves every model and process.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

import llvmlite.binding as llvm
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.typing import Signature
from numba.extending import intrinsic, overload

NUMBER = types.float64
VECTOR = types.Array(types.float64, 1, "C")
MATRIX = types.Array(types.float64, 2, "C")
INTEGERS = types.Array(types.int64, 1, "C")
FLAGS = types.Array(types.boolean, 1, "C")

_kept: list[Any] = []  # what a name refers to must not be collected


def by_name(name: str, signature: Signature, function: Callable[..., None]) -> Callable[[tuple], None]:
    """What calls `function`, from compiled code and from Python, with all its arguments in one tuple.

    It is compiled for one signature and returns nothing. Arrays of the signature are C-contiguous; compiling a call
    checks that its own are. Two functions of one name would be one.
    """
    versioned = f"{name}_{kernel_version()}"
    function.__qualname__ = versioned  # numba's disk cache tells code apart by it
    compiled = njit(cache=True, nogil=True)(function)
    in_compiled_code = named(versioned, signature.args, compiled)

    def call(arguments: tuple) -> None:
        compiled(*arguments)

    overload(call)(lambda arguments: lambda arguments: in_compiled_code(arguments))
    return call


def named(name: str, arguments: tuple[types.Type, ...], compiled: Any) -> Any:
    """What calls a jitted function, compiled for arguments of these types, from other jitted ones: by name.

    It takes all arguments in one tuple.
    """
    code_of = compiled.py_func.__code__
    own, starred = arguments, bool(code_of.co_flags & inspect.CO_VARARGS)
    single = code_of.co_argcount  # those before its *arguments, if it has any
    if starred:
        own = (*arguments[:single], types.StarArgTuple.from_types(arguments[single:]))
    compiled.compile(own)
    overload_of = compiled.overloads[own]
    symbol, returned = f"bayes_isa_{name}", overload_of.signature.return_type
    address = overload_of.library.get_pointer_to_function(overload_of.fndesc.llvm_func_name)
    llvm.add_symbol(symbol, address)
    _kept.append(compiled)

    @intrinsic
    def call_symbol(typing_context: Any, given: Any) -> Any:
        _check(name, arguments, tuple(given))

        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            unpacked = cgutils.unpack_tuple(builder, values[0], len(arguments))
            converted = [
                value if isinstance(expected, types.Array) else context.cast(builder, value, found, expected)
                for value, found, expected in zip(unpacked, given, arguments, strict=True)
            ]
            if starred:
                rest = context.make_tuple(builder, own[-1], converted[single:])
                converted = [*converted[:single], rest]
            of_function = context.call_conv.get_function_type(returned, own)
            declared = cgutils.get_or_insert_function(builder.module, of_function, symbol)
            status, result = context.call_conv.call_function(builder, declared, returned, own, converted)
            with cgutils.if_unlikely(builder, status.is_error):
                context.call_conv.return_status_propagate(builder, status)
            return result

        return returned(given), code

    return call_symbol


def _check(name: str, expected: tuple[Any, ...], found: Any) -> None:
    """Raise TypingError unless arrays are as expected (they may be read-only) and numbers where numbers are."""
    same = len(expected) == len(found) and all(
        (e.dtype, e.ndim, e.layout) == (f.dtype, f.ndim, f.layout)
        if isinstance(e, types.Array) and isinstance(f, types.Array)
        else isinstance(e, types.Number) and isinstance(f, types.Number)
        for e, f in zip(expected, found, strict=True)
    )
    if not same:
        raise TypingError(f"{name} takes {expected}, found {tuple(found)}")


@cache
def kernel_version() -> int:
    """Changes with the kernel's sources, so that no disk cache ever serves code of an older kernel."""
    sources = sorted(
        (file.name, file.read_bytes())
        for folder in ("bayes_isa.kernels", "bayes_isa.model")
        for file in resources.files(folder).iterdir()
        if file.name.endswith(".py")
        and (
            folder.endswith("kernels")
            or file.name in ("op.py", "coordinates.py", "packing.py", "compiled.py")
        )
    )
    return zlib.crc32(repr(sources).encode())
