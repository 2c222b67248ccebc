"""Docstrings as reStructuredText.

The package's docstrings are plain text for people who read code: `|u|^2`, `x_t`, `*shape`, drawings and equations
in indented blocks, `` `names` `` in backticks, sections like NumPy's. Much of that is markup in reStructuredText, and
most of it wrong there. So nothing in a docstring is taken as markup but what is listed here:

* a paragraph is a paragraph, and an indented block is shown as it stands;
* what stands between backticks is code, and a link where it is a public name; `*words*` are emphasised;
* a line that begins with `- ` begins an item of a list;
* a title over a line of dashes heads a section; what it lists, `name : text` or a name over an indented text, is
  a list as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby

MARKUP = re.compile(
    r"""
    (?P<role> :[a-z]+:`[^`]+`)
    | ``(?P<two> [^`]+)``
    | `(?P<one> [^`]+)`
    | (?<![\w*]) \*(?P<stress> [^\W_]+ (?:[ ][^\W_]+)*)\* (?![\w*])
    """,
    re.VERBOSE,
)
ITEM = re.compile(r"[-*•] +(?=\S)")
NAMES = re.compile(r"[\w.*`]+(?:, ?[\w.*`]+)*")


def plain(text: str) -> str:
    """`text` with nothing left that reStructuredText would read as markup."""
    return re.sub(r"([\\*|_`\[\]<>]|:(?=:|$))", r"\\\1", text)


def inline(text: str, links: Mapping[str, str]) -> str:
    """A paragraph's text on one line: code and links where backticks ask for them, all else plain."""
    text, parts, end = " ".join(text.split()), [], 0
    for match in MARKUP.finditer(text):
        parts += [plain(text[end : match.start()]), marked(match, links)]
        end = match.end()
    return "".join([*parts, plain(text[end:])])


def marked(match: re.Match[str], links: Mapping[str, str]) -> str:
    """One piece of markup; the escaped spaces around it let it touch what stands beside it."""
    code = (match["two"] or match["one"] or "").strip()
    if match["role"]:
        words = match["role"]
    elif match["stress"]:
        words = f"*{match['stress']}*"
    elif code in links:
        words = f":py:obj:`{code} <{links[code]}>`"
    else:
        words = f"``{code}``" if code else ""
    return rf"\ {words}\ " if words else ""


def paragraph(text: str, links: Mapping[str, str]) -> str:
    """A paragraph that begins with no marker of a list, a field, a directive or a title."""
    return "\\ " + inline(text, links)


def blocks(lines: list[str]) -> Iterator[list[str]]:
    """Lines in a row that are not empty."""
    for filled, group in groupby(lines, key=lambda line: bool(line.strip())):
        if filled:
            yield list(group)


def indented(line: str) -> bool:
    return line[:1].isspace()


def runs(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """Neighbouring lines that are all indented, or none of them."""
    for inside, group in groupby(lines, key=indented):
        yield inside, list(group)


def literal(lines: list[str]) -> list[str]:
    return ["::", "", *("    " + line for line in lines), ""]


def groups(lines: list[str]) -> list[list[str]]:
    """Each unindented line with the indented ones that follow it."""
    found: list[list[str]] = []
    for line in lines:
        if indented(line) and found:
            found[-1].append(line)
        else:
            found.append([line])
    return found


def bullets(lines: list[str], links: Mapping[str, str]) -> list[str]:
    """The items of a list, wherever one of the lines begins with its marker."""
    items: list[str] = []
    for line in lines:
        if ITEM.match(line) or not items:
            items.append(ITEM.sub("", line, count=1))
        else:
            items[-1] += " " + line
    return [*(f"* {paragraph(item, links)}" for item in items), ""]


def described(lines: list[str], links: Mapping[str, str]) -> str | None:
    """`name : text`, or a name over its indented text, as an item of a list; None if it is neither."""
    name, colon, text = lines[0].partition(" : ")
    if not NAMES.fullmatch(name) or not (colon or len(lines) > 1):
        return None
    names = ", ".join(f"``{each.strip(' `')}``" for each in name.split(","))
    return rf"* {names}\ : " + inline(" ".join([text, *lines[1:]]), links)


def section(lines: list[str], links: Mapping[str, str]) -> list[str]:
    """What stands below a title: a list of what it describes, or text."""
    items = [described(group, links) for group in groups(lines)]
    if all(items):
        return [*filter(None, items), ""]
    return prose(lines, links)


def prose(lines: list[str], links: Mapping[str, str]) -> list[str]:
    """A block of lines without an empty one: a list, or paragraphs and indented blocks in turn."""
    if ITEM.match(lines[0]):
        return bullets(lines, links)
    written: list[str] = []
    for inside, run in runs(lines):
        if inside:
            written += literal(run)
        else:
            text = " ".join(run)
            written += [paragraph(re.sub("::+$", ":", text), links), ""]
    return written


def restructured(lines: list[str], links: Mapping[str, str] | None = None) -> list[str]:
    """The lines of a docstring as reStructuredText; `links` gives the full name behind a public one."""
    links, written, inside = links or {}, [], False
    for block in blocks(lines):
        if len(block) > 1 and re.fullmatch("-{3,}", block[1]) and not indented(block[0]):
            written += [f".. rubric:: {inline(block[0], links)}", ""]
            inside, block = True, block[2:]
        if block:
            written += section(block, links) if inside else prose(block, links)
    return written
