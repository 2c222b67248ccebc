"""Draw the package's folders and who imports whom: book/_static/floors.svg, from the files' own imports.

    python tools/draw_floors.py

An arrow leads from a folder to one whose face it imports. Arrows that others imply are left out, and so are those to
`checks.py` and `torch_modes.py`, which everybody uses.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "qrnn_helpers"
PICTURE = ROOT / "book" / "_static" / "floors.svg"

WIDTH, HEIGHT = 132, 34  # of a box
COLUMN, ROW = 160, 60  # from box to box
EDGE = 16  # around the picture
TOP = 7  # the study's row, counted from the ground

PLACES = {
    "study": (1.5, 7),
    "baselines": (2, 6),
    "models": (3, 4),
    "training": (2, 5),
    "gradients": (3, 3),
    "backends": (3, 2),
    "dynamics": (1, 2),
    "simulation": (3, 1),
    "storage": (1, 0),
    "show": (0, 0),
    "tasks": (2, 0),
    "circuits": (3, 0),
}
"""Column and row of each folder's box, rows from the ground."""

FOR_ALL = ("checks", "torch_modes")
"""Files below the ground floor."""


def floor(path: Path) -> str:
    """The folder of a file of the package, or the file's own name where it stands in none."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of everything that a file imports from the package, as full module names."""
    package = ["qrnn_helpers", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            if node.level and not node.module:  # from . import a file of the own folder
                yield from ((f"{module}.{alias.name}", "") for alias in node.names)
            else:
                yield from ((module, alias.name) for alias in node.names if module.startswith("qrnn_helpers"))
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("qrnn_helpers"))


def arrows() -> set[tuple[str, str]]:
    """(user, used) for all folders, less what is implied by others."""
    used: dict[str, set[str]] = {name: set() for name in PLACES}
    for path in PACKAGE.glob("*/*.py"):
        for module, name in imports(path):
            used[floor(path)].add((module.split(".")[1:] or [name])[0])
    used = {name: targets & set(PLACES) - {name} for name, targets in used.items()}

    def reached(name: str) -> set[str]:
        return used[name].union(*(reached(target) for target in used[name]))

    implied = {name: set().union(*(reached(target) for target in used[name])) for name in used}
    return {(name, target) for name in used for target in used[name] - implied[name]}


def middle(name: str) -> tuple[float, float]:
    """Of a folder's box, in the picture's units, y downwards."""
    column, row = PLACES[name]
    return EDGE + WIDTH / 2 + column * COLUMN, EDGE + HEIGHT / 2 + (TOP - row) * ROW


def line(user: str, target: str) -> str:
    """An arrow from the lower edge of one box to the upper edge of another."""
    (x1, y1), (x2, y2) = middle(user), middle(target)
    if user == "study":  # its box is as wide as the picture: straight down
        x1 = x2
    return f'<path d="M{x1:g} {y1 + HEIGHT / 2:g} L{x2:g} {y2 - HEIGHT / 2 - 2:g}"/>'


def box(name: str) -> str:
    x, y = middle(name)
    width = WIDTH + (3 * COLUMN if name == "study" else 0)
    return (
        f'<rect x="{x - width / 2:g}" y="{y - HEIGHT / 2:g}" width="{width}" height="{HEIGHT}" rx="5"/>'
        f'<text x="{x:g}" y="{y + 6:g}">{name}</text>'
    )


def ground(width: int) -> str:
    """One wide box for what everybody uses."""
    y = EDGE + (TOP + 1) * ROW - 12
    return (
        f'<rect class="ground" x="{EDGE}" y="{y}" width="{width - 2 * EDGE}" height="{HEIGHT}" rx="5"/>'
        f'<text x="{width / 2:g}" y="{y + HEIGHT / 2 + 6:g}">{", ".join(FOR_ALL)}: for all</text>'
    )


def picture() -> str:
    """The whole drawing as SVG."""
    width = 2 * EDGE + WIDTH + 3 * COLUMN
    height = 2 * EDGE + HEIGHT + (TOP + 1) * ROW - 12
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    tip = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
            "<style>",
            "  rect { fill: #eef4f9; stroke: #33658a; stroke-width: 1.3; }",
            "  .ground, .page { fill: #ffffff; stroke: none; }  .ground { fill: #eeeeee; }",
            "  path { fill: none; stroke: #555555; stroke-width: 1.5; marker-end: url(#tip); }",
            "  text { font: 19px monospace; text-anchor: middle; fill: #111111; }",
            "</style>",
            f'<defs><marker id="tip" {tip}><polygon points="0,0 8,4 0,8" fill="#555555"/></marker></defs>',
            f'<rect class="page" width="{width}" height="{height}"/>',
            *(line(*pair) for pair in sorted(arrows())),
            *(box(name) for name in PLACES),
            ground(width),
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
