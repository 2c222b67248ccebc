"""The search shows where a word stands, from disk and without a request: a small book of its own."""

import pytest
from book_pages import ROOT
from browsing import offline
from small_book import built

PAGES = {
    "intro.md": "# First\n\n```{toctree}\nnotebooks/second\n```\n\nNothing here.\n",
    "notebooks/second.md": "# Second\n\nAn opening.\n\n## Warming\n\n"
    + 60 * "Many words. "
    + "A washout of <3> steps.\n",
}


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    settings = {
        "extensions": ["myst_parser", "snippets"],
        "html_theme": "basic",
        "html_show_search_summary": False,
        "html_static_path": [str(ROOT / "book" / "_static")],
    }
    return built(tmp_path_factory.mktemp("search"), PAGES, settings)


@pytest.mark.parametrize(
    ("query", "shown"), [("washout", "A washout of <3> steps."), ("washouts", "A washout of <3> steps.")]
)
def test_a_result_has_a_snippet(browser, html, query, shown):
    with offline(browser, html / "intro.html") as visit:
        visit.page.goto((html / "search.html").as_uri() + f"?q={query}")
        text = visit.page.locator("#search-results li p.context").first.inner_text()
        assert shown in text and len(text) < 300
        assert not visit.requests and not visit.complaints
