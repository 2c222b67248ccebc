"""What a reader reads of a chapter: its markdown without code, formulas and roles, its captions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import nbformat

UNREAD = re.compile(
    r"""
    ^[ ]*(`{3,})\{?(?:math|raw|python|text|bash)\b.*?^[ ]*\1[ ]*$   # blocks that are no prose
  | ^[ ]*(?:`{3,}|:{3,}).*?$                                        # the other directives' first and last lines
  | ^[ ]*:[\w-]+:.*?$                                               # and their options
  | ^\#.*?$                                                         # headings
  | \$\$.+?\$\$(?:[ ]*\([\w-]+\))? | (?<!\\)\$[^$]+\$               # formulas
  | (?:\{[\w:]+\})?(`+)[^`].*?\2(?!`)                               # roles and code
  | \[[^\]\n]*\]\([^)\n]*\)                                         # links
    """,
    re.X | re.M | re.S,
)
TABLE = re.compile(r"^[ ]*\|.*?$", re.M)


def blank(text: str, pattern: re.Pattern[str]) -> str:
    """The text with matches overwritten by spaces: what is left stays where it was."""
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def prose(source: str) -> str:
    """A markdown cell's sentences."""
    return blank(source, UNREAD)


@cache
def notebook(path: Path):
    return nbformat.read(path, as_version=4)


def cells(path: Path, kind: str) -> Iterator:
    return (cell for cell in notebook(path).cells if cell.cell_type == kind)


def markdown(path: Path) -> str:
    """All of a chapter's markdown."""
    return "\n\n".join(cell.source for cell in cells(path, "markdown"))


def captions(path: Path) -> list[str]:
    """The captions of a chapter's figures."""
    figures = [cell.metadata.get("mystnb", {}).get("figure", {}) for cell in cells(path, "code")]
    return [prose(figure["caption"]) for figure in figures if "caption" in figure]
