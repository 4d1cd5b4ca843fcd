"""How figures look: colours, and the colour, line style, marker and hatch of a regimen, the same in every figure."""

from __future__ import annotations

import textwrap
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from bayes_isa.errors import RegimenError
from bayes_isa.regimens import parse_regimen

OBSERVED = "#000000"
SIMULATED = "#0072B2"
EVENT = "#D55E00"
PUBLISHED = "#D55E00"
QUIET = "#666666"  # guides, limits and what explains
WEEK_DAYS = 7.0
_LONGEST_LINE = 34  # characters: all published regimens in one line


LineStyle = Literal["-", "--", "-.", ":"] | tuple[float, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Style:
    """Matplotlib colour, line style, marker and hatch."""

    color: str
    linestyle: LineStyle
    marker: str
    hatch: str


# Colours of Okabe and Ito, told apart with every common form of colour blindness, and of Tol's muted set; line styles,
# markers and hatches tell apart in print.
_PUBLISHED_STYLES = {
    "10 mg/kg QW-Q2W": Style("#0072B2", "-", "o", ""),
    "20 mg/kg QW-Q2W": Style("#D55E00", "--", "s", "//"),
    "20 mg/kg QW-Q2W + dex": Style("#009E73", "-.", "^", ".."),
    "20 mg/kg QW-Q2W + dex 0-3mo": Style("#CC79A7", ":", "D", "xx"),
    "20 mg/kg QW-Q2W + dex 0-6mo": Style("#E69F00", (0, (6, 1.5, 1.5, 1.5, 1.5, 1.5)), "v", "\\\\"),
    "10 mg/kg Q2W-Q4W": Style("#56B4E9", (0, (1, 2.5)), "P", "++"),
    "10 mg/kg Q2W": Style("#332288", (0, (8, 3)), "X", "--"),
    "3 mg/kg Q2W": Style("#882255", (0, (3, 1, 1, 1)), "*", "oo"),
}
_FURTHER_STYLES = (
    Style("#000000", (0, (10, 2)), "<", "||"),
    Style("#44AA99", (0, (4, 1)), ">", "///"),
    Style("#999933", (0, (2, 1)), "h", "..."),
    Style("#CC6677", (0, (6, 2, 2, 2)), "p", "xxx"),
    Style("#117733", (0, (1, 1)), "d", "\\\\\\"),
    Style("#AA4499", (0, (9, 2, 1, 2)), "H", "+++"),
    Style("#7F7F7F", (0, (5, 5)), "8", "---"),
    Style("#88CCEE", (0, (3, 3, 1, 3)), "1", "ooo"),
)


def regimen_styles(labels: Iterable[str]) -> dict[str, Style]:
    """A style for each label, by what the label says: the published regimens have their own, another one that of its
    name, or the next free one where a label of the same figure has taken it."""
    names = list(dict.fromkeys(labels))
    styles = {name: _PUBLISHED_STYLES[_canonical(name)] for name in names if _is_published(name)}
    taken: set[int] = set()
    count = len(_FURTHER_STYLES)
    for name in sorted(set(names) - set(styles)):
        place = zlib.crc32(_canonical(name).encode()) % count
        if len(taken) == count:
            taken.clear()  # more regimens than styles: they repeat
        while place in taken:
            place = (place + 1) % count
        taken.add(place)
        styles[name] = _FURTHER_STYLES[place]
    return {name: styles[name] for name in names}


def in_lines(name: str) -> str:
    """A regimen's name for legends and axes: a long one in several lines, which would else leave no room to draw in."""
    return textwrap.fill(name, _LONGEST_LINE, break_long_words=False, break_on_hyphens=False)


def _is_published(name: str) -> bool:
    return _canonical(name) in _PUBLISHED_STYLES


def _canonical(name: str) -> str:
    """The short name of a regimen however it is written; other labels as they are."""
    try:
        return str(parse_regimen(name))
    except RegimenError:
        return name
