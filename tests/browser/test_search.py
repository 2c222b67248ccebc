"""The search shows where a word stands, from disk and without a request: a small book of its own."""

import subprocess
import sys

import pytest
from book_pages import ROOT
from browsing import offline

PAGES = {
    "intro.md": "# First\n\n```{toctree}\nnotebooks/second\n```\n\nNothing here.\n",
    "notebooks/second.md": "# Second\n\nAn opening.\n\n## Warming\n\n"
    + 60 * "Many words. "
    + "A washout of <3> steps.\n",
}


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    (folder / "conf.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\n"
        "extensions, root_doc = ['myst_parser', 'snippets'], 'intro'\n"
        "html_theme, html_show_search_summary = 'basic', False\n"
        f"html_static_path = [{str(ROOT / 'book' / '_static')!r}]\n"
    )
    for name, text in PAGES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(folder), str(folder / "html")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    return folder / "html"


@pytest.mark.parametrize(
    ("query", "shown"), [("washout", "A washout of <3> steps."), ("washouts", "A washout of <3> steps.")]
)
def test_a_result_has_a_snippet(browser, html, query, shown):
    with offline(browser, html / "intro.html") as visit:
        visit.page.goto((html / "search.html").as_uri() + f"?q={query}")
        text = visit.page.locator("#search-results li p.context").first.inner_text()
        assert shown in text and len(text) < 300
        assert not visit.requests and not visit.complaints
