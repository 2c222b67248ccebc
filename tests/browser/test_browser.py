"""What a reader's browser sees: pages with the network closed, sliders, JupyterLab.

One file on purpose: one browser for all of it (`--dist loadfile` keeps it on one worker),
closed before another test file starts, because Playwright keeps an event loop running.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import playwright.sync_api as playwright_api
import pytest
from book_pages import HTML, IN_CI, PATIENCE, ROOT, contents, require_book, skip_or_fail

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

WIDTHS = (1280, 390)
"""Of a laptop's window and of a telephone, in pixels: no page is wider."""

#: Notebook with a live panel, and how to find the panel's parts in JupyterLab.
PANELS = [("11_training", ".jp-OutputArea .widget-html img")]


def browser_path() -> str | None:
    """`$CHROMIUM`, or the first browser of the family that is installed."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """One Chromium for the module."""
    path = browser_path()
    if path is None:
        skip_or_fail("no Chromium: install it (apt install chromium) or set CHROMIUM", fail=IN_CI)
    with playwright_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@dataclass
class Visit:
    """A page opened with the network closed, and what it tried or complained about."""

    page: object
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def new_page(browser, **options):
    """A page in a context of its own, patient in whatever it waits for."""
    context = browser.new_context(**options)
    context.set_default_timeout(1000 * PATIENCE)
    return context.new_page()


@contextmanager
def offline(browser, path: Path, **options) -> Iterator[Visit]:
    """Open a built page from disk; everything that is not a file is refused and noted."""
    visit = Visit(new_page(browser, **options))
    context = visit.page.context

    def gate(route) -> None:
        if route.request.url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            visit.requests.append(route.request.url)
            route.abort()

    context.route("**/*", gate)
    visit.page.on("console", lambda m: m.type == "error" and visit.complaints.append(m.text))
    visit.page.on("pageerror", lambda e: visit.complaints.append(str(e)))
    visit.page.goto(path.as_uri(), wait_until="load")
    visit.page.evaluate("document.fonts.ready.then(() => true)")
    yield visit
    context.close()


def typeset(page) -> None:
    """Wait until MathJax, where the page has it, is through."""
    page.evaluate("window.MathJax?.startup?.promise?.then(() => true)")


def has_saved_widgets(page) -> bool:
    selector = 'script[type="application/vnd.jupyter.widget-view+json"]'
    return page.locator(selector).count() > 0


@pytest.mark.parametrize("document", [*contents(), "genindex", "search"])
def test_page_works_offline(browser, document):
    require_book()
    with offline(browser, HTML / f"{document}.html") as visit:
        page = visit.page
        typeset(page)
        if has_saved_widgets(page):
            page.wait_for_selector(".widget-subarea .jupyter-widgets")
        raw = page.locator(".math").filter(has_not=page.locator("mjx-container"))
        assert raw.count() == 0, f"formula not typeset: {raw.first.inner_text()}"
        assert page.locator("mjx-merror").count() == 0
        unknown = page.locator("mjx-assistive-mml [mathcolor=red]").all_text_contents()
        assert not unknown, f"TeX command that MathJax does not know: {unknown}"
        page.wait_for_function("[...document.images].every(i => i.complete || i.loading == 'lazy')")
        images = page.eval_on_selector_all(
            "img", "all => all.map(i => [i.src.slice(0, 80), i.alt.trim(), i.naturalWidth])"
        )
        assert not [i for i in images if not i[1]], "a picture has no alternative text"
        assert not [i for i in images if not i[2]], "a picture is not shown"
        assert not visit.requests, "asked for something outside"
        assert not visit.complaints
        assert not {width: names for width in WIDTHS if (names := too_wide(page, width))}, "a page has to be pushed"


def too_wide(page, width: int) -> list[str]:
    """What sticks out on the right of a page, in a window that wide."""
    page.set_viewport_size({"width": width, "height": 900})
    return page.evaluate(
        """width => document.documentElement.scrollWidth <= width ? [] :
          ["the page", ...[...document.querySelectorAll("body *")].filter(
            e => !e.children.length && e.getBoundingClientRect().right > width + 1)
            .map(e => `${e.tagName} ${e.textContent.slice(0, 60)}`).slice(0, 5)]""",
        width,
    )


def test_what_sticks_out_is_seen(browser):
    page = new_page(browser)
    page.set_content("<p style='width: 500px'>a long line</p>")
    assert too_wide(page, 390) == ["the page", "P a long line"] and not too_wide(page, 1280)
    page.context.close()


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


def contrast(page, selector: str) -> list[float]:
    """Contrast of text against the nearest opaque background, for visible elements."""
    return page.eval_on_selector_all(
        selector,
        """all => all.filter(e => e.offsetParent && e.innerText.trim()).map(e => {
          const rgb = s => s.match(/[\\d.]+/g).map(Number);
          const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
            return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
            return .2126 * r + .7152 * g + .0722 * b; };
          let back = e, c = [0, 0, 0, 0];
          while (back && (c[3] ?? 1) == 0) { c = rgb(getComputedStyle(back).backgroundColor);
            back = back.parentElement; }
          const [a, b] = [light(rgb(getComputedStyle(e).color)), light(c)].sort((x, y) => y - x);
          return (a + .05) / (b + .05); })""",
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_player_can_be_read_in_light_and_dark(browser, scheme):
    for path in pages_with_player()[:1]:
        with offline(browser, path, color_scheme=scheme) as visit:
            assert visit.page.evaluate("document.documentElement.dataset.theme") == scheme
            parts = ("label", "output", "button", "figcaption")
            for part in parts:
                found = contrast(visit.page, f".frame-player {part}")
                assert all(value >= 4.5 for value in found), (part, found)


# ---------------------------------------------------------------- JupyterLab


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def reader_folder(folder: Path, notebook: str) -> Path:
    """A copy of one notebook where its relative paths still hold, and settings of its own."""
    work = folder / "book"
    (work / "notebooks").mkdir(parents=True)
    chapter = nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4)
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
def jupyterlab(folder: Path, notebook: str) -> Iterator[str]:
    """A JupyterLab on a copy of the notebook; yields the notebook's address."""
    work, port = reader_folder(folder, notebook), free_port()
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


@pytest.mark.parametrize(("notebook", "picture"), PANELS)
def test_live_panel_in_jupyterlab(browser, tmp_path, notebook, picture):
    """Open a chapter, run it, move the panel's slider: the curve is drawn anew."""
    if not (ROOT / "notebooks" / f"{notebook}.ipynb").exists():
        pytest.fail(f"no notebook {notebook}")
    with jupyterlab(tmp_path, notebook) as address:
        page = new_page(browser, viewport={"width": 1400, "height": 1000})
        page.goto(address)
        run_all_cells(page)
        curve = page.locator(picture).last
        curve.wait_for()
        before = curve.get_attribute("src")
        handle = page.locator(".jp-OutputArea .widget-slider [role=slider]").first
        handle.scroll_into_view_if_needed()
        handle.focus()
        page.keyboard.press("ArrowRight")
        buttons = page.locator(".jp-OutputArea button.widget-button")
        if buttons.count():
            buttons.first.click()
        changed = "([selector, old]) => [...document.querySelectorAll(selector)].at(-1).src !== old"
        page.wait_for_function(changed, arg=[picture, before])
        page.context.close()
