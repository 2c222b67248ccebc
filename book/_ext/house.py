"""Keeps the book's pages to what they need, and makes pages of the package's docstrings.

The theme loads sphinx-thebe (run code on a remote server), which this book does not use. Its inline script stands
twice on every page, declares the same constants twice, which is an error in the reader's console, and names a server
outside. What else theme and tools write that a reader should not meet is mended page by page: see `MENDS`.
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
from frozen import frozen
from icons import thin_icons
from sphinx.application import Sphinx

#: What stands in pages, what takes its place, and why.
MENDS = [
    (r'\s*<link rel="preload" as="font"[^>]*>', "", "browsers refuse it on pages from disk; fonts load without it"),
    (r'\s*<script src="[^"]*fontawesome[^"]*"></script>', "", "1.5 MB that draw the icons which the font draws, too"),
    (r'\s*<link rel="preload" as="script"[^>]*fontawesome[^>]*>', "", "the same"),
    (r"<th[^>]*>\s*(?:<p></p>)?\s*</th>", "<td></td>", "an empty corner of a table heads nothing"),
    (r'<summary>(?=<span class="toctree-toggle")', '<summary aria-label="Pages below">', "a button needs a name"),
    (r'role="doc-biblioentry"', 'role="listitem"', "a list has items"),
    (
        r'<div class="bd-sidebar-primary bd-sidebar([^"]*)">',
        r'<div class="bd-sidebar-primary bd-sidebar\1" role="region" aria-label="Book">',
        "all text stands in a landmark",
    ),
    (r"(?<=\s)<dl>\s*<dd>(?=<em)", '<span class="sig-list">\n<span class="sig-item">', "a signature is no list"),
    (r"<dd>(?=<em)", '<span class="sig-item">', "the same"),
    (r"(?<=</em>),</dd>", ",</span>", "the same"),
    (r"(?<=</em>,</span>)\s*</dl>", "</span>", "the same"),
]


def drop_thebe(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree) -> None:
    """Remove Thebe's scripts from the page about to be written."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "THEBE_JS_URL" not in (getattr(script, "attributes", {}).get("body") or "")
        and "thebe" not in str(getattr(script, "filename", None) or "")
    ]


def mended(page: str) -> str:
    """A page without what `MENDS` lists."""
    for pattern, replacement, _ in MENDS:
        page = re.sub(pattern, replacement, page)
    return page


def mend_pages(app: Sphinx, exception: Exception | None) -> None:
    """Mend every page written; show saved widgets as plain HTML; bring the icons in use alone."""
    if exception or app.builder.format != "html":
        return
    root = Path(app.outdir)
    pages = {path: path.read_text(encoding="utf-8") for path in root.rglob("*.html")}
    thin_icons(root / "_static", "".join(pages.values()))
    for path, page in pages.items():
        run = "../" * (len(path.relative_to(root).parts) - 1) + "book/how_to_run.html"
        path.write_text(frozen(mended(page), run), encoding="utf-8")


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
    app.connect("build-finished", mend_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
