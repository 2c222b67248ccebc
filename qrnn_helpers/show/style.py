"""How figures and numbers look: the house style of plots, and numbers that prose is glued to."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from cycler import cycler

from ..checks import check_integer, shown

#: Okabe and Ito's colours (safe for colour-blind readers), ordered so that
#: neighbours also differ in brightness; each has a line and a marker of its own.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#56B4E9", "#009E73", "#CC79A7", "#E69F00")

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 1)))

MARKERS = ("o", "s", "^", "D", "v", "P", "X")

#: The same method looks the same in every chapter. Truth and exact results come first.
ROLES = {
    "truth": 0, "exact": 0,
    "shift": 1,
    "spsa": 2,
    "persistence": 3,
    "linear": 4,
    "untrained": 5,
    "gru": 6,
}  # fmt: skip


def use_house_style() -> None:
    """Set Matplotlib's defaults for this session: sizes, grid, colours, dashes.

    Every line of the cycle differs in colour *and* dash, so that figures survive
    a black-and-white printer. ``cividis`` keeps its order in grey, too.
    """
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.4),
            "figure.dpi": 110,
            "figure.facecolor": "white",  # stays readable on a dark page
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.grid": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=LINES),
            "grid.alpha": 0.3,
            "image.cmap": "cividis",
            "legend.frameon": False,
            "lines.linewidth": 1.6,
            "lines.markersize": 5,
        }
    )


def line_style(role: str | int) -> dict[str, Any]:
    """Colour, dash and marker of a method, as keywords for ``plt.plot``.

    Parameters
    ----------
    role
        One of ``truth exact shift spsa persistence linear untrained gru``, or the
        number of a style (counted round).

    Raises
    ------
    ValueError
        For a name that is not in the list.
    """
    if isinstance(role, str) and role not in ROLES:
        raise ValueError(f"role is {shown(role)}; allowed are {', '.join(ROLES)} or a number")
    k = (ROLES[role] if isinstance(role, str) else check_integer("role", role)) % len(COLOURS)
    return {"color": COLOURS[k], "linestyle": LINES[k], "marker": MARKERS[k]}


def tell(name: str, value: Any, fmt: str = "", unit: str = "") -> None:
    """Print a number and keep it for the prose, where the glue:text role shows it.

    What is kept is the *rounded string*, so page, notebook and the comparison of
    outputs agree; a reader of JupyterLab, who does not see glued text, reads
    ``name = value`` under the cell.

    Parameters
    ----------
    name
        Unique in the book; by habit ``chapter-what``, such as ``data-energy``.
    value
        Anything that ``format(value, fmt)`` takes.
    fmt
        A format such as ``".3f"``. Give few enough digits that another processor
        prints the same.
    unit
        Appended after a space.
    """
    from myst_nb import glue  # loads Sphinx: only where it is needed

    text = f"{format(value, fmt)} {unit}".strip()
    print(f"{name} = {text}")
    glue(name, text, display=False)
