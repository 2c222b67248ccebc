"""Keeps the book's pages to what they need.

Two things that the theme does log errors in the reader's console:

* it loads sphinx-thebe (run code on a remote server), which this book does not use. Its
  inline script stands twice on every page, declares the same constants twice and names
  a server outside;
* it preloads its icon fonts in a way that browsers refuse on pages opened from disk. The
  fonts load without it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

FONT_PRELOAD = re.compile(r'\s*<link rel="preload" as="font"[^>]*>')


def drop_thebe(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree) -> None:
    """Remove Thebe's scripts from the page about to be written."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "THEBE_JS_URL" not in (getattr(script, "attributes", {}).get("body") or "")
        and "thebe" not in str(getattr(script, "filename", None) or "")
    ]


def drop_font_preloads(app: Sphinx, exception: Exception | None) -> None:
    """Remove the links that preload fonts from every page written."""
    if exception or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(FONT_PRELOAD.sub("", text), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    # After every other handler of the event, the one that adds page scripts included.
    app.connect("html-page-context", drop_thebe, priority=999)
    app.connect("build-finished", drop_font_preloads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
