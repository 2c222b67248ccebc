"""Every page of the book passes the gates; each gate is shown a page that is wrong.

Pages are opened one after another in one browser, each once, from disk and with the network closed.
"""

from __future__ import annotations

import gates
import pytest
from book_pages import HTML, contents, require_book
from browsing import Visit, new_page, offline, typeset


@pytest.mark.parametrize("document", [*contents(), "genindex", "search"])
def test_page_passes_the_gates(browser, document):
    require_book()
    with offline(browser, HTML / f"{document}.html", color_scheme="light") as visit:
        typeset(visit.page)
        found = gates.findings(visit)
        assert not found, "\n".join(found)


PAGE = "<!doctype html><html lang='en'><head><title>t</title></head><body><main><h1>t</h1>{}</main></body></html>"

WRONG = {
    "button-name": "<button></button>",
    "image-alt": "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>",
    "heading-order": "<h2>a</h2><h4>b</h4>",
    "empty-table-header": "<table><tr><th></th><td>1</td></tr></table>",
    "link-name": "<a href='#t'></a>",
    "label": "<input type=range>",
}


@pytest.fixture
def page(browser):
    page = new_page(browser, viewport={"width": 1280, "height": 900})
    yield page
    page.context.close()


@pytest.mark.parametrize("rule", WRONG)
def test_axe_finds_what_is_wrong(page, rule):
    page.set_content(PAGE.format(WRONG[rule]))
    assert [line.split(":")[0] for line in gates.axe(page)] == [rule]


def test_axe_and_our_own_measure_agree_on_contrast(page):
    """The light grey fails in the light, the dark one in the dark; a see-through colour counts with its ground."""
    page.set_content(
        PAGE.format(
            """<style>html[data-theme=dark] body { background: #111; color: #eee; }</style>
            <p style='color: #999'>light</p><p style='color: #555'>dark</p><p style='color: rgba(0, 0, 0, .3)'>thin</p>
            <p style='color: #888; font-size: 24px'>large</p><button disabled style='color: #999'>off</button>"""
        )
    )
    assert [line.split()[-1] for line in gates.faint(page, "light")] == ["light", "thin"]
    assert [line.split()[-1] for line in gates.faint(page, "dark")] == ["dark", "thin"]
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        assert len(gates.axe(page, contrast=True)) == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("<p style='width: 500px'>a long line</p>", ["390: the page is wider", "390: P a long line"]),
        ("<div style='overflow: hidden; width: 200px'><p style='width: 300px'>cut</p></div>", ["390: P cut"]),
        ("<div style='overflow: auto; width: 200px'><p style='width: 300px'>scrolls</p></div>", []),
    ],
)
def test_what_is_cut_off_is_seen(page, wrong, words):
    page.set_content(PAGE.format(wrong))
    assert gates.cut_off(page, 390) == words and not [w for w in gates.cut_off(page, 1280) if "long" in w]


def test_pictures_and_formulas_that_are_missing_are_seen(page):
    page.set_content(PAGE.format("<img src='gone.png' alt=''><span class='math'>x^2</span>"))
    assert [line.split(":")[0] for line in gates.pictures(page)] == ["no text", "not shown"]
    assert gates.unset_formulas(page) == ["formula: x^2"]


def test_requests_errors_and_weight_are_seen(browser, tmp_path):
    (tmp_path / "big.js").write_text("//" + "x" * gates.HEAVIEST)
    wrong = "<script src='big.js'></script><script>fetch('https://example.org/x'); nothing();</script>"
    (tmp_path / "wrong.html").write_text(PAGE.format(wrong))
    with offline(browser, tmp_path / "wrong.html") as visit:
        assert visit.requests == ["https://example.org/x"] and gates.too_heavy(visit) == ["2.50 MB"]
        assert any("nothing is not defined" in line for line in visit.complaints)


def test_findings_are_those_of_every_gate(browser, tmp_path):
    (tmp_path / "wrong.html").write_text(
        PAGE.format("<img src='gone.png'><p style='color: #777; width: 2000px'>wide</p><script>nothing()</script>")
    )
    with offline(browser, tmp_path / "wrong.html") as visit:
        visit.requests.append("https://example.org")
        found = "\n".join(gates.findings(visit))
        for word in ("no text", "1280: the page", "390: the page", "light 4.", "outside", "console", "image-alt"):
            assert word in found
    assert gates.too_heavy(Visit(None, loaded={__file__})) == []
