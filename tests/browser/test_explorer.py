"""The explorer of costs: by mouse and by keyboard, its figures checked against the law in Python."""

from __future__ import annotations

import pandas as pd
import pytest
from browsing import offline

from qrnn_helpers.backends import charge
from qrnn_helpers.show import cost_explorer

MACHINES = ("ibm_fez", "braket_aria", "azure_quantinuum")
GATES = (10, 5, 3)


def laws() -> pd.DataFrame:
    parts = {"circuit": (1, 0, 0), "shot": (0, 1, 0), "job": (0, 0, 1)}
    names = [(what, part) for part in parts for what in ("seconds", "money")]
    found = {
        machine: {f"{what}_{part}": float(charge(machine, *parts[part], gates=GATES)[what]) for what, part in names}
        for machine in MACHINES
    }
    return pd.DataFrame(found).T


def number(text: str) -> float:
    return float(text.replace(",", ""))


@pytest.fixture
def page(browser, tmp_path):
    path = tmp_path / "costs.html"
    path.write_text(f'<meta charset="utf-8">{cost_explorer(laws(), caption="Costs.")._repr_html_()}')
    with offline(browser, path) as visit:
        yield visit.page
        assert not visit.complaints and not visit.requests


def shown(page) -> dict[str, str]:
    return {each.get_attribute("data-value"): each.inner_text() for each in page.locator("[data-value]").all()}


def settings(page) -> list[float]:
    return [number(page.locator(f"[data-knob={name}] + output").inner_text()) for name in ("circuits", "shots", "jobs")]


def check(page) -> None:
    """Every figure is the law's, to the three digits that are shown."""
    circuits, each, jobs = settings(page)
    values = shown(page)
    assert number(values["all"]) == pytest.approx(circuits * each, rel=2e-2)
    for place, machine in enumerate(MACHINES):
        bill = charge(machine, circuits, circuits * each, jobs, gates=GATES)
        assert number(values[f"money-{place}"]) == pytest.approx(bill["money"], rel=2e-2)
        known = values[f"hours-{place}"] != "not known"
        assert known == (machine == "ibm_fez")
        if known:
            assert number(values[f"hours-{place}"]) == pytest.approx(bill["seconds"] / 3600, rel=2e-2)


def test_figures_are_those_of_the_law_by_keyboard_and_by_mouse(page):
    check(page)
    before = shown(page)
    knob = page.locator("[data-knob=shots]")
    knob.focus()
    page.keyboard.press("ArrowRight")
    assert settings(page)[1] == 128 and knob.get_attribute("aria-valuetext") == "128"
    assert shown(page) != before
    check(page)
    box = page.locator("[data-knob=circuits]").bounding_box()
    page.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    assert settings(page)[0] == 100
    check(page)


def test_laws_that_lack_a_column_are_refused():
    with pytest.raises(ValueError, match="laws must have the columns .*; it lacks money_shot"):
        cost_explorer(laws().drop(columns="money_shot"))
