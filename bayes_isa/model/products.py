"""Products of small matrices in a PyTensor graph, written as sums.

PyTensor calls BLAS for a product, and compiling those calls takes tens of seconds; sums of so few terms are as fast.
"""

from __future__ import annotations

from typing import Any

import pytensor.tensor as pt


def times_vector(matrix: Any, vector: Any) -> Any:
    """(n, d) times (d,): (n,)."""
    return pt.sum(matrix * vector, axis=1)


def times_matrix(first: Any, second: Any) -> Any:
    """(n, d) times (d, m): (n, m)."""
    return pt.sum(first[:, :, None] * second[None, :, :], axis=1)
