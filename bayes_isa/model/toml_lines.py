"""Which line of a TOML text holds a key, so that an error can name the line to mend.

`tomllib` gives values without positions. The headers and keys of a file that it accepted are simple enough to
find again line by line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

Path = tuple[str, ...]

_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_\-.\s]|"[^"]*"|'[^']*')+?)\s*=""")


def _dotted(text: str) -> Path:
    """The parts of a dotted key, quotes resolved; empty if it is none."""
    try:
        node = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    parts: list[str] = []
    while isinstance(node, dict):
        ((part, node),) = node.items()
        parts.append(part)
    return tuple(parts)


def key_lines(text: str) -> dict[Path, int]:
    """Line (from 1) of every table header and key, by its full path."""
    lines: dict[Path, int] = {}
    header: Path = ()
    inside = ""  # the delimiter of the multi-line string we are in
    for number, line in enumerate(text.splitlines(), start=1):
        if not inside:
            if match := re.match(r"\s*\[([^\[].*?)\]\s*(#.*)?$", line):
                header = _dotted(match.group(1))
                lines.setdefault(header, number)
            elif match := _KEY.match(line):
                lines.setdefault(header + _dotted(match.group(1)), number)
        for delimiter in ('"""', "'''"):
            if line.count(delimiter) % 2 and inside in ("", delimiter):
                inside = "" if inside else delimiter
    return lines


def line_of(lines: Mapping[Path, int], path: Path) -> int | None:
    """Line of the key `path`, else of its first member, else of the table around it; None without any."""
    members = [line for key, line in lines.items() if key[: len(path)] == path]
    if members:
        return lines.get(path, min(members))
    return next((lines[path[:n]] for n in range(len(path) - 1, 0, -1) if path[:n] in lines), None)


def syntax_error(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, str]:
    """Line and message of a TOML syntax error."""
    match = re.search(r"\s*\(at line (\d+), column (\d+)\)", str(error))
    if not match:
        return max(1, len(text.splitlines())), str(error).replace(" (at end of document)", "")
    return int(match.group(1)), f"{str(error)[: match.start()]} (column {match.group(2)})"
