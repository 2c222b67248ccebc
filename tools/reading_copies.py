"""Copies of the chapters for readers: the same cells, in markdown that JupyterLab, Colab and VS Code understand.

The chapters under `notebooks/` are written for the book's pages. Numbers in their prose are quoted from outputs,
references and exercises are directives; elsewhere a reader sees `{glue:text}` and fences. A copy has the numbers,
links, numbered equations and figures, and solutions that unfold. Copies lie in `lab/`; one that a reader changed is
left alone.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
from address import address
from nbformat.v4 import new_code_cell, new_markdown_cell
from pybtex.database import Person, parse_file

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "lab"
MADE = FOLDER / ".made.json"  # what each copy was when it was written

COLAB = """import sys

if "google.colab" in sys.modules:
    !git clone --quiet --depth 1 {url} book
    %cd book/notebooks
    sys.path.insert(0, "..")
    %pip install --quiet -e .. ipywidgets myst-nb pylatexenc qiskit-aer scikit-learn"""

ROLE = re.compile(r"\{([a-z:]+)\}`([^`]+)`")
NAMED = re.compile(r"(.*?)\s*<(.+)>", re.S)
EQUATION = re.compile(r"\$\$(.+?)\$\$[ ]*\(([\w-]+)\)", re.S)
FENCE = re.compile(r"^(`{3,}|:{3,})\{([\w:-]+)\}[ ]*(.*)$")
TARGET = re.compile(r"^\([\w-]+\)=\n", re.M)
SOLUTION_END = re.compile(r"^`{3,}\{solution-end\}\n`{3,}[ ]*\n?", re.M)
SOLUTION = re.compile(r"^(`{3,})\{solution-start\}[ ]*([\w-]+)\n(?::[^\n]*\n)*\1[ ]*\n?", re.M)
EXERCISE = re.compile(r"^`{3,}\{exercise\}[^\n]*\n:label:[ ]*([\w-]+)", re.M)


class Names:
    """What the chapters call by name: glued values, titles, numbers of equations, figures and exercises, works."""

    def __init__(self, root: Path = ROOT):
        self.root = root
        self.values: dict[str, str] = {}
        self.numbers: dict[str, str] = {}
        for path in chapters(root):
            self._read(path)
        self.works = {key: cited(entry) for key, entry in parse_file(root / "book" / "references.bib").entries.items()}

    def _read(self, path: Path) -> None:
        chapter = str(int(path.stem.split("_")[0]))
        found: dict[str, list[str]] = {"equation": [], "figure": [], "exercise": []}
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                found["equation"] += [label for _, label in EQUATION.findall(cell.source)]
                found["exercise"] += EXERCISE.findall(cell.source)
                continue
            if name := figure(cell).get("name"):
                found["figure"].append(name)
            for output in cell.outputs:
                if name := output.get("metadata", {}).get("scrapbook", {}).get("name"):
                    self.values[name] = glued(output)
        for labels in found.values():
            self.numbers |= {label: f"{chapter}.{k}" for k, label in enumerate(labels, 1)}

    def title(self, target: str, folder: Path) -> tuple[str, str]:
        """The first heading of a document, and its file as seen from a folder beside the chapters'."""
        for suffix in (".ipynb", ".md"):
            path = (folder / (target + suffix)).resolve()
            if path.exists():
                text = path.read_text(encoding="utf-8")
                first = re.search(r'^(?:\s*")?# (.+?)(?:\\n",?)?$', text, re.M)
                inside = path.parent == self.root / "notebooks"
                name = path.name if inside else f"../{path.relative_to(self.root).as_posix()}"
                return first[1] if first else target, name
        raise FileNotFoundError(f"no document {target}")


def chapters(root: Path = ROOT) -> list[Path]:
    return sorted((root / "notebooks").glob("*.ipynb"))


def figure(cell) -> dict[str, str]:
    return cell.metadata.get("mystnb", {}).get("figure", {})


def glued(output) -> str:
    """What a glued value reads like in prose."""
    text = next((str(text) for kind, text in output.data.items() if kind.endswith("text/plain")), "")
    try:
        return str(ast.literal_eval(text))
    except (SyntaxError, ValueError):
        return text


def cited(entry) -> tuple[str, str]:
    """Names and year of a work."""
    people: list[Person] = entry.persons.get("author") or entry.persons.get("editor") or []
    names = [re.sub(r"[{}]", "", " ".join([*p.prelast_names, *p.last_names])) for p in people]
    joined = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
    return joined, entry.fields.get("year", "")


def role(kind: str, text: str, names: Names, folder: Path) -> str:
    """A role as plain markdown; what is not known stays as text."""
    shown, target = (m[1], m[2]) if (m := NAMED.fullmatch(text)) else ("", text)
    if kind == "glue:text":
        return names.values[target.rpartition("::")[2].partition(":")[0]]
    if kind == "doc":
        title, path = names.title(target, folder)
        return f"[{shown or title}]({path})"
    if kind == "term":
        return f"[{shown or target}](../book/notation.md)"
    if kind == "eq":
        return f"({names.numbers[target]})"
    if kind == "numref":
        return f"Fig. {names.numbers[target]}"
    if kind.startswith("cite"):
        return citation(target, names, inside=kind == "cite:t")
    if kind == "math":
        return f"${text}$"
    return shown or names.numbers.get(target, target)


def citation(keys: str, names: Names, inside: bool) -> str:
    works = [names.works[key.strip()] for key in keys.split(",")]
    parts = [f"{name} ({year})" if inside else f"{name}, {year}" for name, year in works]
    link = f"[{'; '.join(parts)}](../book/references.md)"
    return link if inside else f"({link})"


def quoted(lines: list[str]) -> list[str]:
    return [f"> {line}".rstrip() for line in lines]


def directive(kind: str, title: str, body: list[str], names: Names) -> list[str]:
    """A directive as plain markdown."""
    label = next((line.split(":")[-1].strip() for line in body if line.startswith(":label:")), "")
    body = [line for line in body if not re.match(r":[\w-]+:", line)]
    while body and not body[0].strip():
        body.pop(0)
    if kind == "exercise":
        return [f"### Exercise {names.numbers[label]}: {title}", "", *body]
    if kind == "container":
        return body
    if kind == "math":
        return ["$$", *body, "$$"]
    word = kind.rpartition(":")[2].capitalize()
    heading = title if kind == "admonition" else f"{word}: {title}" if title else word
    return quoted([f"**{heading}**", "", *body])


def without_directives(text: str, names: Names) -> str:
    """Text whose directives, nested ones too, are plain markdown."""
    written: list[str] = []
    lines = iter(text.split("\n"))
    for line in lines:
        if not (opened := FENCE.match(line)):
            written.append(line)
            continue
        fence, kind, title = opened.groups()
        body: list[str] = []
        for inner in lines:
            if inner.strip() == fence:
                break
            body.append(inner)
        inside = without_directives("\n".join(body), names).split("\n")
        written += directive(kind, title, inside, names)
    return "\n".join(written)


def plain(text: str, names: Names, folder: Path) -> str:
    """A cell's markdown without the book's markup."""
    text = EQUATION.sub(lambda m: f"$${m[1].rstrip()} \\tag{{{names.numbers[m[2]]}}}\n$$", TARGET.sub("", text))
    text = without_directives(text, names)
    return ROLE.sub(lambda m: role(m[1], m[2], names, folder), text)


def pieces(text: str) -> list[tuple[str, str]]:
    """A cell cut where solutions begin and end: what each piece is the solution of, or nothing, and its text."""
    found: list[tuple[str, str]] = []
    for part in SOLUTION_END.split(text):
        before, *rest = SOLUTION.split(part)
        found.append(("", before))
        found += [(label, after) for label, after in zip(rest[1::3], rest[2::3], strict=True)]
    return [(label, part.strip("\n")) for label, part in found if label or part.strip()]


def markdown_cells(cell, names: Names, folder: Path) -> list:
    made = []
    for label, text in pieces(cell.source):
        if label:
            heading = new_markdown_cell(f"#### Solution of exercise {names.numbers[label]}")
            heading.metadata["jp-MarkdownHeadingCollapsed"] = True  # JupyterLab folds what stands below
            made.append(heading)
        if text.strip():
            made.append(new_markdown_cell(plain(text, names, folder)))
    return made


def code_cells(cell, names: Names, folder: Path) -> list:
    """The cell, folded where the pages fold it, and the caption of its figure."""
    tags = set(cell.metadata.get("tags", []))
    folded = {
        "source_hidden": tags & {"hide-input", "hide-cell"},
        "outputs_hidden": tags & {"hide-output", "hide-cell"},
    }
    if hidden := {name: True for name, asked in folded.items() if asked}:
        cell.metadata["jupyter"] = hidden
    about = figure(cell)
    if "caption" not in about:
        return [cell]
    number = f"**Fig. {names.numbers[about['name']]}.** " if "name" in about else ""
    return [cell, new_markdown_cell(number + plain(about["caption"], names, folder))]


def colab_cell(url: str):
    """What Colab runs first, where the repository has an address: Colab has neither the package nor the data."""
    cell = new_code_cell(COLAB.format(url=url))
    cell.metadata["jupyter"] = {"source_hidden": True}
    return cell


def copy_of(path: Path, names: Names, url: str = "") -> nbformat.NotebookNode:
    """A chapter as readers get it."""
    notebook = nbformat.read(path, as_version=4)
    make: dict[str, Callable] = {"markdown": markdown_cells, "code": code_cells}
    notebook.cells = [new for cell in notebook.cells for new in make[cell.cell_type](cell, names, path.parent)]
    if url:
        notebook.cells.insert(0, colab_cell(url))
    for k, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{k}"  # the same in every run
    notebook.metadata.pop("jupytext", None)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(chapter: Path, target: Path, names: Names) -> None:
    nbformat.write(copy_of(chapter, names, address(names.root)), target)


def main(folder: Path = FOLDER) -> int:
    """Write what is missing or as it was written; keep what a reader changed."""
    folder.mkdir(exist_ok=True)
    record = folder / MADE.name
    made = json.loads(record.read_text()) if record.exists() else {}
    names = Names()
    for path in chapters():
        target = folder / path.name
        if target.exists() and digest(target) != made.get(path.name):
            print(f"{target.name} was changed here, and stays; delete it to have it anew")
            continue
        write(path, target, names)
        made[path.name] = digest(target)
    record.write_text(json.dumps(made, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
