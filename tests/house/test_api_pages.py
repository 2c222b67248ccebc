"""The package's pages: every public name stands on one, and its docstring can always be read as plain text."""

import importlib
import re
import sys
from io import StringIO
from types import ModuleType

import pytest
from book_pages import HTML, ROOT, contents, require_book
from docutils import nodes
from docutils.core import publish_doctree
from hypothesis import example, given
from hypothesis import strategies as st

import qrnn_helpers

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from docstrings import restructured

PAGES = ROOT / "book" / "api"
FOLDERS = sorted(path.parent.name for path in (ROOT / "qrnn_helpers").glob("*/__init__.py"))
STUDY = sorted(path.stem for path in (ROOT / "qrnn_helpers" / "study").glob("[!_]*.py"))
FACES = [*(folder for folder in FOLDERS if folder != "study"), *(f"study.{name}" for name in STUDY)]
"""Of the study, chapters import the files: each of these is a face of its own."""


def described(face: ModuleType) -> set[str]:
    """What a face hands on and a page describes: functions and classes, but no constants."""
    if face.__name__.startswith("qrnn_helpers.study."):
        own = {name: what for name, what in vars(face).items() if getattr(what, "__module__", "") == face.__name__}
        listed = getattr(face, "__all__", [name for name in own if not name.startswith("_")])
        return {name for name in listed if hasattr(own[name], "__qualname__") and own[name].__doc__}
    made = {name: getattr(getattr(face, name), "__module__", "") for name in face.__all__}
    return {name for name, module in made.items() if module.startswith("qrnn_helpers.")}


def read(text: str) -> tuple[nodes.document, str]:
    """What docutils reads in a docstring, and what it has to say about it."""
    said = StringIO()
    document = publish_doctree(
        "\n".join(restructured(text.splitlines())), settings_overrides={"report_level": 1, "warning_stream": said}
    )
    return document, said.getvalue()


def test_every_folder_has_a_page():
    assert sorted(path.stem for path in PAGES.glob("*.md")) == sorted([*FOLDERS, "index"])
    assert {d for d in contents() if d.startswith("book/api/")} == {f"book/api/{name}" for name in [*FOLDERS, "index"]}
    for name in [*FOLDERS, *FACES]:
        assert f".. automodule:: qrnn_helpers.{name}\n" in (PAGES / f"{name.split('.')[0]}.md").read_text()


def test_the_first_page_lists_what_the_package_hands_on():
    listed = re.findall(r"^   ~qrnn_helpers\.([\w.]+)\.(\w+)$", (PAGES / "index.md").read_text(), re.M)
    assert sorted(name for _, name in listed) == sorted(qrnn_helpers.__all__)
    faces = {face: described(importlib.import_module(f"qrnn_helpers.{face}")) for face, _ in listed}
    assert [name for face, name in listed if name not in faces[face]] == []


@pytest.mark.parametrize("face", FACES)
def test_every_name_of_a_face_stands_on_its_page(face):
    require_book()
    page = (HTML / "book" / "api" / f"{face.split('.')[0]}.html").read_text()
    wanted = described(importlib.import_module(f"qrnn_helpers.{face}"))
    assert wanted and not [name for name in wanted if f'id="qrnn_helpers.{face}.{name}"' not in page]


@pytest.mark.parametrize("face", FACES)
def test_every_docstring_of_a_face_is_read_without_a_complaint(face):
    module = importlib.import_module(f"qrnn_helpers.{face}")
    for name in described(module):
        assert read(getattr(module, name).__doc__ or "")[1] == "", name


def test_what_is_markup_and_what_is_not():
    document, said = read(
        "u_t = -|u|^2 u_x *shape, (time, *shape) and a ** b of `x_t`s.\n1. G. H. Golub: see ``y``.\n\n"
        "Drawn, *in full*::\n\n    q0: ─RY─ *\n      |\n\n- one\n  still\n- two\n\n"
        "Parameters\n----------\nsteps : how many, at\n    least 1.\n*rest\n    What else.\n\n"
        "Returns\n-------\nA number."
    )
    assert not said
    assert [node.astext() for node in document.findall(nodes.literal)] == ["x_t", "y", "steps", "*rest"]
    assert [node.astext() for node in document.findall(nodes.emphasis)] == ["in full"]
    assert [node.astext() for node in document.findall(nodes.literal_block)] == ["q0: ─RY─ *\n  |"]
    assert [node.astext() for node in document.findall(nodes.rubric)] == ["Parameters", "Returns"]
    items = [node.astext() for node in document.findall(nodes.list_item)]
    assert items == ["one still", "two", "steps: how many, at least 1.", "*rest: What else."]
    first = next(iter(document.findall(nodes.paragraph))).astext()
    assert first.startswith("u_t = -|u|^2 u_x *shape, (time, *shape) and a ** b of x_ts. 1. G. H. Golub")


def test_public_names_become_links():
    (line,) = filter(None, restructured(["As `QRNN`, not `RNNs`."], {"QRNN": "qrnn_helpers.models.QRNN"}))
    assert ":py:obj:`QRNN <qrnn_helpers.models.QRNN>`" in line and "``RNNs``" in line


@given(st.lists(st.text("ab1 `*_|\\:.-=+<>[](){}#~^\"'@/", max_size=12), max_size=6).map("\n".join))
@example("- ")  # an item of nothing is no item
def test_no_text_is_a_mistake(text):
    assert read(text)[1] == ""
