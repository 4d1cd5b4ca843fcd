"""A model's density on the natural scale, so that models in different coordinates can be compared."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor


def density(model: pm.Model, natural: dict[str, np.ndarray]) -> float:
    """Joint log-density on the natural scale, without Jacobians, at the values of free variables."""
    with pytensor.config.change_flags(mode="FAST_COMPILE"):  # each is evaluated once
        return _density(model, natural)


def _density(model: pm.Model, natural: dict[str, np.ndarray]) -> float:
    point = model.initial_point()
    values = {}
    for rv in model.free_RVs:
        transform = model.rvs_to_transforms[rv]
        name = model.rvs_to_values[rv].name
        assert name in point
        if transform is None:
            values[name] = natural[rv.name]
        else:
            inputs = [constant(x, natural) for x in rv.owner.inputs]
            values[name] = transform.forward(pm.math.constant(natural[rv.name]), *inputs).eval()
    # Term by term: the Python mode adds up no more than 32 of them.
    return float(sum(np.sum(term) for term in model.compile_logp(jacobian=False, sum=False)(values)))


def constant(variable: object, natural: dict[str, np.ndarray]) -> object:
    """A random variable's input with the free variables it hangs on replaced by their natural values."""
    from pytensor.graph.replace import graph_replace
    from pytensor.graph.traversal import ancestors

    if getattr(variable, "owner", None) is None:
        return variable
    swaps = {a: pm.math.constant(natural[a.name]) for a in ancestors([variable]) if a.name in natural}
    return graph_replace([variable], {a: c.astype(a.dtype) for a, c in swaps.items()}, strict=False)[0]
