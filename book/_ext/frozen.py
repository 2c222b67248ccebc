"""Saved widgets as plain HTML: what a reader without a kernel can have of them, for a few hundred bytes.

The widget manager weighs 3.6 MB, and what it shows does nothing without a kernel. So a page shows the knobs
disabled, as they stood when the book was built, what the panel showed, and where the knobs work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any

STATE = re.compile(r'\s*<script type="application/vnd\.jupyter\.widget-state\+json">(.*?)</script>', re.S)
VIEW = re.compile(r'<script type="application/vnd\.jupyter\.widget-view\+json">(.*?)</script>', re.S)
NOTE = (
    '<p class="frozen-note">These knobs need a kernel. On this page they show the state in which the panel was saved; '
    '<a href="{run}">in JupyterLab</a> they work.</p>'
)

States = Mapping[str, Mapping[str, Any]]


def frozen(page: str, run: str) -> str:
    """The page with its saved widgets as plain HTML; `run` leads to the page that tells how to run a chapter."""
    found = STATE.search(page)
    states: States = json.loads(found[1])["state"] if found else {}
    note = NOTE.format(run=escape(run))

    def panel(view: re.Match[str]) -> str:
        model = json.loads(view[1])["model_id"]
        return f'<div class="frozen-panel" role="group" aria-label="Panel">{note}{drawn(model, states)}</div>'

    return VIEW.sub(panel, STATE.sub("", page))


def drawn(model: str, states: States) -> str:
    """A widget, and what it contains."""
    kind, state = states[model]["model_name"], states[model]["state"]
    if "children" in state:
        inside = "".join(drawn(child.removeprefix("IPY_MODEL_"), states) for child in state["children"])
        return f"<div>{inside}</div>"
    if kind == "HTMLModel":
        return f"<div>{state.get('value', '')}</div>"
    if kind == "ButtonModel":
        return f'<button type="button" disabled>{escape(state.get("description", ""))}</button>'
    return knob(kind, state)


def knob(kind: str, state: Mapping[str, Any]) -> str:
    """A disabled control with its label; nothing for what only shows progress."""
    name = escape(state.get("description", ""))
    if kind.endswith("SliderModel"):
        value = f"{state['value']:g}"
        low, high = state["min"], state["max"]
        if "Log" in kind:
            low, high = state["base"] ** low, state["base"] ** high
        control = f'<input type="range" disabled min="{low:g}" max="{high:g}" step="any" value="{value}">'
        return f"<label><span>{name}</span> {control} {value}</label>"
    if "_options_labels" in state and state.get("index") is not None:
        chosen = escape(str(state["_options_labels"][state["index"]]))
        return f"<label><span>{name}</span> <select disabled><option>{chosen}</option></select></label>"
    return ""
