"""How a regimen or an arm looks, the same in every figure: colour, line style and marker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle

from bayes_isa.regimens import SIMULATED_ARMS


@dataclass(frozen=True, slots=True)
class Style:
    """Matplotlib colour and line style."""

    color: str
    linestyle: str | tuple[int, tuple[float, ...]]


# Okabe and Ito's palette, told apart with every common form of colour blindness; line styles tell apart in print.
_STYLES = (
    Style("#0072B2", "-"),
    Style("#D55E00", "--"),
    Style("#009E73", "-."),
    Style("#CC79A7", ":"),
    Style("#E69F00", (0, (6, 1.5, 1.5, 1.5, 1.5, 1.5))),
    Style("#56B4E9", (0, (1, 2.5))),
    Style("#000000", (0, (8, 3))),
)


def regimen_styles(labels: Iterable[str]) -> dict[str, Style]:
    """A style for each label: the published regimens have their own, others take the free ones in order."""
    fixed = dict(zip(SIMULATED_ARMS, _STYLES, strict=False))
    names = list(labels)
    taken = [fixed[name] for name in names if name in fixed]
    free = cycle([style for style in _STYLES if style not in taken] or list(_STYLES))
    return {name: fixed[name] if name in fixed else next(free) for name in names}
