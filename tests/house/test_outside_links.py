"""The weekly check of links, without the network."""

import runpy

import pytest
from book_pages import ROOT

links = runpy.run_path(str(ROOT / "tools" / "outside_links.py"))


def test_links_are_found_in_pages_and_references(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "a.md").write_text("See [this](https://example.org/a_(b)), <https://example.org/c>. And https://d.org.")
    (tmp_path / "book" / "references.bib").write_text("doi = {10.1/x(1)<2>},\n  eprint = {1234.5678}")
    assert links["outside_links"](tmp_path) == [
        "https://arxiv.org/abs/1234.5678", "https://d.org", "https://doi.org/10.1/x(1)<2>",
        "https://example.org/a_(b)", "https://example.org/c",
    ]  # fmt: skip


def test_the_books_own_are_found():
    found = links["outside_links"]()
    assert "https://mybinder.org" in found and len([url for url in found if "doi.org" in url]) > 20


@pytest.mark.parametrize(
    ("answers", "gone"),
    [([200], False), ([404], True), ([410], True), ([403], False), ([503], False), ([0, 200], False), ([0, 0], True)],
)
def test_only_what_is_gone_is_dead(answers, gone):
    said = iter(answers)
    assert bool(links["dead"](["https://example.org"], lambda _: next(said))) is gone
