"""A chapter links a word of the field to the glossary where its prose first uses it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import prose
import pytest
from book_pages import NOTEBOOKS, ROOT

GLOSSARY = (ROOT / "book" / "notation.md").read_text(encoding="utf-8").split("```{glossary}")[1]

#: Terms that chapters link, and the words that stand for them where they are not the term itself and its plural.
TERMS = {
    "Adam": "Adam",
    "backpropagation": "",
    "backpropagation through time": "back-?propagation through time",
    "barren plateau": "",
    "batch": "batch(?:es)?",
    "causal cut": "",
    "channel": "",
    "climate": "",
    "closed loop": "closed[ -]loops?",
    "dead angle": "",
    "decoder": "",
    "density matrix": "density matri(?:x|ces)",
    "directional shift": "",
    "echo-state network": "",
    "encoder": "",
    "entanglers": "entanglers|entangling gates",
    "epoch": "",
    "finite difference": "",
    "gate": "",
    "GRU": "",
    "isometry": "isometr(?:y|ies)",
    "Kaplan–Yorke dimension": "",
    "ket": "",
    "Kraus operators": "Kraus operators?",
    "Kuramoto–Sivashinsky equation": "Kuramoto–Sivashinsky(?: equation)?",
    "learning rate": "",
    "ledger": "",
    "loss": "loss(?:es)?",
    "Lyapunov spectrum": "",
    "Lyapunov time": "",
    "maximally mixed state": "maximally mixed(?: state)?",
    "measurement": "",
    "memory qubits": "memory qubits?",
    "mid-circuit measurement and reset": "resets?",
    "NRMSE": "",
    "observer": "",
    "overfitting": "",
    "patch forecast": "",
    "Pauli matrices": "Pauli (?:matrices|strings?)",
    "Pauli rotation": "",
    "persistence": "",
    "purity": "",
    "quadratic autoregression": "",
    "qubit": "",
    "random coordinates": "random coordinates?",
    "reading noise": "",
    "readout qubits": "readout qubits?",
    "reduced forecast": "",
    "ridge readout": "ridge (?:readout|regression)s?",
    "seed": "",
    "shift rule": "parameter-shift|shift rules?",
    "shot": "",
    "SPSA": "",
    "step circuit": "",
    "teacher forcing": "teacher[ -]forc(?:ing|ed)",
    "trace distance": "",
    "unital": "",
    "unitary": "unitar(?:y|ies)",
    "valid prediction time": "",
    "validation": "",
    "washout": "",
}
PATTERN = re.compile(
    r"(?<![\w-])(?:"
    + "|".join(
        f"(?P<t{k}>{words or re.escape(term) + 's?'})"
        for k, (term, words) in sorted(enumerate(TERMS.items()), key=lambda item: -len(item[1][0]))
    )
    .replace(" ", r"\s+")
    .replace(r"\\s+", r"\s+")
    + r")(?![\w-])",
    re.I,
)
LINK = re.compile(r"\{term\}`(?:[^`<]*<(?P<target>[^>]+)>|(?P<plain>[^`]+))`")


def unlinked(source: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Terms whose first use in the prose is no link, each with that use."""
    read = prose.blank(prose.prose(source), prose.TABLE)
    events = [(m.start(), (m["target"] or m["plain"]).lower(), None) for m in LINK.finditer(source)]
    for match in PATTERN.finditer(read):
        term = list(TERMS)[int(match.lastgroup[1:])]
        events.append((match.start(), term.lower(), (term, match)))
    seen = set()
    for _, name, use in sorted(events, key=lambda event: event[0]):
        if name not in seen and use is not None:
            yield use
        seen.add(name)


LINKED = NOTEBOOKS
"""The chapters of the course; those behind them are for readers who have come through it, or for one question."""


@pytest.mark.parametrize("path", LINKED, ids=lambda path: path.stem)
def test_first_use_of_a_term_is_a_link(path):
    assert not [f"{match[0]} -> {{term}}`{term}`" for term, match in unlinked(prose.markdown(path))]


def test_every_listed_term_is_in_the_glossary():
    defined = set(re.findall(r"^(?! |`)(.+)$", GLOSSARY, re.M))
    assert set(TERMS) <= defined


def test_links_lead_to_terms():
    defined = {line.lower() for line in re.findall(r"^(?! |`)(.+)$", GLOSSARY, re.M)}
    texts = [prose.markdown(path) for path in NOTEBOOKS] + [page.read_text() for page in (ROOT / "book").glob("*.md")]
    linked = {(m["target"] or m["plain"]).lower() for text in texts for m in LINK.finditer(text)}
    assert linked and linked <= defined


def test_an_unlinked_term_is_seen():
    page = "# A shot\n\n`shot`, $shot$. {term}`Shots <shot>` cost, a shot less.\n\nTwo memory qubits and a qubit."
    assert [term for term, _ in unlinked(page)] == ["memory qubits", "qubit"]
