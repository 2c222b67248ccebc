"""A book of a few pages, built with extensions of this one: for what would take a whole build to see."""

import subprocess
import sys
from pathlib import Path

from book_pages import ROOT


def built(folder: Path, pages: dict[str, str], settings: dict[str, object]) -> Path:
    """The folder of its html; ``pages`` are texts by file name, the first of them intro.md, ``settings`` Sphinx's."""
    lines = [f"import sys; sys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})"]
    lines += [f"{name} = {value!r}" for name, value in ({"root_doc": "intro"} | settings).items()]
    (folder / "conf.py").write_text("\n".join(lines))
    for name, text in pages.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(folder), str(folder / "html")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    return folder / "html"
