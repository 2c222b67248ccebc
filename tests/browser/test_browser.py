"""What a reader does in the browser: search, sliders, JupyterLab."""

from __future__ import annotations

import json
import os
import re
import runpy
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from book_pages import HTML, PATIENCE, ROOT, require_book
from browsing import new_page, offline

#: Notebook with a live panel, a choice in one of its menus that makes a training long, and the panel's words for it.
PANELS = [
    ("11_training", "shots (0: exact)", "1024", "shots 1024"),
    ("21_side_by_side", "shots of a run", "1,000,000", "budget 1,000,000"),
]
CURVE = ".jp-OutputArea .widget-html img"


@pytest.mark.parametrize(("word", "page"), [("washout", "notebooks/"), ("QRNN", "book/api/models.html")])
def test_search_finds_a_word(browser, word, page):
    require_book()
    with offline(browser, HTML / "search.html") as visit:
        visit.page.goto((HTML / "search.html").as_uri() + f"?q={word}")
        visit.page.wait_for_selector(f"#search-results li a[href*='{page}']")
        assert not visit.requests and not visit.complaints


def pages_with_player() -> list[Path]:
    require_book()
    return [p for p in sorted(HTML.rglob("*.html")) if 'class="frame-player"' in p.read_text()]


def players(page) -> list:
    """Frame players of the page, opened if they sit in a folded block."""
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    return page.locator(".frame-player").all()


def test_slider_changes_the_picture_without_a_kernel(browser):
    paths = pages_with_player()
    assert paths, "the book has a slider that works without a kernel"
    for path in paths:
        with offline(browser, path) as visit:
            for player in players(visit.page):
                image, slider = player.locator("img"), player.locator("input[type=range]")
                before = image.get_attribute("src"), image.get_attribute("alt")
                slider.focus()
                visit.page.keyboard.press("ArrowRight")
                after = image.get_attribute("src"), image.get_attribute("alt")
                assert after[0] != before[0] and after[1] != before[1]
                assert slider.get_attribute("aria-valuetext") == player.locator("output").inner_text()
                visit.page.keyboard.press("Home")
                assert image.get_attribute("src") == before[0]
                box = slider.bounding_box()
                slider.click(position={"x": box["width"] - 2, "y": box["height"] / 2})  # scrolls to it, and waits
                assert slider.input_value() == slider.get_attribute("max") != "0"
            assert not visit.requests and not visit.complaints


@pytest.mark.parametrize(("motion", "name"), [("no-preference", "Pause"), ("reduce", "Next")])
def test_play_button_respects_reduced_motion(browser, motion, name):
    for path in pages_with_player()[:1]:
        with offline(browser, path, reduced_motion=motion) as visit:
            player = players(visit.page)[0]
            button, slider = player.locator("button"), player.locator("input")
            visit.page.clock.install(time=0)
            visit.page.clock.pause_at(24 * 3600)  # from here on its time passes when we say so
            button.click()
            assert button.inner_text() == name and slider.input_value() == "1"
            visit.page.clock.run_for(1300)  # more than two frames, if it plays
            moved = slider.input_value() != "1"
            assert moved is (motion == "no-preference")


# ---------------------------------------------------------------- JupyterLab


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def reader_folder(folder: Path, notebook: str, source: Path) -> Path:
    """A copy of one notebook where its relative paths still hold, and settings of its own."""
    work = folder / "book"
    (work / "notebooks").mkdir(parents=True)
    chapter = nbformat.read(source, as_version=4)
    for cell in chapter.cells:  # no stored outputs: what is seen later was made by this run
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    chapter.metadata.pop("widgets", None)
    nbformat.write(chapter, work / "notebooks" / f"{notebook}.ipynb")
    (work / "data").symlink_to(ROOT / "data")
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    # Keep every cell in the page, so that the test can see cells that are scrolled away.
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    return work


@contextmanager
def jupyterlab(folder: Path, notebook: str, source: Path | None = None) -> Iterator[str]:
    """A JupyterLab on a copy of a chapter, or of another notebook; yields the notebook's address."""
    source = source or ROOT / "notebooks" / f"{notebook}.ipynb"
    work, port = reader_folder(folder, notebook, source), free_port()
    places = {
        name: str(folder / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR",
                     "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")
    }  # fmt: skip
    places["JUPYTERLAB_SETTINGS_DIR"] = str(folder / "settings")
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
        f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
        "--ServerApp.password=", f"--notebook-dir={work}", "--LabApp.news_url=",
    ]  # fmt: skip
    with open(folder / "lab.log", "w") as log:
        server = subprocess.Popen(command, env=os.environ | places, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/api"), server, "JupyterLab to start")
            yield f"http://127.0.0.1:{port}/lab/tree/notebooks/{notebook}.ipynb"
        finally:
            server.terminate()
            server.wait(timeout=PATIENCE)


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=PATIENCE).status == 200
    except OSError:
        return False


def wait_for(ready: Callable[[], bool], server: subprocess.Popen, what: str) -> None:
    """Wait as long as the server lives, within reason."""
    end = time.monotonic() + PATIENCE
    while not ready():
        assert server.poll() is None and time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.2)


def run_all_cells(page) -> None:
    """Run > Run All Cells, then wait until every code cell has its number, or one failed."""
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_selector("#jp-main-statusbar :text('| Idle')")
    # Asked before it has seen its own kernel, JupyterLab offers a choice of kernels.
    choice = page.locator(".jp-Dialog button.jp-mod-accept")
    page.add_locator_handler(choice, lambda: choice.click())
    page.click(".lm-MenuBar-itemLabel:text-is('Run')")
    page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
    failed = ".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']"
    done = f"""document.querySelector("{failed}") || [...document.querySelectorAll(
      '.jp-CodeCell .jp-InputPrompt')].every(e => /\\[\\d+\\]/.test(e.innerText))"""
    page.wait_for_function(done)
    assert page.locator(failed).count() == 0, page.locator(failed).first.inner_text()


@pytest.mark.parametrize(("notebook", "menu", "choice", "words"), PANELS)
def test_live_panel_in_jupyterlab(browser, tmp_path, notebook, menu, choice, words):
    """Open a chapter, run it, move the panel's slider: the curve is drawn anew.  Then stop a longer training."""
    if not (ROOT / "notebooks" / f"{notebook}.ipynb").exists():
        pytest.fail(f"no notebook {notebook}")
    with jupyterlab(tmp_path, notebook) as address:
        page = new_page(browser, viewport={"width": 1400, "height": 1000})
        page.goto(address)
        run_all_cells(page)
        curve = page.locator(CURVE).last
        curve.wait_for()
        before = curve.get_attribute("src")
        handle = page.locator(".jp-OutputArea .widget-slider [role=slider]").first
        handle.scroll_into_view_if_needed()
        handle.focus()
        page.keyboard.press("ArrowRight")
        changed = "([selector, old]) => [...document.querySelectorAll(selector)].at(-1).src !== old"
        page.wait_for_function(changed, arg=[CURVE, before])
        page.locator(".live-knobs .widget-dropdown", has_text=menu).locator("select").select_option(label=choice)
        page.wait_for_selector(f".jp-OutputArea .widget-html:has-text('training with'):has-text('{words}')")
        page.locator(".live-knobs button:text-is('Stop')").click()
        page.wait_for_selector(".jp-OutputArea [role=status]:has-text('Stopped')")
        page.wait_for_function("document.querySelector('.live-knobs button').disabled")
        page.context.close()


def test_a_chapter_reads_right_in_jupyterlab(browser, tmp_path):
    """What `make lab` opens: numbers in the prose, solutions folded until asked for, links, typeset formulas."""
    copies = runpy.run_path(str(ROOT / "tools" / "reading_copies.py"))
    names, chapter = copies["Names"](), ROOT / "notebooks" / "06_parameter_shift.ipynb"
    copies["write"](chapter, tmp_path / chapter.name, names)
    with jupyterlab(tmp_path, chapter.stem, tmp_path / chapter.name) as address:
        page = new_page(browser, viewport={"width": 1400, "height": 1000})
        page.goto(address)
        page.wait_for_selector(".jp-RenderedMarkdown h2")
        page.wait_for_selector(".jp-RenderedMarkdown mjx-container")
        text = "\n".join(page.locator(".jp-RenderedMarkdown").all_inner_texts())
        assert not re.findall(r"\{[a-z:-]+\}|:label:|:class:", text)
        assert page.locator(".jp-RenderedMarkdown a[href*='07_spsa']").count()
        for value in glued_in(chapter, names):
            assert value in text.replace("\xa0", " "), value
        hidden = page.locator(".jp-Cell.jp-mod-noCollapse, .jp-Notebook .jp-Cell >> visible=true")
        before = hidden.count()
        heading = page.locator(".jp-MarkdownCell", has_text="Solution of exercise").first
        heading.scroll_into_view_if_needed()
        heading.locator(".jp-collapseHeadingButton, .jp-showHiddenCellsButton").first.dispatch_event("click")
        page.wait_for_function("n => [...document.querySelectorAll('.jp-Notebook .jp-Cell')].filter("
                               "c => c.checkVisibility()).length > n", arg=before)  # fmt: skip
        page.context.close()


def glued_in(chapter: Path, names) -> list[str]:
    """Plain numbers that a chapter's prose, solutions left out, quotes."""
    cells = nbformat.read(chapter, as_version=4).cells
    text = "".join(c.source for c in cells if c.cell_type == "markdown").partition("## Exercises")[0]
    values = [names.values[key] for key in re.findall(r"\{glue:text\}`([\w-]+)`", text)]
    found = [value for value in values if re.fullmatch(r"[\d.,]+", value)]
    assert found
    return found
