"""The built pages: every link leads somewhere, every picture has a text, references, spelling."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from book_pages import HTML, IN_CI, NOTEBOOKS, ROOT, contents, require_book, skip_or_fail
from prose import captions, markdown

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


def malformed(url: str) -> bool:
    """Whether a link to the outside cannot be right: no https, no host with a dot, blanks, or this machine's."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        return parts.scheme not in {"", "mailto", "data"}
    host = parts.hostname or ""
    return parts.scheme != "https" or "." not in host or host.startswith("127.") or bool(re.search(r"\s", url))


def test_links_to_the_outside_have_their_form():
    bad = {f"{p.relative_to(HTML)} -> {url}" for p in all_pages() for url in page(p).links if malformed(url)}
    assert not bad, "\n".join(sorted(bad))


@pytest.mark.parametrize(
    ("url", "expected"),
    [("https://example.org/x", False), ("http://example.org", True), ("https://localhost:8888/x", True),
     ("https://127.0.0.1/x", True), ("https://example.org/a b", True), ("file:///x", True), ("a/b.html", False),
     ("mailto:a@example.org", False)],
)  # fmt: skip
def test_a_malformed_link_is_seen(url, expected):
    assert malformed(url) is expected


ENTRY = re.compile(r'<div class="citation" id="([\w-]+)"[^>]*>(.*?)</div>', re.S)


def poor_references(listed: str, others: str) -> list[str]:
    """Entries of the page of references without a link to the work, or that no other page cites."""
    cited = set(re.findall(r"references\.html#([\w-]+)", others))
    unlinked = [key for key, text in ENTRY.findall(listed) if 'href="https://' not in text]
    return unlinked + [key for key, _ in ENTRY.findall(listed) if key not in cited]


def test_every_reference_is_linked_and_cited():
    listed = HTML / "book" / "references.html"
    others = "".join(path.read_text(encoding="utf-8") for path in all_pages() if path != listed)
    text = listed.read_text(encoding="utf-8")
    assert len(ENTRY.findall(text)) > 40 and not poor_references(text, others)


def test_every_entry_of_the_bibliography_is_on_the_page():
    """Only what is cited gets there."""
    require_book()
    keys = re.findall(r"^@\w+\{", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"), re.M)
    listed = (HTML / "book" / "references.html").read_text(encoding="utf-8")
    assert len(ENTRY.findall(listed)) == len(keys)


def test_a_poor_reference_is_seen():
    entry = '<div class="citation" id="{}" role="listitem"><p>A. Author. {}</p></div>'
    listed = entry.format("id1", '<a href="https://example.org">x</a>') + entry.format("id2", "no link")
    assert poor_references(listed, "references.html#id1 references.html#id2") == ["id2"]
    assert poor_references(listed, "references.html#id2") == ["id2", "id1"]


def misspelt(text: str) -> list[str]:
    """What codespell knows as a misspelling; the project's own words are in `tests/codespell.txt`."""
    if importlib.util.find_spec("codespell_lib") is None:
        skip_or_fail("codespell is missing: make env", fail=IN_CI)
    command = [sys.executable, "-m", "codespell_lib", "--ignore-words", str(ROOT / "tests" / "codespell.txt"), "-"]
    said = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8").stdout
    return [line.strip() for line in said.splitlines() if " ==> " in line]


def test_spelling():
    """Of pages, chapters, captions, and of the package's names and docstrings."""
    sources = [*ROOT.glob("*.md"), *(ROOT / "book").glob("*.md"), *(ROOT / "book" / "api").glob("*.md")]
    sources += (ROOT / "qrnn_helpers").rglob("*.py")
    texts = [path.read_text(encoding="utf-8") for path in sorted(sources)]
    texts += [text for path in NOTEBOOKS for text in [markdown(path), *captions(path)]]
    assert not misspelt("\n".join(texts))


def test_a_misspelt_word_is_seen():
    assert misspelt("The ket that Aer gives.\nIt is recieved.") == ["recieved ==> received"]
