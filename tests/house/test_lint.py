"""The style that `make lint` asks for, and that every place which asks for it asks the same."""

import re
import subprocess
import sys

import pytest
import yaml
from book_pages import ROOT


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
