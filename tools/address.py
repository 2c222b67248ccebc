"""The repository's address: set in `_config.yml` (`repository: url`) alone; the lines that name it elsewhere follow.

The pages' buttons take it from there when the book is built (`book/_ext/launch.py`), the copies of the chapters when
they are written. Text files that others read as they are have a line with it, or none where none is set.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
FORM = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")
LAUNCH = "[Binder](https://mybinder.org/v2/gh/{name}/HEAD?urlpath=lab/tree/lab) opens the chapters of [{name}]({url})."
#: File, the line above, and the line with the address.
LINES = [
    ("CITATION.cff", "license: MIT", 'repository-code: "{url}"'),
    ("pyproject.toml", 'license = "MIT"', 'urls = {{Repository = "{url}"}}'),
    ("book/how_to_cite.md", "  year   = {{2026}},", "  url    = {{{url}}},"),
    ("README.md", "Conda and Binder read `environment.yml`.", LAUNCH),
]


def address(root: Path = ROOT) -> str:
    """The repository's address, or nothing."""
    settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    url = settings["repository"]["url"] or ""
    if url and not FORM.fullmatch(url):
        raise ValueError(f"repository: url in _config.yml must be https://github.com/OWNER/NAME or empty; got {url!r}")
    return url


def following(text: str, above: str, line: str, url: str) -> str:
    """The text with the line that names the address, or without it."""
    name = url.removeprefix("https://github.com/")
    start, end = line.split("{url}", 1)[0].split("{name}", 1)[0].format(), "[^\n]*\n"
    above = above.format() + "\n"
    if text.count(above) != 1:
        raise ValueError(f"one line must read {above.strip()!r}")
    bare = re.sub(re.escape(above + start) + end, above.replace("\\", r"\\"), text)
    return bare.replace(above, above + line.format(url=url, name=name) + "\n") if url else bare


def follow(root: Path = ROOT) -> None:
    """Bring the text files to the address that is set."""
    url = address(root)
    for name, above, line in LINES:
        path = root / name
        text = path.read_text(encoding="utf-8")
        if (new := following(text, above, line, url)) != text:
            path.write_text(new, encoding="utf-8")
