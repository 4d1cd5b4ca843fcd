"""The kernel as PyTensor Ops, registered for the numba backend so that samplers call them without the interpreter lock.

`JointTrajectory` returns log M at the measurements and what a PFS record contributes, together with their
partial derivatives from the same pass; its pullback only multiplies. `MeasurementTerm` is the residual model.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from numba import njit, types
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key

from bayes_isa.kernels.design import Design
from bayes_isa.kernels.evaluate import measurement_terms
from bayes_isa.kernels.hazard import Shape
from bayes_isa.kernels.residual import Residual
from bayes_isa.kernels.trajectory import pull_back, trajectory
from bayes_isa.model.compiled import FLAGS, INTEGERS, MATRIX, NUMBER, VECTOR, by_name, kernel_version
from bayes_isa.model.packing import N_MEASUREMENTS, pack_design, unpack_design

_N_PARAMETERS = 6


def design_inputs(design: Design) -> list[Variable]:
    """The design as the last inputs of `JointTrajectory`.

    Shared variables rather than constants: compiled code then does not hold one trial's numbers and is cached for all.
    """
    floats, integers = pack_design(design)
    return [pytensor.shared(floats, name="design"), pytensor.shared(integers, name="design_integers")]


class JointTrajectory(Op):
    """(phi, k, hazard_lp, beta_link, Te, s, *design) -> (log_m, cumulative_hazard, log_event, 3 arrays of partials).

    Shapes and units as in `bayes_isa.kernels.trajectory`.
    """

    __props__ = ("shape",)

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def make_node(
        self, phi: Any, k: Any, hazard_lp: Any, beta_link: Any, te: Any, s: Any, *design: Any
    ) -> Apply:
        inputs = [pt.as_tensor_variable(x, dtype="float64") for x in (phi, k, hazard_lp, beta_link, te, s)]
        if [x.ndim for x in inputs] != [2, 0, 1, 0, 0, 0]:
            raise TypeError(f"expected phi (2d), k, hazard_lp (1d), beta_link, te, s; found {inputs}")
        inputs += [pt.as_tensor_variable(x) for x in design]
        if [x.ndim for x in inputs[_N_PARAMETERS:]] != [1, 1]:
            raise TypeError(f"expected the two arrays of `design_inputs`, found {design}")
        outputs = [pt.dvector(), pt.dvector(), pt.dvector(), pt.dmatrix(), pt.dmatrix(), pt.dmatrix()]
        return Apply(self, inputs, outputs)

    def infer_shape(self, node: Apply, input_shapes: list[Any]) -> list[tuple[Any, ...]]:
        patients = input_shapes[0][0]
        measurements = node.inputs[-1][N_MEASUREMENTS]
        return [(measurements,), (patients,), (patients,), (measurements, 6), (patients, 10), (patients, 10)]

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        outputs = _trajectory_function(self.shape).py_func(*inputs)
        for storage, value in zip(output_storage, outputs, strict=True):
            storage[0] = value

    def pullback(
        self, inputs: list[Variable], outputs: list[Variable], cotangents: list[Variable]
    ) -> list[Variable]:
        by_outputs = [
            pt.zeros_like(out) if _is_disconnected(cotangent) else cotangent
            for out, cotangent in zip(outputs[:3], cotangents[:3], strict=True)
        ]
        if not all(_is_disconnected(cotangent) for cotangent in cotangents[3:]):
            raise NotImplementedError("second derivatives of the trajectory are not available")
        individual, shared = TrajectoryPullback()(*by_outputs, *outputs[3:], *inputs[_N_PARAMETERS:])
        gradient = [individual[:, :5], shared[0], individual[:, 5], shared[1], shared[2], shared[3]]
        return gradient + [_disconnected() for _ in inputs[_N_PARAMETERS:]]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True] * 6] * _N_PARAMETERS + [[False] * 6] * (len(node.inputs) - _N_PARAMETERS)


class TrajectoryPullback(Op):
    """Multiplies cotangents of `JointTrajectory`'s outputs with its partials: (n_patients, 6) and (4,)."""

    __props__ = ()

    def make_node(self, *inputs: Any) -> Apply:
        return Apply(self, [pt.as_tensor_variable(x) for x in inputs], [pt.dmatrix(), pt.dvector()])

    def infer_shape(self, node: Apply, input_shapes: list[Any]) -> list[tuple[Any, ...]]:
        return [(input_shapes[1][0], 6), (4,)]

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        output_storage[0][0], output_storage[1][0] = _pullback_function().py_func(*inputs)


class MeasurementTerm(Op):
    """(log_m, value, below, sigma_add, sigma_prop, nu) -> log-likelihood of each measurement, and its partials.

    All (n_measurements,) but the last three, the fields of `Residual`; `value` in g/L is the LLOQ where `below`.
    """

    __props__ = ()

    def make_node(
        self, log_m: Any, value: Any, below: Any, sigma_add: Any, sigma_prop: Any, nu: Any
    ) -> Apply:
        inputs = [
            pt.as_tensor_variable(log_m, dtype="float64"),
            pt.as_tensor_variable(value, dtype="float64"),
            pt.as_tensor_variable(below, dtype="bool"),
            pt.as_tensor_variable(sigma_add, dtype="float64"),
            pt.as_tensor_variable(sigma_prop, dtype="float64"),
            pt.as_tensor_variable(nu, dtype="float64"),
        ]
        if [x.ndim for x in inputs] != [1, 1, 1, 0, 0, 0]:
            raise TypeError(
                "expected log_m, value and below as vectors, sigma_add, sigma_prop, nu as scalars"
            )
        return Apply(self, inputs, [pt.dvector(), pt.dmatrix()])

    def infer_shape(self, node: Apply, input_shapes: list[Any]) -> list[tuple[Any, ...]]:
        return [(input_shapes[0][0],), (input_shapes[0][0], 4)]

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        output_storage[0][0], output_storage[1][0] = _measurement_function().py_func(*inputs)

    def pullback(
        self, inputs: list[Variable], outputs: list[Variable], cotangents: list[Variable]
    ) -> list[Variable]:
        if not _is_disconnected(cotangents[1]):
            raise NotImplementedError("second derivatives of the measurement term are not available")
        by_term = cotangents[0]
        partial = outputs[1]
        by_log_m = by_term * partial[:, 0]
        return [
            by_log_m,
            _disconnected(),
            _disconnected(),
            pt.sum(by_term * partial[:, 1]),
            pt.sum(by_term * partial[:, 2]),
            pt.sum(by_term * partial[:, 3]),
        ]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True, True], *[[False, False]] * 2, *[[True, True]] * 3]


def _disconnected() -> Variable:
    return disconnected_type()


def _is_disconnected(variable: Variable) -> bool:
    return isinstance(variable.type, DisconnectedType)


@cache
def _trajectory_function(shape: Shape) -> Any:
    def kernel(floats, integers, *parameters_and_outputs):
        trajectory(unpack_design(floats, integers), shape, *parameters_and_outputs)

    parameters = (MATRIX, NUMBER, VECTOR, NUMBER, NUMBER, NUMBER)
    outputs = (VECTOR, VECTOR, VECTOR, MATRIX, MATRIX, MATRIX)
    name = f"trajectory_{'_'.join(str(value) for value in shape)}"
    fill = by_name(name, types.none(VECTOR, INTEGERS, *parameters, *outputs), kernel)

    @njit
    def joint_trajectory(phi, k, hazard_lp, beta_link, te, s, floats, integers):
        n_patients, n_measurements = phi.shape[0], integers[N_MEASUREMENTS]
        own = np.ascontiguousarray
        given = (own(phi), k.item(), own(hazard_lp), beta_link.item(), te.item(), s.item())
        outputs = (
            np.empty(n_measurements),
            np.empty(n_patients),
            np.empty(n_patients),
            np.empty((n_measurements, 6)),
            np.empty((n_patients, 10)),
            np.empty((n_patients, 10)),
        )
        fill((floats, integers, *given, *outputs))
        return outputs

    return joint_trajectory


@cache
def _pullback_function() -> Any:
    def kernel(floats, integers, *cotangents_and_outputs):
        pull_back(unpack_design(floats, integers), *cotangents_and_outputs)

    arguments = (VECTOR, INTEGERS, *[VECTOR] * 3, *[MATRIX] * 3, MATRIX, VECTOR)
    fill = by_name("pullback", types.none(*arguments), kernel)

    @njit
    def pullback(
        to_log_m, to_cumulative, to_log_event, by_marker, by_cumulative, by_log_event, floats, integers
    ):
        own = np.ascontiguousarray
        cotangents = (own(to_log_m), own(to_cumulative), own(to_log_event))
        partials = (own(by_marker), own(by_cumulative), own(by_log_event))
        outputs = (np.empty((to_cumulative.size, 6)), np.empty(4))
        fill((floats, integers, *cotangents, *partials, *outputs))
        return outputs

    return pullback


@cache
def _measurement_function() -> Any:
    def kernel(log_m, value, below, sigma_add, sigma_prop, nu, term, partial):
        measurement_terms(log_m, value, below, Residual(sigma_add, sigma_prop, nu), term, partial)

    arguments = (VECTOR, VECTOR, FLAGS, NUMBER, NUMBER, NUMBER, VECTOR, MATRIX)
    fill = by_name("measurements", types.none(*arguments), kernel)

    @njit
    def measurement_function(log_m, value, below, sigma_add, sigma_prop, nu):
        own = np.ascontiguousarray
        residual = (sigma_add.item(), sigma_prop.item(), nu.item())
        outputs = (np.empty(log_m.size), np.empty((log_m.size, 4)))
        fill((own(log_m), own(value), own(below), *residual, *outputs))
        return outputs

    return measurement_function


@register_funcify_default_op_cache_key(JointTrajectory)
def _(op: JointTrajectory, node: Apply, **kwargs: Any) -> Any:
    return _trajectory_function(op.shape), kernel_version()


@register_funcify_default_op_cache_key(TrajectoryPullback)
def _(op: TrajectoryPullback, node: Apply, **kwargs: Any) -> Any:
    return _pullback_function(), kernel_version()


@register_funcify_default_op_cache_key(MeasurementTerm)
def _(op: MeasurementTerm, node: Apply, **kwargs: Any) -> Any:
    return _measurement_function(), kernel_version()
