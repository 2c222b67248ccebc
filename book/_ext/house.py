"""Keeps the book's pages to what they need, and makes pages of the package's docstrings.

Two things that the theme does log errors in the reader's console:

* it loads sphinx-thebe (run code on a remote server), which this book does not use. Its
  inline script stands twice on every page, declares the same constants twice and names
  a server outside;
* it preloads its icon fonts in a way that browsers refuse on pages opened from disk. The
  fonts load without it.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from docstrings import restructured
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


@cache
def links() -> dict[str, str]:
    """Full names of the functions and classes that the package's faces hand on.  Constants have no place on a page."""
    package = importlib.import_module("qrnn_helpers")
    folders = [module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg]
    faces = [importlib.import_module(f"qrnn_helpers.{folder}") for folder in folders]
    return {name: f"{face.__name__}.{name}" for face in faces for name in public(face)}


def public(face: ModuleType) -> list[str]:
    made_here = {name: getattr(getattr(face, name), "__module__", "") for name in getattr(face, "__all__", ())}
    return [name for name, module in made_here.items() if module.startswith("qrnn_helpers.")]


def rewrite(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Put reStructuredText in the place of a docstring's plain text."""
    if lines and lines[0].startswith(f"{name.split('.')[-1]}("):  # a dataclass without text: its signature again
        lines.clear()
    lines[:] = restructured(lines, links())


def skip(app: Sphinx, what: str, name: str, obj: object, skipped: bool, options: object) -> bool | None:
    """Leave out the attributes of a class: its text tells what they are."""
    text = getattr(obj, "__doc__", None)
    attribute = isinstance(obj, type) or text == type(obj).__doc__ or "Alias for field" in (text or "")
    return True if what == "class" and (attribute or not text) else None


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", rewrite)
    app.connect("autodoc-skip-member", skip)
    # After every other handler of the event, the one that adds page scripts included.
    app.connect("html-page-context", drop_thebe, priority=999)
    app.connect("build-finished", drop_font_preloads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
