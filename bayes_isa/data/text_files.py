"""Text of a file a user gave, or the reason why it is no table."""

from __future__ import annotations

import codecs
from pathlib import Path

from bayes_isa.errors import Problem

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(file: Path) -> tuple[str, list[Problem]]:
    """The text of a file, and a problem when it is empty, binary, HTML or not UTF-8."""
    content = file.read_bytes()
    reason = _not_a_table(content)
    if reason is None:
        try:
            return content.decode("utf-8-sig"), []
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            message = f"is not UTF-8 text (byte {content[error.start]:#04x})"
            return "", [Problem(message, "Save it as CSV in UTF-8", file=file.name, row=line)]
    message, remedy = reason
    return "", [Problem(message, remedy, file=file.name)]


def _not_a_table(content: bytes) -> tuple[str, str] | None:
    start = content.lstrip()[:200].lower()
    if not start:
        return "is empty", "A table needs at least its header line"
    if content.startswith(_UTF16):
        return "is not UTF-8 text (it is UTF-16)", "Save it as CSV in UTF-8"
    if content.startswith(b"PK\x03\x04"):
        return "is not CSV but a zip archive or a spreadsheet", "Save the sheet as CSV in UTF-8"
    if b"\0" in content:
        return "is not CSV but a binary file", "Save it as CSV in UTF-8"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        return "is not CSV but HTML or XML", "A download may have saved a web page: fetch the file itself"
    return None
