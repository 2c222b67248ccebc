"""The built pages: every internal link leads somewhere, every picture has a text."""

from __future__ import annotations

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from book_pages import HTML, contents, require_book

LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """Ids, links, what the page loads, and pictures without text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids, self.links, self.loads, self.untold = set(), [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.ids.update(filter(None, (attributes.get("id"), attributes.get("name"))))
        for key in ("href", "src"):
            if url := attributes.get(key):
                self.links.append(url)
                stylesheet = tag == "link" and "stylesheet" in (attributes.get("rel") or "")
                if (tag, key) in LOADED or stylesheet:
                    self.loads.append(url)
        if tag == "img" and not (attributes.get("alt") or "").strip():
            self.untold.append((attributes.get("src") or "")[:80])


@cache
def page(path: Path) -> Page:
    return Page(path)


def all_pages() -> list[Path]:
    require_book()
    return [p for p in sorted(HTML.rglob("*.html")) if "_static" not in p.parts]


def broken(path: Path, url: str) -> bool:
    """Whether an internal link has no file, or no such place in it, at its end."""
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return False
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target = target / "index.html"
    if not target.exists():
        return True
    fragment = unquote(parts.fragment)
    return bool(fragment) and target.suffix == ".html" and fragment not in page(target).ids


def test_every_document_became_a_page():
    require_book()
    missing = [d for d in contents() if not (HTML / f"{d}.html").exists()]
    assert not missing and (HTML / "index.html").exists()


def test_internal_links_lead_somewhere():
    bad = [
        f"{path.relative_to(HTML)} -> {url}" for path in all_pages() for url in page(path).links if broken(path, url)
    ]
    assert not bad, "\n".join(bad)


def test_pages_load_nothing_from_outside():
    bad = [
        f"{path.relative_to(HTML)} -> {url}"
        for path in all_pages()
        for url in page(path).loads
        if urlsplit(url).scheme not in {"", "data"} or url.startswith("//")
    ]
    assert not bad, "\n".join(bad)


def test_every_picture_has_alternative_text():
    bad = [f"{p.relative_to(HTML)}: {src}" for p in all_pages() for src in page(p).untold]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize(
    ("url", "expected"),
    [("b.html", False), ("b.html#here", False), ("b.html#gone", True), ("c.html", True),
     ("#top", False), ("#gone", True), ("https://example.org/x", False)],
)  # fmt: skip
def test_link_check_finds_what_is_broken(tmp_path, url, expected):
    (tmp_path / "a.html").write_text('<p id="top">a</p>')
    (tmp_path / "b.html").write_text('<p id="here">b</p>')
    assert broken(tmp_path / "a.html", url) is expected
