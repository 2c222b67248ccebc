"""The copies that readers open in JupyterLab: no markup of the book's is left, code is as it was, changes stay."""

import re
import runpy
from pathlib import Path

import nbformat
import pytest
from book_pages import NOTEBOOKS, ROOT
from nbformat.v4 import new_markdown_cell

copies = runpy.run_path(str(ROOT / "tools" / "reading_copies.py"))
NAMES = copies["Names"]()
MARKUP = re.compile(r"\{[a-z:-]+\}`|^\s*(?:`{3,}|:{3,})\{|^:[\w-]+:|^\([\w-]+\)=$", re.M)

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def markdown(notebook) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@each_notebook
def test_a_copy_reads_right(path):
    """Links lead to files; nothing but solutions is folded, each with a heading of its own."""
    copy = copies["copy_of"](path, NAMES)
    nbformat.validate(copy)
    text = markdown(copy)
    assert not MARKUP.findall(text)
    for target in re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", text):
        assert (ROOT / "notebooks" / target.partition("#")[0]).exists(), target
    folded = [c.source for c in copy.cells if c.metadata.get("jp-MarkdownHeadingCollapsed")]
    assert len(folded) == path.read_text(encoding="utf-8").count("{solution-start}")
    assert all(source.startswith("#### Solution of exercise ") for source in folded)


@each_notebook
def test_a_copy_has_the_chapters_code_and_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    code = [
        [(c.source, c.outputs) for c in n.cells if c.cell_type == "code"]
        for n in (notebook, copies["copy_of"](path, NAMES))
    ]
    assert code[0] == code[1]


TEXT = """(here)=
## Say {math}`x^2`, {eq}`eq-a` and {doc}`the next <02_chaos>`

$$
x = 1
$$ (eq-a)

````{prf:theorem} Of one
:label: thm

```{note}
Inside, {glue:text}`../notebooks/01_x.ipynb::a-number:s`.
```
````

```{exercise} Try
:label: ex-a

Do {cite:p}`spall1992,lorenz1963`.
```

````{solution-start} ex-a
:class: dropdown
````
Done.

```{solution-end}
```

## Next
"""


def test_markup_is_translated():
    names = copies["Names"]()
    names.values["a-number"] = "0.25"
    names.numbers |= {"eq-a": "9.1", "ex-a": "9.2"}
    cells = copies["markdown_cells"](new_markdown_cell(TEXT), names, ROOT / "notebooks")
    first, heading, solution, last = [cell.source for cell in cells]
    assert first.startswith("## Say $x^2$, (9.1) and [the next](02_chaos.ipynb)\n")
    assert "x = 1 \\tag{9.1}\n$$" in first and "> **Theorem: Of one**" in first
    assert "> > **Note**" in first and "> > Inside, 0.25." in first
    assert "### Exercise 9.2: Try\n\nDo ([Spall, 1992; Lorenz, 1963](../book/references.md))." in first
    assert (heading, solution, last) == ("#### Solution of exercise 9.2", "Done.", "## Next")


def test_what_a_reader_changed_stays(tmp_path, capsys):
    main = copies["main"]
    main(tmp_path)
    changed, lost, *_ = sorted(tmp_path.glob("*.ipynb"))
    changed.write_text("{}")
    Path(lost).unlink()
    main(tmp_path)
    assert changed.read_text() == "{}" and lost.exists()
    assert capsys.readouterr().out.count("was changed here") == 1
