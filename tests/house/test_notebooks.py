"""Rules that every chapter keeps, read from the committed notebooks without running them."""

import json
import re

import nbformat
import pytest
from book_pages import NOTEBOOKS, ROOT, contents

# Cells whose stored outputs are not compared, by notebook and first line of code, with the
# reason. Keep it short: whatever stands here is checked by nobody. Any other cell that carries
# one of the tags below makes the test fail, and so does an entry that no cell needs.
EXEMPT: dict[tuple[str, str], str] = {
    ("11_training", "panel.TrainingPanel()"): "a widget's view has a new id in every run",
    ("21_side_by_side", "panel.RacePanel()"): "the same",
    ("21_side_by_side", "def seconds(work):"): "a ratio of times, of this machine",
}
EXEMPTING_TAGS = {"nbval-ignore-output", "nbval-skip", "nbval-raises-exception"}

LONGEST_CELL = 25
LARGEST_NOTEBOOK = 1_000_000

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def code_cells(path) -> list:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def first_line(cell) -> str:
    return next((line for line in cell.source.splitlines() if line.strip()), "")


def pictures(cell) -> list:
    return [o for o in cell.outputs if any(k.startswith("image/") for k in o.get("data", {}))]


def test_every_chapter_is_in_the_contents():
    listed = {d for d in contents() if d.startswith("notebooks/")}
    assert {p.relative_to(ROOT).with_suffix("").as_posix() for p in NOTEBOOKS} == listed


def test_only_listed_cells_are_exempt_from_comparison():
    tagged = {
        (path.stem, first_line(cell))
        for path in NOTEBOOKS
        for cell in code_cells(path)
        if EXEMPTING_TAGS & set(cell.metadata.get("tags", []))
    }
    assert tagged == set(EXEMPT)


@each_notebook
def test_no_cell_hides_behind_a_comment(path):
    """nbval also takes its orders from comments; here only tags count."""
    for cell in code_cells(path):
        assert not re.search(r"^\s*#\s*NBVAL_", cell.source, re.M), first_line(cell)


@each_notebook
def test_is_executed_in_order_without_error(path):
    cells = [c for c in code_cells(path) if c.source.strip()]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error", first_line(cell)
            assert output.get("name") != "stderr", f"warning below: {first_line(cell)}"
        assert "execution" not in cell.metadata, "timings change in every run"


@each_notebook
def test_cells_are_short_and_notebook_is_small(path):
    for cell in code_cells(path):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= LONGEST_CELL, f"{len(lines)} lines: {first_line(cell)}"
    assert path.stat().st_size < LARGEST_NOTEBOOK


@each_notebook
def test_pictures_have_caption_name_and_alternative_text(path):
    for cell in code_cells(path):
        found = pictures(cell)
        if not found:
            continue
        meta = cell.metadata.get("mystnb", {})
        assert len(found) == 1, f"one picture a cell: {first_line(cell)}"
        assert meta.get("image", {}).get("alt", "").strip(), f"no alt: {first_line(cell)}"
        figure = meta.get("figure", {})
        assert figure.get("caption") and figure.get("name"), f"no caption: {first_line(cell)}"


def test_glued_names_are_unique_and_printed():
    seen = {}
    for path in NOTEBOOKS:
        for cell in code_cells(path):
            text = "".join(o.get("text", "") for o in cell.outputs)
            for output in cell.outputs:
                name = output.get("metadata", {}).get("scrapbook", {}).get("name")
                if name is None:
                    continue
                assert name not in seen, f"{name} in {path.stem} and {seen[name]}"
                seen[name] = path.stem
                assert f"{name} = " in text, f"{name} is glued but not printed"


def test_same_kernel_and_no_paths_of_this_machine():
    for path in NOTEBOOKS:
        notebook = json.loads(path.read_text())
        assert notebook["metadata"]["kernelspec"]["name"] == "python3"
        assert str(ROOT) not in path.read_text()
