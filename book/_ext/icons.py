"""The theme's icons, as many as the pages use: Font Awesome brings 0.25 MB for some twenty of them."""

from __future__ import annotations

import re
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

FONTS = {"solid-900": "solid", "brands-400": "brands"}

RULES = """\
:root { --fa-font-solid: normal 900 1em/1 "Font Awesome 6 Free"; }
:root { --fa-font-brands: normal 400 1em/1 "Font Awesome 6 Brands"; }
@font-face { font-family: "Font Awesome 6 Free"; font-weight: 900; src: url(solid.woff) format("woff"); }
@font-face { font-family: "Font Awesome 6 Brands"; font-weight: 400; src: url(brands.woff) format("woff"); }
.fa-solid, .fas, .fa-brands, .fab { display: inline-block; text-rendering: auto; }
.fa-solid, .fas { font: var(--fa-font-solid); }
.fa-brands, .fab { font: var(--fa-font-brands); }
.fa-lg { font-size: 1.25em; line-height: .05em; vertical-align: -.075em; }
"""


def thin_icons(static: Path, pages: str) -> None:
    """Replace Font Awesome under `static` by a font and a stylesheet of what `pages` and the stylesheets name."""
    (home,) = (static / "vendor" / "fontawesome").iterdir()
    sheet = home / "css" / "all.min.css"
    codes = glyphs(sheet.read_text(encoding="utf-8"))
    used = {name: codes[name] for name in sorted(set(re.findall(r"\bfa-[\w-]+", pages))) if name in codes}
    styles = "".join(p.read_text(encoding="utf-8") for p in sorted(static.glob("**/*.css")) if p != sheet)
    drawn = {int(code, 16) for code in [*used.values(), *re.findall(r'content:\s*"\\([ef][0-9a-f]{3})"', styles)]}
    for font, name in FONTS.items():
        cut(home / "webfonts" / f"fa-{font}.ttf", home / "css" / f"{name}.woff", drawn)
    rules = [f'.{name}::before {{ content: "\\{code}"; }}' for name, code in used.items()]
    sheet.write_text(RULES + "\n".join(rules) + "\n", encoding="utf-8")
    for path in [*(home / "webfonts").iterdir(), *(home / "js").iterdir()]:
        path.unlink()


def glyphs(sheet: str) -> dict[str, str]:
    """The code of each icon, by all of its names."""
    found = {}
    for names, code in re.findall(r'((?:\.fa-[\w-]+:{1,2}before,?)+)\{content:"\\([0-9a-f]+)"\}', sheet):
        found |= dict.fromkeys(re.findall(r"\.(fa-[\w-]+)", names), code)
    return found


def cut(source: Path, target: Path, drawn: set[int]) -> None:
    """Write the font's glyphs of these characters."""
    font = TTFont(source)
    cutter = subset.Subsetter(subset.Options(notdef_outline=True))
    cutter.populate(unicodes=sorted(drawn))
    cutter.subset(font)
    font.flavor = "woff"
    font.save(target)
