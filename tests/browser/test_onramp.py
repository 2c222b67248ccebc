"""The explorers of the pages that lead into the book: moved by the keyboard, checked against Qiskit and torch."""

from __future__ import annotations

import math
import re

import browsing
import pytest
import torch
from book_pages import ROOT
from qiskit import QuantumCircuit
from qiskit.quantum_info import DensityMatrix, Operator, Pauli, Statevector, partial_trace

SCRIPT = ROOT / "book" / "_static" / "onramp.js"
PAGES = {"two-qubits": "book/qubit.md", "two-weights": "book/recurrent.md"}


@pytest.fixture
def explorer(browser, tmp_path):
    """Opens an explorer on a page that holds nothing else."""
    visits = []

    def opened(name: str):
        path = tmp_path / f"{name}.html"
        path.write_text(
            f'<meta charset="utf-8"><figure data-explorer="{name}"></figure><script src="{SCRIPT.as_uri()}"></script>'
        )
        visit = browsing.offline(browser, path)
        visits.append((visit, visit.__enter__()))
        return visits[-1][1].page

    yield opened
    for manager, visit in visits:
        assert not visit.complaints and not visit.requests
        manager.__exit__(None, None, None)


def press(page, knob: str, key: str, times: int = 1) -> None:
    page.locator(f"#{knob}").focus()
    for _ in range(times):
        page.keyboard.press(key)


def values(page) -> dict[str, float]:
    cells = page.locator("td[data-value]").all()
    return {cell.get_attribute("data-value"): float(cell.inner_text()) for cell in cells}


def by_qiskit(turn: float, phase: float, look: float, steps: int) -> dict[str, float]:
    """The same circuit with density matrices; qubit 0 is the memory, qubit 1 the readout."""
    block = QuantumCircuit(2)
    block.ry(turn, 0)
    block.rz(phase, 0)
    block.cry(look, 0, 1)
    memory = DensityMatrix(Statevector.from_label("0"))
    for _ in range(steps):
        both = DensityMatrix.from_label("0").tensor(memory).evolve(Operator(block))
        joint = both.probabilities()
        memory = partial_trace(both, [1])
    bloch = [memory.expectation_value(Pauli(name)).real for name in "XYZ"]
    names = ("one", "p00", "p10", "p11", "x", "y", "z", "length")
    return dict(zip(names, (joint[2] + joint[3], joint[0], joint[1], joint[3], *bloch, math.hypot(*bloch))))


def test_two_qubits_agree_with_qiskit(explorer):
    """Knobs are moved by the keyboard alone, to angles of no symmetry."""
    page = explorer("two-qubits")
    press(page, "q-turn", "ArrowRight", 3)  # 60 + 3 * 5 degrees
    press(page, "q-phase", "ArrowLeft", 5)
    press(page, "q-look", "ArrowRight", 4)
    press(page, "q-steps", "ArrowRight", 3)
    told = [
        page.locator(f"#{name}").get_attribute("aria-valuetext") for name in ("q-turn", "q-phase", "q-look", "q-steps")
    ]
    assert told == ["75°", "-25°", "110°", "4"]
    expected = by_qiskit(*(math.radians(v) for v in (75, -25, 110)), steps=4)
    assert values(page) == pytest.approx(expected, abs=6e-4)


def test_a_full_look_leaves_no_phase_and_no_look_leaves_all(explorer):
    page = explorer("two-qubits")
    press(page, "q-look", "End")
    seen = values(page)
    assert seen["x"] == 0 and seen["p11"] == seen["one"] == pytest.approx(0.25)
    press(page, "q-look", "Home")
    seen = values(page)
    assert seen["length"] == 1 and seen["one"] == 0


def mulberry32(seed: int):
    """The page's random numbers, by Tommy Ettinger's definition, in Python's integers."""

    def signed(n: int) -> int:
        return (n + 2**31) % 2**32 - 2**31

    def times(a: int, b: int) -> int:
        return signed(a * b)

    def right(n: int, bits: int) -> int:
        return (n % 2**32) >> bits

    while True:
        seed = signed(seed + 0x6D2B79F5)
        t = times(seed ^ right(seed, 15), seed | 1)
        t = signed(t ^ signed(t + times(t ^ right(t, 7), t | 61)))
        yield right(t ^ right(t, 14), 0) / 2**32


def normal(random) -> float:
    return math.sqrt(-2 * math.log(1 - next(random))) * math.cos(2 * math.pi * next(random))


def states(weights: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    h, rows = torch.zeros_like(inputs[:, 0]), []
    for x in inputs.T:
        h = weights[0] * h + weights[1] * x
        rows.append(h)
    return torch.stack(rows, 1)


def series(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random, inputs, wanted = mulberry32(seed), [], []
    for _ in range(8):
        inputs.append([2 * next(random) - 1 for _ in range(8)])
        clean = states(torch.tensor([0.7, 1.0], dtype=torch.float64), torch.tensor(inputs[-1:], dtype=torch.float64))
        wanted.append([h.item() + 0.1 * normal(random) for h in clean[0]])
    return torch.tensor(inputs, dtype=torch.float64), torch.tensor(wanted, dtype=torch.float64)


def by_torch(optimiser: type[torch.optim.Optimizer], rate: float, noise: float, epochs: int) -> dict[str, float]:
    """The same training with torch's own optimisers and slopes."""
    (x, y), (other_x, other_y), random = series(1), series(2), mulberry32(3)
    weights = torch.tensor([0.1, 0.3], dtype=torch.float64, requires_grad=True)
    update = optimiser([weights], lr=rate)
    for first in list(range(0, 8, 2)) * epochs:
        update.zero_grad()
        (states(weights, x[first : first + 2]) - y[first : first + 2]).square().mean().backward()
        weights.grad += noise * torch.tensor([normal(random), normal(random)], dtype=torch.float64)
        update.step()
    with torch.no_grad():
        losses = [(states(weights, a) - b).square().mean().item() for a, b in ((x, y), (other_x, other_y))]
    w, v = weights.tolist()
    return {"training": losses[0], "validation": losses[1], "w": w, "v": v}


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["descent", "adam"])
def test_two_weights_agree_with_torch(explorer, kind, noise):
    page = explorer("two-weights")
    page.locator("#n-kind").focus()
    page.locator("#n-kind").select_option(kind)
    press(page, "n-noise", "ArrowRight", round(10 * noise))
    press(page, "n-epochs", "ArrowLeft", 10)
    expected = by_torch({"descent": torch.optim.SGD, "adam": torch.optim.Adam}[kind], 0.1, noise, epochs=20)
    assert values(page) == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("name", PAGES)
def test_every_knob_has_a_label_and_every_picture_a_text(explorer, name):
    page = explorer(name)
    assert all(page.eval_on_selector_all("input, select", "all => all.map(e => e.labels.length === 1)"))
    pictures = page.locator("svg").all()
    assert pictures and all(len(svg.get_attribute("aria-label")) > 20 for svg in pictures)


def test_knobs_work_by_mouse(explorer):
    page = explorer("two-qubits")
    before = page.locator("svg").first.get_attribute("aria-label")
    box = page.locator("#q-turn").bounding_box()
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    assert page.locator("svg").first.get_attribute("aria-label") != before


@pytest.mark.parametrize(("name", "page"), PAGES.items())
def test_pages_hold_their_explorer(name, page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert f'data-explorer="{name}"' in text and re.search(r'<script src="\.\./_static/onramp\.js">', text)
