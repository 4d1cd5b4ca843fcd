"""Exponential that the compiler can vectorise.

Numba's `math.exp` is a call per number, so a loop around it stays scalar. Here exp(x) = 2^n exp(r) with |r| <= ln(2)/2:
exp(r) is a polynomial in plain arithmetic, of degree 11 with the least relative error (3e-18, Remez algorithm), and 2^n
is written straight into the exponent bits, which LLVM turns into vector instructions. Relative error below 1e-15; above
8.9e307 (half the largest double) the result is inf, below the smallest normal number (2.2e-308) it is 0, and NaN stays
NaN.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# No "nnan" or "ninf": a NaN or an infinity must reach the caller. "reassoc" lets sums run in vector lanes.
FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
# Functions that compiled code calls are put into their callers whole. Each caller would have a copy otherwise, rounded
# in its own way because "contract" leaves a choice, and the copy that was loaded first would serve them all: a fit
# depended on what had run before it. It also makes the kernel a quarter faster.
ENTRY = {"fastmath": FASTMATH, "error_model": "numpy", "forceinline": True}
# Of functions that the kernel's own call. What they are given outlives them, so that they need not count references to
# arrays, for each slice of a patient's, which took a tenth of the kernel's time; they cannot make arrays.
INNER = {**ENTRY, "_nrt": False}

_LOG2_E = 1.0 / math.log(2.0)
# ln 2 split so that n * _LN2_HIGH is exact for |n| < 2^11 (Cody and Waite 1980).
_LN2_HIGH = float.fromhex("0x1.62e42feep-1")
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_OVERFLOW = 709.0895  # the largest x whose 2^n, n = 1023, is a double of its own
_UNDERFLOW = -708.3964185322641
# Coefficients of r^2 to r^11 for |r| <= ln(2)/2; those of 1 and r are 1.
_C2 = float.fromhex("0x1.0000000000010p-1")
_C3 = float.fromhex("0x1.55555555554a2p-3")
_C4 = float.fromhex("0x1.555555554f370p-5")
_C5 = float.fromhex("0x1.1111111130dcbp-7")
_C6 = float.fromhex("0x1.6c16c187810bap-10")
_C7 = float.fromhex("0x1.a01a01105aaf3p-13")
_C8 = float.fromhex("0x1.a01992d10d30dp-16")
_C9 = float.fromhex("0x1.71df4518f4c68p-19")
_C10 = float.fromhex("0x1.28b311bbbc159p-22")
_C11 = float.fromhex("0x1.ad6628b91ae21p-26")
# 1.5 * 2^52: adding it leaves an integer-valued double's integer in the low mantissa bits.
_SHIFT = 6755399441055744.0


@intrinsic
def _round(typingctx: Any, x: Any) -> Any:
    """Nearest integer as a double, by the vectorisable LLVM intrinsic."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        double = ir.DoubleType()
        function = builder.module.declare_intrinsic("llvm.rint", [double])
        return builder.call(function, args)

    return types.float64(types.float64), codegen


@intrinsic
def _power_of_two(typingctx: Any, n: Any) -> Any:
    """2^n for an integer-valued double n in [-1022, 1023]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = ir.IntType(64)
        shifted = builder.fadd(args[0], ir.Constant(ir.DoubleType(), _SHIFT))
        exponent = builder.shl(builder.bitcast(shifted, bits), ir.Constant(bits, 52))
        return builder.bitcast(builder.add(exponent, ir.Constant(bits, 1023 << 52)), ir.DoubleType())

    return types.float64(types.float64), codegen


# Not "reassoc" here: it would join the two halves of ln 2 that are kept apart on purpose.
@njit(fastmath={"contract"}, forceinline=True)
def exp(x: float) -> float:
    """exp(x), element-wise vectorisable."""
    # Beyond the bounds this computes nonsense, which the last line replaces: cheaper in vectors than bounding x first.
    n = _round(x * _LOG2_E)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = _C11 * r + _C10
    p = p * r + _C9
    p = p * r + _C8
    p = p * r + _C7
    p = p * r + _C6
    p = p * r + _C5
    p = p * r + _C4
    p = p * r + _C3
    p = p * r + _C2
    p = p * r + 1.0
    p = p * r + 1.0
    value = p * _power_of_two(n)
    return math.inf if x > _OVERFLOW else (0.0 if x < _UNDERFLOW else value)
