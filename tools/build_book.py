"""Build the book: execute what changed, write the pages, stop at any warning.

Plain `jupyter-book build` would serve stale pages in two ways, so this script

1. empties the cache of executed notebooks when anything they rest on changed.
   jupyter-cache knows a notebook by its own cells; it does not notice a change in
   `qrnn_helpers`, in the pins or in the stored inputs under `data/`.
2. writes every page anew. Sphinx would skip a page whose text did not change,
   though a number that it quotes from another notebook did, and a warning would
   be gone from the second run without having been mended.

Executed notebooks are what takes time, and those are kept.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from address import follow
from reading_copies import Names, chapters, write

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "book" / "_build"
CACHE = BUILD / ".jupyter_cache"
STAMP = BUILD / "inputs.sha256"  # what the cache was filled from
DONE = BUILD / "built"  # there only after a build without warnings
FIRST_PAGE = BUILD / "html" / "index.html"
INPUTS = ("qrnn_helpers/**/*.py", "requirements.*", "pyproject.toml", "data/**/*")


def fingerprint(root: Path = ROOT) -> str:
    """SHA-256 over names and contents of all that a notebook rests on but itself."""
    digest = hashlib.sha256(sys.version.encode())
    files = {path for pattern in INPUTS for path in root.glob(pattern) if path.is_file()}
    for path in sorted(files):
        digest.update(f"{path.relative_to(root).as_posix()} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def forget_stale_results(now: str) -> None:
    """Empty the cache unless it was filled from the same inputs."""
    if CACHE.exists() and not (STAMP.exists() and STAMP.read_text() == now):
        print("helpers, pins or stored inputs changed: every notebook runs again")
        shutil.rmtree(CACHE)
    BUILD.mkdir(parents=True, exist_ok=True)
    STAMP.write_text(now)


def main() -> int:
    DONE.unlink(missing_ok=True)
    follow()
    forget_stale_results(fingerprint())
    shutil.rmtree(BUILD / "html", ignore_errors=True)  # no page outlives its source
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(ROOT)]
    options = ["--path-output", str(ROOT / "book"), "--all", "-W", "-n", "--keep-going"]
    code = subprocess.run([*command, *options], cwd=ROOT, stdin=subprocess.DEVNULL).returncode
    if code == 0:
        names = Names()
        for chapter in chapters():  # what a page offers to download reads right elsewhere
            write(chapter, BUILD / "html" / "_sources" / "notebooks" / chapter.name, names)
        DONE.touch()
        print(f"\nThe book is ready. First page:\n{FIRST_PAGE}")
    return code


if __name__ == "__main__":
    sys.exit(main())
