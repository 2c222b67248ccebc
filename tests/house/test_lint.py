"""The style that `make lint` asks for, and that every place which asks for it asks the same."""

import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
import yaml
from book_pages import ROOT

import qrnn_helpers


@pytest.mark.parametrize("words", [("format", "--check"), ("check",)], ids=" ".join)
def test_code_and_notebooks_have_one_style(words):
    done = subprocess.run([sys.executable, "-m", "ruff", *words, "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hooks_and_workflow_run_what_make_lint_runs():
    """Types are checked there alone: the first run takes half a minute."""
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M).group(1)
    commands = [line.strip().removeprefix("@$(PY) ").removesuffix(" .") for line in recipe.splitlines()]
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = [hook["entry"].removesuffix(" --force-exclude") for hook in local["hooks"]]
    assert local["repo"] == "local" and entries == [f".venv/bin/python {command}" for command in commands]
    steps = [line.removeprefix("exec ") for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    assert steps[-2:] == ["make lint", "make test"]


FACES = sorted(path.parent.name for path in (ROOT / "qrnn_helpers").glob("*/__init__.py"))


def functions(name: str, what: object) -> Iterator[tuple[str, object]]:
    """The functions behind a public name: itself, or its public methods and its constructor."""
    if not inspect.isclass(what):
        yield name, inspect.unwrap(what) if callable(what) else None
        return
    for method, value in vars(what).items():
        if method == "__init__" or not method.startswith("_"):
            value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            yield f"{name}.{method}", value


def untyped(function: object) -> list[str]:
    """Arguments without a type, and "return" where what comes back has none."""
    signature = inspect.signature(function)
    missing = [
        p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")
    ]
    return missing + ["return"] * (signature.return_annotation is signature.empty and function.__name__ != "__init__")


@pytest.mark.parametrize("face", ["qrnn_helpers", *(f"qrnn_helpers.{name}" for name in FACES if name != "study")])
def test_public_functions_have_types(face):
    module = importlib.import_module(face)
    found = [pair for name in module.__all__ for pair in functions(name, getattr(module, name))]
    assert {name: missing for name, f in found if inspect.isfunction(f) and (missing := untyped(f))} == {}


def test_a_missing_type_is_seen():
    class Example:
        def __init__(self, a):
            pass

        def half(self, a, b: int) -> int:
            pass

        @property
        def none(self):
            pass

    found = {name: untyped(f) for name, f in functions("E", Example) if inspect.isfunction(f)}
    assert found == {"E.__init__": ["a"], "E.half": ["a"], "E.none": ["return"]}
    assert untyped(qrnn_helpers.fit) == []
