"""Where the tests find the book: its sources, its notebooks, its built pages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "book" / "_build" / "html"
BUILT = ROOT / "book" / "_build" / "built"  # written by tools/build_book.py without a warning
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PATIENCE = 300
"""Seconds that a test waits for what should appear: a bound for what hangs, not for what is slow on a busy machine."""

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def skip_or_fail(reason: str, *, fail: bool) -> None:
    """On a reader's machine a missing piece skips a test; where it is required, it fails."""
    (pytest.fail if fail else pytest.skip)(reason)


def require_book() -> None:
    """Skip a test of the built pages where there are none (fail under `make test`)."""
    if not BUILT.exists():
        required = IN_CI or os.environ.get("BOOK_REQUIRED") == "1"
        skip_or_fail("the book is not built, or with warnings: run `make book`", fail=required)


def contents() -> list[str]:
    """The book's documents in reading order, as `_toc.yml` names them."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *(page["file"] for c in chapters for page in [c, *c.get("sections", [])])]
