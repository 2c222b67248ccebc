"""Text beside the search's results.

Sphinx fetches every page found for its summary, which a page from disk may not do. So the prose lies in one script,
section by section, which the search page alone loads; `snippets.js` picks from it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

SCRIPT = "search_text.js"
prose: dict[str, list[list[str]]] = {}  # of every document: anchor and text of its sections


def sections(doctree: nodes.document) -> list[list[str]]:
    """Anchors of a document's sections and the paragraphs that stand in each, without those of sections inside."""
    found: dict[str, list[str]] = {}
    for paragraph in doctree.findall(nodes.paragraph):
        place = paragraph.parent
        while not isinstance(place, nodes.section | nodes.document):
            place = place.parent
        anchor = place["ids"][0] if place["ids"] else ""
        found.setdefault(anchor, []).append(" ".join(paragraph.astext().split()))
    return [[anchor, " ".join(texts)] for anchor, texts in found.items()]


def collect(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    prose[docname] = sections(doctree)


def load(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: object) -> None:
    if pagename == "search":
        app.add_js_file(SCRIPT)
        app.add_js_file("snippets.js")


def write(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        text = json.dumps(prose, ensure_ascii=False, separators=(",", ":"))
        (Path(app.outdir) / "_static" / SCRIPT).write_text(f"const searchText = {text};\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    prose.clear()
    app.connect("doctree-resolved", collect)
    app.connect("html-page-context", load)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
