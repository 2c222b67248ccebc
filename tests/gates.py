"""What a page must not do, each as a function of an open page that tells what it found: nothing, or places and why."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from book_pages import IN_CI, skip_or_fail
from browsing import WIDTHS

HEAVIEST = 2_500_000
"""Bytes of a page with all that it loads."""

LEAST_CONTRAST = 4.5
"""Of text and its ground; 3 for large text (WCAG 2.2, 1.4.3)."""


@cache
def axe_source() -> str:
    """The text of axe-core, as the package axe-playwright-python brings it."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None:
        skip_or_fail("axe-playwright-python is missing: make env", fail=IN_CI)
    (folder,) = found.submodule_search_locations
    return (Path(folder) / "axe.min.js").read_text(encoding="utf-8")


def axe(page, *, contrast: bool = False) -> list[str]:
    """Findings of axe-core, its best practices included.

    Its rule on contrast takes half a minute on a long page: `faint` measures that. For the same reason typeset
    formulas and coloured code are plain text first, which changes the page: ask axe last.
    """
    page.evaluate(
        """for (const e of document.querySelectorAll("mjx-container")) e.replaceWith("formula");
        for (const e of document.querySelectorAll(".highlight pre")) e.textContent = "code";"""
    )
    page.evaluate(axe_source())
    return page.evaluate(
        """contrast => axe.run(document, {resultTypes: ["violations"], preload: false,
          rules: {"color-contrast": {enabled: contrast}}}).then(found => found.violations.flatMap(v =>
            v.nodes.map(n => `${v.id}: ${n.target.join(" ")}: ${n.html.slice(0, 100)}`)))""",
        contrast,
    )


def faint(page, theme: str) -> list[str]:
    """Text whose contrast with its ground is too low in a theme; disabled controls and pictures do not count."""
    return page.evaluate(
        """([theme, least]) => {
          document.documentElement.dataset.theme = theme;
          const rgba = s => { const [r, g, b, a = 1] = s.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
          const over = ([r, g, b, a], c) => [r, g, b].map((v, i) => a * v + (1 - a) * c[i]).concat(1);
          const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
            return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
            return .2126 * r + .7152 * g + .0722 * b; };
          const grounds = new Map();
          const ground = e => {
            if (!e) return [255, 255, 255, 1];
            if (!grounds.has(e)) {
              const own = rgba(getComputedStyle(e).backgroundColor);
              grounds.set(e, own[3] == 1 ? own : over(own, ground(e.parentElement)));
            }
            return grounds.get(e);
          };
          const speaks = e => [...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim());
          const shown = e => e.checkVisibility({opacityProperty: true, visibilityProperty: true});
          const found = [];
          for (const e of document.querySelectorAll("body *")) {
            if (!speaks(e) || e.closest("svg, script, style, :disabled, mjx-assistive-mml") || !shown(e)) continue;
            const style = getComputedStyle(e), back = ground(e), size = parseFloat(style.fontSize);
            const front = over(rgba(style.color), back);
            const [a, b] = [light(front), light(back)].sort((x, y) => y - x), value = (a + .05) / (b + .05);
            const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
            if (value < (large ? 3 : least) - .005)
              found.push(`${theme} ${value.toFixed(2)}: ${e.tagName} ${e.textContent.trim().slice(0, 60)}`);
          }
          return found;
        }""",
        [theme, LEAST_CONTRAST],
    )


def cut_off(page, width: int) -> list[str]:
    """What a reader cannot see, or not without pushing the page, in a window that wide.

    Text and pictures that stick out of the window, or out of a box that hides what sticks out, unless a box around
    them scrolls by itself.
    """
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )  # it is laid out anew
    return page.evaluate(
        """width => {
          const found = document.documentElement.scrollWidth > width ? [`${width}: the page is wider`] : [];
          const unseen = "script, style, .sr-only, .visually-hidden, .skip-link, mjx-assistive-mml, .bd-sidebar";
          for (const e of document.querySelectorAll("body *")) {
            if (e.children.length || e.closest(unseen) || !e.checkVisibility()) continue;
            const {right, width: wide} = e.getBoundingClientRect();
            if (!wide) continue;
            let box = e.parentElement, ends = width, scrolls = false;
            for (; box && !scrolls; box = box.parentElement) {
              const flow = getComputedStyle(box).overflowX;
              scrolls = box != document.body && box != document.documentElement && /auto|scroll/.test(flow)
                && !box.matches("main, .bd-main, .bd-content, .bd-article-container");
              if (/hidden|clip/.test(flow)) ends = Math.min(ends, box.getBoundingClientRect().right);
            }
            if (!scrolls && right > ends + 1)
              found.push(`${width}: ${e.tagName} ${(e.textContent || e.alt || e.className).trim().slice(0, 60)}`);
          }
          return found.slice(0, 6);
        }""",
        width,
    )


def unset_formulas(page) -> list[str]:
    """Formulas that MathJax left as they were, or did not understand."""
    return page.evaluate(
        """() => [
          ...[...document.querySelectorAll(".math")].filter(e => !e.querySelector("mjx-container")),
          ...document.querySelectorAll("mjx-merror, mjx-assistive-mml [mathcolor=red]"),
        ].map(e => `formula: ${e.textContent.slice(0, 60)}`)"""
    )


def pictures(page) -> list[str]:
    """Pictures that are not shown, or that say nothing to who cannot see them."""
    page.wait_for_function("[...document.images].every(i => i.complete || i.loading == 'lazy')")
    return page.evaluate(
        """() => [...document.images].flatMap(i => [
          ...(i.alt.trim() ? [] : [`no text: ${i.src.slice(0, 80)}`]),
          ...(i.naturalWidth || i.loading == "lazy" ? [] : [`not shown: ${i.src.slice(0, 80)}`])])"""
    )


def too_heavy(visit) -> list[str]:
    weight = visit.weight()
    return [f"{weight / 1e6:.2f} MB"] if weight > HEAVIEST else []


def findings(visit) -> list[str]:
    """All of them, in an order in which none changes what the next one sees."""
    page = visit.page
    found = unset_formulas(page) + pictures(page)
    found += [line for width in WIDTHS for line in cut_off(page, width)]
    found += [line for theme in ("dark", "light") for line in faint(page, theme)]
    found += [f"outside: {url}" for url in visit.requests] + [f"console: {text}" for text in visit.complaints]
    return found + too_heavy(visit) + axe(page)
