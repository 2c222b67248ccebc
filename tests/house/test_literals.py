"""Numbers of results are computed: prose and captions type only definitions, settings and what others published."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

import prose
import pytest
from book_pages import NOTEBOOKS, ROOT

#: Decimals, percentages and factors. Other whole numbers count things ("eight steps").
LITERAL = re.compile(
    r"""(?<![\w.\-/])(?:\d+\.\d+ | \.\d+ | \d[\d,]*(?=\s?%|\s(?:per\s+cent|times\s+(?:as|less|more|\w+er)\b)))(?!\w)""",
    re.X,
)
#: Forms in which a number may be typed. § is the number.
ALLOWED = {
    "a level of confidence": r"§(?:95|90|80)§ %",
    "a share of the data": r"(?:first|next|last) §\S+ %",
    "targets that were registered": r"error of (?:\.\d+, |\.\d+ or )*§[^|]*cost",
    "what others published": r"\{cite|arXiv|published|report|project's|Aer §",
    "a number of theory": r"theory\W{0,4}\d|\d§\W{0,3} by theory|by theory §",
    "a formula's letter": r"\b[a-zA-Z] = §|\d§ p\(\d\)",
}
FORM = re.compile("|".join(ALLOWED.values()))
REACH = 70
"""How many characters before and after a number tell its form."""

ASKED = re.compile(r"^(`{3,})\{exercise\}.*?^\1[ ]*$|^## What to change next.*\Z", re.M | re.S)
"""Exercises and suggestions set numbers of their own."""

EXEMPT = {"17_protocol": "ual circuits the squared error is about .6 of that"}
"""An entry of a dated list, which stays as it was written."""


def numbers(text: str) -> set[float]:
    found = re.findall(r"(?<![\w.])(?:\d[\d_]*\.?\d*|\.\d+)(?:e-?\d+)?(?!\w)", text)
    return {float(number.replace("_", "")) for number in found}


def as_settings(literal: str, after: str) -> set[float]:
    """What code may call the number: itself, or as a share of one."""
    number = float(literal.replace(",", ""))
    share = re.match(r"\s?(?:%|per\s+cent)", after)
    return {number, round(number / 100, 9), round(1 - number / 100, 9)} if share else {number}


def results(source: str, settings: Set[float] = frozenset()) -> Iterator[str]:
    """Literals of a text that look like results, each with the words around it."""
    read = prose.prose(prose.blank(source, ASKED))
    for match in LITERAL.finditer(read):
        before = source[max(0, match.start() - REACH) : match.start()]
        after = source[match.end() : match.end() + REACH]
        if not as_settings(match[0], after) & settings and not FORM.search(f"{before}§{match[0]}§{after}"):
            yield " ".join(f"{before[-40:]}{match[0]}{after[:20]}".split())


def settings_of(path) -> set[float]:
    """Numbers that a chapter computes with: those of its code and of its formulas."""
    formulas = re.findall(r"\$[^$]+\$", prose.markdown(path))
    return numbers("\n".join([*(cell.source for cell in prose.cells(path, "code")), *formulas]))


def typed(path) -> list[str]:
    settings = settings_of(path)
    texts = [cell.source for cell in prose.cells(path, "markdown")] + prose.captions(path)
    found = [words for text in texts for words in results(text, settings)]
    return [words for words in found if path.stem not in EXEMPT or EXEMPT[path.stem] not in words]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_chapters_type_no_results(path):
    assert not typed(path)


def test_the_front_page_types_no_results():
    assert not list(results((ROOT / "book" / "intro.md").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "planted",
    ["The circuit reaches 0.47 on the test part.", "It falls by 37 % in a night.", "SPSA has .61, the rule",
     "and is 14 times cheaper.", "| GRU | 0.31 |"],
)  # fmt: skip
def test_a_planted_result_is_seen(planted):
    assert len(list(results(f"At $c = 0.1$:\n\n{planted}", {0.1, 8.0}))) == 1


@pytest.mark.parametrize(
    "allowed",
    ["with c = 0.1 and", "the threshold 0.4", "with 95 % intervals", "against 0.048 by {cite:t}`a2010`",
     "```{exercise} One\nTake 0.37.\n```", "{glue:text}`error-0.37` of `0.37` and $0.37$", "the first 55 % of all"],
)  # fmt: skip
def test_settings_definitions_and_citations_are_none(allowed):
    assert not list(results(allowed, {0.4}))
