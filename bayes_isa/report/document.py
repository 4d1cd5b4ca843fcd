"""What a report is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]
    kind: str = "bullets"


@dataclass(frozen=True)
class Table:
    """A table; the first column heads its rows, those from `numbers_from` on are aligned as numbers."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    numbers_from: int = 1
    kind: str = "table"


@dataclass(frozen=True)
class Picture:
    """A figure: `html` is an inline SVG or img element that carries `alt`, the picture in words."""

    caption: str
    alt: str
    html: str
    kind: str = "picture"


Block = Text | Bullets | Table | Picture


@dataclass(frozen=True)
class Section:
    """A part of the report with a heading; `key` is its anchor."""

    key: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
