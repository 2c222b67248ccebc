"""Keeps the book's pages to what they need.

The theme loads sphinx-thebe (run code on a remote server), which this book does not
use: its inline script stands twice on every page, declares the same constants twice
(an error in the console) and names a server outside. Out with it.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def drop_thebe(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree) -> None:
    """Remove Thebe's scripts from the page about to be written."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "THEBE_JS_URL" not in (getattr(script, "attributes", {}).get("body") or "")
        and "thebe" not in (getattr(script, "filename", None) or "")
    ]


def setup(app: Sphinx) -> dict[str, bool]:
    # After every other handler of the event, the one that adds page scripts included.
    app.connect("html-page-context", drop_thebe, priority=999)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
