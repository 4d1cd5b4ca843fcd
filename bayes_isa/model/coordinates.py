"""Response coordinates as a PyMC transform of `phi`: the model stays textbook, the sampler sees whitened eps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from numba import njit, types
from pymc.logprob.transforms import Transform
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key

from bayes_isa.kernels.response import Window
from bayes_isa.kernels.whitening import (
    Whitening,
    halfway_in,
    halfway_numbers,
    unwhiten_halfway,
    unwhiten_pullback,
    whiten,
)
from bayes_isa.model.compiled import MATRIX, NUMBER, VECTOR, by_name, kernel_version
from bayes_isa.model.packing import pack_coordinates, unpack_coordinates
from bayes_isa.model.prior import Prior
from bayes_isa.model.products import times_matrix


class _CoordinateOp(Op):
    """What the three Ops share.

    spread: omega (d,) of independent random effects, or the precision (d, d) of correlated ones.
    constants: as in `pack_coordinates`.
    """

    __props__ = ("saturation",)
    spread_at = 2  # of the inputs

    def __init__(self, saturation: float) -> None:
        self.saturation = float(saturation)

    def make_node(self, *inputs: Any) -> Apply:
        variables = [pt.as_tensor_variable(x) for x in inputs]
        return Apply(self, variables, [make() for make in self.types_of(variables)])

    def types_of(self, variables: list[Variable]) -> tuple[Any, ...]:
        """Makers of the output variables."""
        return self.output_types

    def function_of(self, inputs: Sequence[Any]) -> Any:
        """Compiled function for a spread of that many dimensions."""
        return self.function(self.saturation, MATRIX if inputs[self.spread_at].ndim == 2 else VECTOR)

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        # As Python, which calls kernels whose compiled code is on disk.
        outputs = self.function_of(inputs).py_func(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        for storage, value in zip(output_storage, outputs, strict=True):
            storage[0] = np.asarray(value)


class Unwhiten(_CoordinateOp):
    """(eps, mean, spread, k, constants) -> phi (n_patients, d), log |d phi / d eps| (n_patients,), packed `Halfway`."""

    output_types = (pt.dmatrix, pt.dvector, pt.dvector)

    @staticmethod
    def function(saturation: float, spread: types.Array) -> Any:
        return _unwhiten_function(saturation, spread)

    def infer_shape(self, node: Apply, input_shapes: list[Any]) -> list[tuple[Any, ...]]:
        n, d = input_shapes[0]
        return [(n, d), (n,), (n * halfway_numbers.py_func(d),)]

    def pullback(
        self, inputs: list[Variable], outputs: list[Variable], cotangents: list[Variable]
    ) -> list[Variable]:
        by_outputs = [
            pt.zeros_like(out) if isinstance(cotangent.type, DisconnectedType) else cotangent
            for out, cotangent in zip(outputs[:2], cotangents[:2], strict=True)
        ]
        if not isinstance(cotangents[2].type, DisconnectedType):
            raise NotImplementedError("`Halfway` is for the pullback alone")
        _, mean, spread, _, constants = inputs
        gradient = UnwhitenPullback(self.saturation)(mean, spread, constants, outputs[2], *by_outputs)
        return [*gradient, disconnected_type()]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True, True, False]] * (len(node.inputs) - 1) + [[False] * 3]


class UnwhitenPullback(_CoordinateOp):
    """(mean, spread, constants, halfway, cotangents of phi and log Jacobian) -> those of eps, mean, spread, k."""

    spread_at = 1

    def types_of(self, variables: list[Variable]) -> tuple[Any, ...]:
        return pt.dmatrix, pt.dmatrix, pt.dmatrix if variables[1].type.ndim == 2 else pt.dvector, pt.dscalar

    @staticmethod
    def function(saturation: float, spread: types.Array) -> Any:
        return _pullback_function(saturation, spread)

    def infer_shape(self, node: Apply, input_shapes: list[Any]) -> list[tuple[Any, ...]]:
        return [input_shapes[0], input_shapes[0], input_shapes[1], ()]


class Whiten(_CoordinateOp):
    """(phi, mean, spread, k, constants) -> eps: the inverse, for starting points; no gradient."""

    output_types = (pt.dmatrix,)

    @staticmethod
    def function(saturation: float, spread: types.Array) -> Any:
        return _whiten_function(saturation, spread)

    def infer_shape(self, node: Apply, input_shapes: list[Any]) -> list[tuple[Any, ...]]:
        return [input_shapes[0]]


@cache
def _unwhiten_function(saturation: float, spread: types.Array) -> Any:
    def kernel(eps, mean, spread, k, packed, phi, log_jacobian, halfway):
        n, d = eps.shape
        window, whitening = unpack_coordinates(packed, d, saturation)
        kept = halfway_in(halfway, n, d)
        unwhiten_halfway(window, whitening, eps, mean, spread, k, phi, log_jacobian, kept)

    signature = types.none(MATRIX, MATRIX, spread, NUMBER, MATRIX, MATRIX, VECTOR, VECTOR)
    fill = by_name(f"unwhiten_{saturation}_{spread.ndim}", signature, kernel)

    @njit
    def unwhiten_op(eps, mean, spread, k, packed):
        n, d = eps.shape
        phi, log_jacobian, halfway = np.empty((n, d)), np.empty(n), np.empty(n * halfway_numbers(d))
        own = np.ascontiguousarray
        fill((own(eps), own(mean), own(spread), k.item(), own(packed), phi, log_jacobian, halfway))
        return phi, log_jacobian, halfway

    return unwhiten_op


@cache
def _whiten_function(saturation: float, spread: types.Array) -> Any:
    def kernel(phi, mean, spread, k, packed, eps):
        window, whitening = unpack_coordinates(packed, phi.shape[1], saturation)
        whiten(window, whitening, phi, mean, spread, k, eps)

    signature = types.none(MATRIX, MATRIX, spread, NUMBER, MATRIX, MATRIX)
    fill = by_name(f"whiten_{saturation}_{spread.ndim}", signature, kernel)

    @njit
    def whiten_op(phi, mean, spread, k, packed):
        eps = np.empty(phi.shape)
        own = np.ascontiguousarray
        fill((own(phi), own(mean), own(spread), k.item(), own(packed), eps))
        return eps

    return whiten_op


@cache
def _pullback_function(saturation: float, spread: types.Array) -> Any:
    def kernel(mean, spread, packed, halfway, to_phi, to_log_jacobian, to_eps, to_mean, to_spread, to_k):
        n, d = mean.shape
        window, whitening = unpack_coordinates(packed, d, saturation)
        kept = halfway_in(halfway, n, d)
        to_k[0] = unwhiten_pullback(
            window, whitening, mean, spread, kept, to_phi, to_log_jacobian, to_eps, to_mean, to_spread
        )

    inputs = (MATRIX, spread, MATRIX, VECTOR, MATRIX, VECTOR)
    signature = types.none(*inputs, MATRIX, MATRIX, spread, VECTOR)
    fill = by_name(f"unwhiten_pullback_{saturation}_{spread.ndim}", signature, kernel)

    @njit
    def pullback_op(mean, spread, packed, halfway, to_phi, to_log_jacobian):
        to_eps, to_mean, to_spread = np.empty(mean.shape), np.empty(mean.shape), np.empty(spread.shape)
        to_k = np.empty(1)
        own = np.ascontiguousarray
        given = (own(mean), own(spread), own(packed), own(halfway), own(to_phi), own(to_log_jacobian))
        fill((*given, to_eps, to_mean, to_spread, to_k))
        return to_eps, to_mean, to_spread, to_k.reshape(())

    return pullback_op


@register_funcify_default_op_cache_key(Unwhiten)
@register_funcify_default_op_cache_key(UnwhitenPullback)
@register_funcify_default_op_cache_key(Whiten)
def _(op: _CoordinateOp, node: Apply, **kwargs: Any) -> Any:
    return op.function_of(node.inputs), kernel_version()


class ResponseCoordinates(Transform):
    """phi <-> eps, for a `phi` whose parameters are (mean, omega, k, constants as in `pack_coordinates`).

    correlated: there is one more after omega, the factor of the correlation matrix.
    """

    name = "response"

    def __init__(self, saturation: float, *, correlated: bool = False) -> None:
        self.saturation = float(saturation)
        self.correlated = correlated

    def _arguments(self, point: Any, inputs: Any) -> list[Any]:
        mean, omega, *_, k, constants = inputs[-5 if self.correlated else -4 :]
        # CustomDist broadcasts its parameters over patients: undo it.
        spread = omega[0] if omega.ndim == 2 else omega
        if self.correlated:
            factor = inputs[-3][0] if inputs[-3].ndim == 3 else inputs[-3]
            half = _standardising(factor, spread)
            spread = times_matrix(half.T, half)
        return [point, mean, spread, k.ravel()[0], constants]

    def backward(self, value: Any, *inputs: Any) -> Any:
        return Unwhiten(self.saturation)(*self._arguments(value, inputs))[0]

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        return Unwhiten(self.saturation)(*self._arguments(value, inputs))[1]

    def forward(self, value: Any, *inputs: Any) -> Any:
        return Whiten(self.saturation)(*self._arguments(value, inputs))


def phi_in_response_coordinates(
    mean: Any,
    omega: Any,
    k: Any,
    window: Window,
    whitening: Whitening,
    initval: np.ndarray,
    cholesky: Any | None = None,
) -> Any:
    """The variable `phi` ~ Normal(mean, omega), dims (patient, parameter), sampled in response coordinates.

    cholesky: factor (d, d) of the correlation matrix of random effects, None for independent ones. k and the constants
    are no parameters of that distribution: the coordinates need their live values. The constants are a shared variable,
    so that code compiled for one trial serves all.
    """

    def logp(value: Any, mean: Any, omega: Any, *rest: Any) -> Any:
        if cholesky is None:
            return pm.logp(pm.Normal.dist(mean, omega), value).sum(axis=-1)
        return correlated_logp(value, mean, omega, rest[0])

    def random(mean: Any, omega: Any, *rest: Any, rng: Any = None, size: Any = None) -> np.ndarray:
        shape = None if size is None else (*size, omega.shape[-1])
        if cholesky is None:
            return rng.normal(mean, omega, size=shape)
        mean = np.asarray(mean, dtype=float)  # a symbolic mean, which PyMC tries first, stops here
        z = rng.standard_normal(mean.shape if shape is None else shape)
        return mean + omega * np.einsum("...ij,...j->...i", rest[0], z)

    return pm.CustomDist(
        "phi",
        *((mean, omega) if cholesky is None else (mean, omega, cholesky)),
        k,
        pytensor.shared(pack_coordinates(window, whitening), name="response_coordinates"),
        logp=logp,
        random=random,
        signature="(p),(p),(),(c)->(p)" if cholesky is None else "(p),(p),(p,p),(),(c)->(p)",
        class_name="Normal" if cholesky is None else "MvNormal",
        dims=("patient", "parameter"),
        default_transform=ResponseCoordinates(window.saturation, correlated=cholesky is not None),
        initval=initval,
    )


def _standardising(factor: Any, omega: Any) -> Any:
    """L^-1 diag(1 / omega) (d, d), which makes random effects independent and of SD 1."""
    return pt.linalg.solve_triangular(factor, pt.diag(1.0 / omega), lower=True)


def correlated_logp(phi: Any, mean: Any, omega: Any, cholesky: Any) -> Any:
    """log density (n_patients,) of phi ~ Normal(mean, diag(omega) L L' diag(omega)), L (d, d) the `cholesky` factor."""
    factor = (
        cholesky[0] if cholesky.ndim == 3 else cholesky
    )  # CustomDist broadcasts its parameters over patients
    z = times_matrix(phi - mean, _standardising(factor, omega[0] if omega.ndim == 2 else omega).T)
    log_determinant = pt.sum(pt.log(omega), axis=-1) + pt.sum(pt.log(pt.diagonal(factor)))
    return -0.5 * pt.sum(z**2 + np.log(2.0 * np.pi), axis=1) - log_determinant


class EffectAtReference(Transform):
    """KD <-> log of the kill rate KD E(C) at a reference concentration C (mg/L), for a KD with parameters EC50 and C.

    Data fix that rate; KD and EC50 alone move along a ridge on which it is constant. C is a parameter so that it is
    data to compiled code, which then serves the next data set.
    """

    name = "effect"

    def __init__(self, reference: float, saturation: float) -> None:
        self.reference = float(reference)
        self.saturation = float(saturation)

    def _log_effect(self, inputs: Any) -> Any:
        *_, ec50, reference = inputs
        return pt.log(reference) - pt.log(ec50 + self.saturation * reference)

    def backward(self, value: Any, *inputs: Any) -> Any:
        return pt.exp(value - self._log_effect(inputs))

    def forward(self, value: Any, *inputs: Any) -> Any:
        return pt.log(value) + self._log_effect(inputs)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        return value - self._log_effect(inputs)


def kd_by_effect(prior: Prior, ec50: Any, reference: float, saturation: float, initval: float) -> Any:
    """The variable `KD_pop` with its own prior, sampled as the kill rate at a reference concentration.

    EC50 and that concentration (mg/L) are no parameters of that prior: the coordinate needs them.
    """

    def logp(value: Any, ec50: Any, reference: Any) -> Any:
        return pm.logp(prior.dist_obj(), value)

    def random(ec50: Any, reference: Any, rng: Any = None, size: Any = None) -> np.ndarray:
        np.asarray(ec50, dtype=float)  # a symbolic EC50, which PyMC tries first, stops here
        return prior.draw(rng, size)

    return pm.CustomDist(
        "KD_pop",
        ec50,
        pytensor.shared(reference, name="reference_concentration"),
        logp=logp,
        random=random,
        class_name=prior.dist,
        default_transform=EffectAtReference(reference, saturation),
        initval=initval,
    )
