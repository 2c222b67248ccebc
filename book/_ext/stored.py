"""The table of stored results, computed from the records when the book is built."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from sphinx.application import Sphinx

DATA = Path(__file__).resolve().parents[2] / "data"
MARK = "% stored results"
STATES = {False: "as committed", True: "**not as committed**", None: "not known"}
HEAD = ["| command | commit | code | machine | made | results | core-minutes |", "|---|---|---|---|---|--:|--:|"]


def cards(data: Path) -> list[dict]:
    """Of each record: folder, commit, state of the code, machine, day, and core-seconds or, in older ones, seconds."""
    found = []
    for path in sorted(data.glob("*/*.json")):
        if "apart" not in (record := json.loads(path.read_text(encoding="utf-8"))):
            continue  # times of `make bench`, no result of the study
        apart, origin = record["apart"], record["apart"]["provenance"]
        code, machine = origin["code"], origin["machine"]
        found.append(
            {
                "folder": path.parent.name,
                "commit": (code["commit"] or "none")[:7],
                "state": STATES[code["dirty"]],
                "machine": f"{machine['processor']}, {machine['cpus']} cores",
                "day": machine["time"][:10],
                "seconds": apart.get("core_seconds", apart.get("seconds")),
            }
        )
    return found


def minutes(cards: list[dict]) -> str:
    spent = [card["seconds"] for card in cards]
    return "not kept" if None in spent else f"{sum(spent) / 60:,.1f}"


def table(data: Path = DATA) -> list[str]:
    """Markdown: a row for the results of one folder that share commit, state of the code, machine and day."""
    groups = defaultdict(list)
    for card in cards(data):
        groups[tuple(card[name] for name in ("folder", "day", "commit", "state", "machine"))].append(card)
    return HEAD + [
        f"| `run {folder}` | `{commit}` | {state} | {machine} | {day} | {len(group)} | {minutes(group)} |"
        for (folder, day, commit, state, machine), group in sorted(groups.items())
    ]


def insert(app: Sphinx, docname: str, source: list[str]) -> None:
    if MARK in source[0]:
        source[0] = source[0].replace(MARK, "\n".join(table()))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", insert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
