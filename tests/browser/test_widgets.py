"""Widgets that compute in the page: by mouse and by keyboard, on a laptop and on a telephone, beside Python."""

from __future__ import annotations

import json
import math
import re
from contextlib import contextmanager

import nbformat
import numpy as np
import pytest
from book_pages import ROOT
from browsing import WIDTHS, offline
from decision_runs import runs

from qrnn_helpers.show import page_widget
from qrnn_helpers.study import answer, decision

PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>a page</title><main>{}</main></html>'


@contextmanager
def shown(browser, tmp_path, html: str, width: int = 1280):
    """A page that holds a widget, with the network closed; nothing asked for, nothing complained about."""
    path = tmp_path / "page.html"
    path.write_text(PAGE.format(html), encoding="utf-8")
    with offline(browser, path, viewport={"width": width, "height": 900}) as visit:
        yield visit.page
        assert not visit.requests and not visit.complaints


def stored_outputs(name: str) -> str:
    """The HTML that a chapter's cells put out, one after the other."""
    chapter = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    outputs = [output for cell in chapter.cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {}))


def widgets(name: str) -> str:
    """A chapter's widgets of this kind, as they are stored."""
    chapter = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    outputs = [output for cell in chapter.cells if cell.cell_type == "code" for output in cell.outputs]
    pages = [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    (found,) = [page for page in pages if 'class="page-widget"' in page]
    return found


def errors(page) -> dict[str, str]:
    """Expected errors by method, as the table has them."""
    rows = page.locator("[data-part=table] tbody tr").all()
    return {row.locator("th").inner_text(): row.locator("td").first.inner_text() for row in rows}


def python_errors(found) -> dict[str, str]:
    return {decision.name(row.arm): f"{'at most ' * row.ended}{row.error}" for row in found.itertuples()}


def set_budget(page, machine: str, unit: str, amount: float) -> None:
    page.get_by_label("Machine").select_option(label=machine)
    page.get_by_label("Budget in").select_option(label=unit)
    page.get_by_label("Budget", exact=True).fill(f"{amount:.12g}")


@pytest.fixture(scope="module")
def data() -> dict:
    return decision.page_data(runs())


def priced(machine: str):
    return decision.priced(decision.rungs(runs()), machine)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_decision_page_shows_what_python_reckons(browser, tmp_path, data, width):
    """Every unit, inside the ladder, at its ends and beyond, for a machine with times and for one without."""
    with shown(browser, tmp_path, page_widget("decision", data)._repr_html_(), width) as page:
        for k, (machine, its) in enumerate(zip(answer.priced_alike(), data["machines"], strict=True)):
            table = priced(machine)
            for unit, axis, scale in (
                ("money, USD", "money", 1),
                ("shots", "shots", 1),
                ("hours on the device", "seconds", 3600),
            ):
                if axis == "seconds" and not its["timed"]:
                    continue
                low, high = table[axis].min() / scale, table[axis].max() / scale
                for part in (-0.1, 0.31, 0.6, 1.1) if k < 2 else (0.5,):
                    amount = float(f"{low * (high / low) ** part:.4g}")
                    set_budget(page, its["label"], unit, amount)
                    assert errors(page) == python_errors(decision.offers(table, axis, amount * scale))
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_decision_page_by_keyboard_alone(browser, tmp_path, data):
    """From control to control by Tab; machines by arrow, a budget by typing, the slider by arrow."""
    with shown(browser, tmp_path, page_widget("decision", data)._repr_html_()) as page:
        focused = "document.activeElement.labels?.[0]?.innerText"
        order = []
        for _ in range(8):
            page.keyboard.press("Tab")
            order.append(page.evaluate(focused))
        assert order == [
            "Machine", "Budget in", "Budget", "Budget by slider",
            "Shots a circuit", "What is learnt", "Qubits", "Steps",
        ]  # fmt: skip
        page.get_by_label("Machine").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Control+a")
        page.keyboard.type("123456")
        machine = list(answer.priced_alike())[1]
        assert errors(page) == python_errors(decision.offers(priced(machine), "money", 123456))
        page.keyboard.press("Tab")
        slider = page.locator("input[type=range]")
        assert slider.get_attribute("aria-valuetext") == "120,000 USD"
        page.keyboard.press("ArrowRight")
        amount = float(page.get_by_label("Budget", exact=True).input_value())
        assert amount > 123456 and slider.get_attribute("aria-valuetext") == page.locator("output").inner_text()
        assert errors(page) == python_errors(decision.offers(priced(machine), "money", amount))


def test_the_decision_page_by_mouse(browser, tmp_path, data):
    with shown(browser, tmp_path, page_widget("decision", data)._repr_html_()) as page:
        box = page.locator("input[type=range]").bounding_box()
        seen = []
        for part in (0.2, 0.7):
            page.mouse.click(box["x"] + part * box["width"], box["y"] + box["height"] / 2)
            amount = float(page.get_by_label("Budget", exact=True).input_value())
            assert errors(page) == python_errors(decision.offers(priced("ibm_fez"), "money", amount))
            seen.append(amount)
        assert seen[1] > 3 * seen[0]


def test_settings_shots_and_costs_are_pythons(browser, tmp_path, data):
    with shown(browser, tmp_path, page_widget("decision", data)._repr_html_()) as page:
        set_budget(page, "IBM, 6 devices", "shots", 2e6)
        row = decision.offers(priced("ibm_fez"), "shots", 2e6).iloc[0]
        cells = page.locator("[data-part=table] tbody tr").first.locator("td").all_inner_texts()
        spent = {name: float(row[name]) for name in ("shots", "circuits", "seconds", "money")}
        assert cells[1] == "1"
        assert cells[2:4] == [answer.count_text(spent["shots"]), answer.count_text(spent["circuits"])]
        assert float(cells[4]) == float(f"{spent['seconds'] / 3600:.2g}") and cells[5] == answer.count_text(
            spent["money"]
        )
        assert cells[6] == "rate 0.02, batch 2, 16 shots a circuit, 2 directions, c 0.1"
        assert cells[7] == "between 1 million shots and 3 million shots"
        page.get_by_label("Shots a circuit").select_option(label="1,024")
        assert errors(page) == {} and "Not measured" in page.locator("[data-part=answer]").inner_text()
        assert "not measured below 410 million shots" in page.locator("[data-part=notes]").inner_text()


def test_what_is_not_measured_is_said(browser, tmp_path, data):
    with shown(browser, tmp_path, page_widget("decision", data)._repr_html_()) as page:
        said = page.locator("[data-part=answer]")
        page.get_by_label("Qubits").fill("6")
        assert "Not measured" in said.inner_text() and "4 qubits, 8 steps" in said.inner_text() and not errors(page)
        assert page.locator("[data-part=angles]").inner_text().startswith(f"{8 * 41} angles")
        page.get_by_label("Qubits").fill("4")
        assert errors(page)
        page.get_by_label("What is learnt").select_option(label="z of Lorenz from x")
        assert "nothing yet" in said.inner_text() and not errors(page)
        page.get_by_label("What is learnt").select_option(index=0)
        set_budget(page, "IonQ Forte (Amazon Braket)", "hours on the device", 3)
        assert "Not known" in said.inner_text() and not errors(page)


def test_random_ladders_give_the_same_in_both_languages(browser, tmp_path, data):
    """Fronts with rungs that others undercut, ties left out: the script's functions beside Python's."""
    generator = np.random.default_rng(0)
    with shown(browser, tmp_path, page_widget("decision", data)._repr_html_()) as page:
        for _ in range(20):
            given = runs()
            given["exact"] *= np.exp(generator.normal(0, 0.3, len(given)))
            given["shots"] *= given.groupby(["arm", "budget"])["shots"].transform(lambda _: generator.uniform(0.2, 5))
            table = decision.priced(decision.rungs(given), "ibm_fez")
            rungs = [
                {
                    key: row[key]
                    for key in ("arm", "ladder", "shots_each", "money", "seconds", "shots", "circuits", "updates")
                }
                | {"logs": row["logs"].tolist()}
                for row in table.to_dict("records")
            ]
            amount = float(np.exp(generator.uniform(*np.log([table["money"].min(), table["money"].max()]))))
            found = page.evaluate(
                "([rungs, arms, amount, q]) => pageWidgets.decision.offers(rungs, arms, 'money', amount, 0, q).rows",
                [rungs, sorted(set(table["arm"])), amount, decision.quantile(12)],
            )
            expected = decision.offers(table, "money", amount)
            assert [row["arm"] for row in found] == list(expected["arm"])
            for mine, row in zip(found, expected.to_dict("records"), strict=True):
                np.testing.assert_allclose(mine["logs"], row["logs"], rtol=1e-9)
                assert mine["ended"] == row["ended"] and math.isclose(mine["shots"], row["shots"], rel_tol=1e-9)


def test_the_chapter_shows_its_own_table(browser, tmp_path):
    """The widget of the stored chapter, from the study's records, beside the table that Python printed below it."""
    with shown(browser, tmp_path, stored_outputs("27_decision")) as page:
        sheet = page.locator("table.dataframe").first
        heads = sheet.locator("thead tr").first.locator("th").all_inner_texts()[2:]
        machine, checked = "", 0
        for row in sheet.locator("tbody tr").all():
            *names, budget = row.locator("th").all_inner_texts()
            machine = names[0] if names else machine
            cells = dict(zip(heads, row.locator("td").all_inner_texts(), strict=True))
            number, million = re.fullmatch(r"([\d.,]+) (million |billion )?USD", budget).groups()
            amount = float(number.replace(",", "")) * {None: 1, "million ": 1e6, "billion ": 1e9}[million]
            set_budget(page, machine, "money, USD", amount)
            known = {decision.name(arm): cells[arm] for arm in heads[3:] if cells[arm] != "not measured"}
            assert errors(page) == known, (machine, budget)
            assert next(iter(errors(page))) == decision.name(cells["best"])
            checked += 1
        assert checked >= 10


# ---------------------------------------------------------------- laws of two variables


def values(box) -> dict[str, float]:
    """What a widget's list says."""
    found = box.locator("dd").all()
    return {each.get_attribute("data-value"): float(each.inner_text().replace(",", "")) for each in found}


def two_digits(found: dict[str, float]) -> dict[str, float]:
    return {name: round(value) if abs(value) >= 10 else float(f"{value:.2g}") for name, value in found.items()}


def spsa_law(p: dict, shots: float, c: float) -> dict[str, float]:
    """Chapter 7: (TP - 1)/m from the directions, TP nu / (2 N c^2 m) from the shots."""
    directions = (p["angles"] - 1) / p["directions"]
    noise = p["angles"] * p["nu"] / (2 * shots * c**2 * p["directions"])
    return {
        "error": directions + noise, "directions": directions, "noise": noise, "damping": math.exp(-p["kappa"] * c**2),
    }  # fmt: skip


def race_law(p: dict, shots: float, c: float) -> dict[str, float]:
    """Chapter 8: the law of SPSA beside V nu / N."""
    spsa, shift = spsa_law(p | {"kappa": 0.0}, shots, c)["error"], p["Vnu"] / shots
    return {"spsa": spsa, "shift": shift, "ratio": spsa / shift}


def batch_law(p: dict, batch: float, scale: float) -> dict[str, float]:
    """Chapter 20: a gain of 1 / (1 + scale / batch) for each update."""
    updates, doubled = 1 + scale / batch, 1 + scale / (2 * batch)
    dearer = 2 * batch * doubled / (batch * updates) - 1
    return {"updates": updates, "samples": batch * updates, "saved": 1 - doubled / updates, "dearer": dearer}


MAPS = {"07_spsa": spsa_law, "08_family": race_law, "20_why": batch_law}


@pytest.mark.parametrize("chapter", MAPS)
def test_a_chapters_map_shows_its_law(browser, tmp_path, chapter):
    """At the start, after arrows and Home on either slider, and after a click on the map."""
    law = MAPS[chapter]
    with shown(browser, tmp_path, widgets(chapter), 390) as page:
        box = page.locator(".page-widget")
        held = json.loads(box.locator('script[type="application/json"]').text_content())

        def check() -> tuple[float, ...]:
            at = tuple(float(text.replace(",", "")) for text in box.locator("output").all_inner_texts())
            assert values(box) == pytest.approx(two_digits(law(held["values"], *at)), rel=1e-9)
            return at

        start = pytest.approx((held["x"]["value"], held["y"]["value"]), rel=0.012)
        assert check() == start  # half a step of a slider
        for slider in box.locator("input").all():
            slider.focus()
            for key in ("Home", "PageUp", "ArrowRight", "End"):
                page.keyboard.press(key)
                check()
        corner = check()
        assert corner == pytest.approx((held["x"]["high"], held["y"]["high"]), rel=0.02)
        area = box.locator("svg").bounding_box()
        page.mouse.click(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
        middle = check()
        assert held["x"]["low"] < middle[0] < corner[0] and held["y"]["low"] < middle[1] < corner[1]
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(("chapter", "equal"), [("07_spsa", ("directions", "noise")), ("08_family", ("spsa", "shift"))])
def test_the_line_on_a_map_is_where_two_errors_are_equal(browser, tmp_path, chapter, equal):
    with shown(browser, tmp_path, widgets(chapter)) as page:
        held = json.loads(page.locator(".page-widget script[type='application/json']").text_content())
        for shots in (1, 16, 64):
            c = page.evaluate(
                "([law, p, shots]) => pageWidgets.plane[law].edge(p, shots)", [held["law"], held["values"], shots]
            )
            found = MAPS[chapter](held["values"], shots, c)
            assert math.isclose(found[equal[0]], found[equal[1]], rel_tol=1e-9)


def test_shifted_points_give_the_slope_of_one_wave_and_not_of_two(browser, tmp_path):
    """RX: exact at every shift; CRX: only the noise law holds."""
    with shown(browser, tmp_path, widgets("06_parameter_shift"), 390) as page:
        box = page.locator(".page-widget")
        held = json.loads(box.locator('script[type="application/json"]').text_content())
        for gate, exact in (("RX", True), ("CRX", False)):
            page.get_by_label("Gate", exact=True).select_option(label=gate)
            for label in ("Angle", "Shift"):
                page.get_by_label(label, exact=True).focus()
                for _ in range(3):
                    page.keyboard.press("ArrowRight")
            angle, shift = (math.pi * float(text.split()[0]) for text in box.locator("output").all_inner_texts())
            (constant, *parts), frequencies = held["waves"][gate]["fit"], held["waves"][gate]["frequencies"]

            def wave(x, constant=constant, parts=parts, frequencies=frequencies):
                pairs = zip(frequencies, parts[::2], parts[1::2], strict=True)
                return constant + sum(a * math.cos(w * x) + b * math.sin(w * x) for w, a, b in pairs)

            slope = (wave(angle + 1e-5) - wave(angle - 1e-5)) / 2e-5
            rule = (wave(angle + shift) - wave(angle - shift)) / (2 * math.sin(shift))
            expected = {"slope": slope, "rule": rule, "variance": 1 / (2 * math.sin(shift) ** 2)}
            assert values(box) == pytest.approx(expected, rel=0.006)
            assert math.isclose(slope, rule, rel_tol=1e-3) == exact
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
