"""Widgets that compute in the page itself: plain JavaScript beside its data, without kernel or network."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from typing import Any

from ..checks import check_instance, check_one_of

KINDS = ("decision", "plane", "wave")

_PAGE = """\
<style>{style}</style>
<div class="page-widget" id="{key}" data-widget="{kind}">
<p class="page-waiting">This part computes in the page, and needs JavaScript.</p>
<script type="application/json">{data}</script>
</div>
<script>{script}</script>"""


class PageWidget:
    """A widget as HTML; made by `page_widget`, its value as a notebook output is what counts."""

    def __init__(self, kind: str, page: str) -> None:
        self._kind, self._page = kind, page

    def _repr_html_(self) -> str:
        return self._page

    def __repr__(self) -> str:
        return f"<PageWidget: {self._kind}>"


def page_widget(kind: str, data: dict[str, Any]) -> PageWidget:
    """A widget of a kind with its data; make it the last value of a cell.

    The script of the kind stands in the package's folder ``show/page``, with what widgets share in ``page.js``.

    Parameters
    ----------
    kind
        Which script: one of `KINDS`.
    data
        What the script computes from, as JSON holds it (no NaN).

    Raises
    ------
    ValueError
        An unknown kind, or a number that JSON has no word for.
    TypeError
        Data that JSON does not hold.
    """
    check_one_of("kind", kind, KINDS)
    text = _json(check_instance("data", data, dict, "a dict"))
    key = f"{kind}-" + hashlib.sha256(text.encode()).hexdigest()[:8]
    script = source("page.js") + source(f"{kind}.js")
    page = _PAGE.format(style=source("page.css"), key=key, kind=kind, data=text, script=script)
    return PageWidget(kind, page)


def _json(data: dict[str, Any]) -> str:
    """Data as text that may stand inside a script."""
    try:
        return json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    except (TypeError, ValueError) as error:
        raise type(error)(f"data must be what JSON holds, without NaN; {error}") from error


def source(name: str) -> str:
    """A file of the folder of scripts."""
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")
