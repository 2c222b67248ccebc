"""The README's example is code that runs."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_example_runs_and_pays_what_the_ledger_says():
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    names = {}
    exec(compile(example, str(README), "exec"), names)
    ledger = names["model"].layer.cost
    assert ledger.circuits == 8 * (1 + 5 * 60)
    assert ledger.shots == 1024 * ledger.circuits
