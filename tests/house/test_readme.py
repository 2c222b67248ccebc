"""What README and the book's pages show is run as they show it: examples in Python, commands, make's targets."""

import json
import os
import pkgutil
import re
import runpy
import subprocess
import sys

import pytest
from book_pages import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "book").rglob("*.md"))]
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
CHAPTERS = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "notebooks").glob("*.ipynb")))
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "qrnn_helpers").rglob("*.py")))

GIVEN = """
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
energy, figures = 0.7, [plt.figure(), plt.figure()]
"""
"""What a page's fragments take for granted."""

PROGRAM = """
import json, sys, torch
torch.set_default_dtype(getattr(torch, sys.argv[1]))
given, ledgers = json.load(sys.stdin), []
for example in given["examples"]:
    names = {}
    exec(given["given"], names)
    exec(compile(example, "example", "exec"), names)
    if "model" in names:
        ledgers.append([names["model"].layer.cost.circuits, names["model"].layer.cost.shots])
print("ledgers", json.dumps(ledgers))
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_examples_run_in_a_fresh_process(dtype, tmp_path):
    """With torch's default type and with the chapters'; README's pays what its ledger says."""
    examples = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert len(examples) == TEXT.count("```python") >= 3
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, dtype], input=json.dumps({"examples": examples, "given": GIVEN}),
        env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1000:]
    circuits = 8 * (1 + 5 * 60)
    assert done.stdout.splitlines()[-1] == f"ledgers {[[circuits, 1024 * circuits]]}"


def test_no_chapter_shows_python_that_nobody_runs():
    assert "```python" not in CHAPTERS and not re.search(r"^\s*>>> ", TEXT, re.M)
    assert not [path.name for path in (ROOT / "qrnn_helpers").rglob("*.py") if ">>> " in path.read_text()]


COMMANDS = re.compile(r"python -m (qrnn_helpers[\w.]*)(?: (run|status|table)\b)?")
SHOWN = set(COMMANDS.findall(TEXT + CHAPTERS + SOURCES))


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("module", sorted({module for module, _ in SHOWN}))
def test_the_commands_that_are_shown_exist(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(module, run_name="__main__")
    said = capsys.readouterr().out
    assert end.value.code == 0 and not [word for name, word in SHOWN if name == module and word not in said]


def exists(dotted: str) -> bool:
    try:
        return pkgutil.resolve_name(dotted) is not None
    except (ImportError, AttributeError):
        return False


def test_what_is_named_in_the_package_exists():
    named = set(re.findall(r"qrnn_helpers(?:\.[A-Za-z_]\w*)+", TEXT + CHAPTERS + SOURCES))
    assert len(named) > 20 and not sorted(name for name in named if not exists(name))


def test_the_targets_that_are_shown_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    shown = set(re.findall(r"(?:^|`)make ([a-z]+)", TEXT, re.M))
    assert {"book", "test", "lab"} <= shown <= targets
