"""The front page's three paths: each is read in under two hours, and in the time that stands beside it."""

from __future__ import annotations

import re

import prose
import pytest
from book_pages import ROOT

INTRO = (ROOT / "book" / "intro.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?P<who>[^|]+) \| (?P<pages>[^|]*\{doc\}[^|]*) \| (?P<minutes>\d+) \|$", re.M)
PACE = 120
"""Words a minute in a text with formulas, pictures and tables; half of what is usual for prose."""


def words(document: str) -> int:
    page = ROOT / "book" / document
    notebook = page.with_suffix(".ipynb").resolve()
    text = prose.markdown(notebook) if notebook.exists() else page.with_suffix(".md").read_text(encoding="utf-8")
    return sum(any(letter.isalpha() for letter in word) for word in text.split())


PATHS = {row["who"]: row for row in ROW.finditer(INTRO)}


def test_there_are_three_paths():
    assert len(PATHS) == 3


@pytest.mark.parametrize("who", PATHS)
def test_a_path_takes_the_time_that_is_said(who):
    pages = re.findall(r"\{doc\}`([^`]+)`", PATHS[who]["pages"])
    said, counted = int(PATHS[who]["minutes"]), sum(map(words, pages)) / PACE
    assert said < 120 and abs(said - counted) < 12
