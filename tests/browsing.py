"""A browser with the network closed, and pages opened in it from disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from book_pages import PATIENCE

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = (1280, 390)
"""Of a laptop's window and of a telephone, in pixels: no page is wider."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def browser_path() -> str | None:
    """`$CHROMIUM`, or the first browser of the family that is installed."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


@dataclass
class Visit:
    """A page opened with the network closed: what it loaded, what it tried outside, and what it complained about."""

    page: object
    loaded: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def weight(self) -> int:
        """Bytes of the page and of all that it loaded from disk."""
        return sum(Path(path).stat().st_size for path in self.loaded if Path(path).is_file())


def new_page(browser, **options):
    """A page in a context of its own, patient in whatever it waits for."""
    context = browser.new_context(**options)
    context.set_default_timeout(1000 * PATIENCE)
    return context.new_page()


@contextmanager
def offline(browser, path: Path, **options) -> Iterator[Visit]:
    """Open a built page from disk; what is asked of the network is noted, and not answered."""
    visit = Visit(new_page(browser, offline=True, **options))
    context = visit.page.context

    def note(request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme == "file":
            visit.loaded.add(unquote(parts.path))
        elif parts.scheme not in {"data", "blob"}:
            visit.requests.append(request.url)

    visit.page.on("request", note)
    visit.page.on("console", lambda m: m.type == "error" and visit.complaints.append(m.text))
    visit.page.on("pageerror", lambda e: visit.complaints.append(str(e)))
    visit.page.goto(path.as_uri(), wait_until="load")
    visit.page.evaluate("document.fonts.ready.then(() => true)")
    yield visit
    context.close()


def typeset(page) -> None:
    """Wait until MathJax, where the page has it, is through."""
    page.evaluate("window.MathJax?.startup?.promise?.then(() => true)")
