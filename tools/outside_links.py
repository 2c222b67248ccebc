"""Do the book's links to the outside still lead somewhere? Needs the network and nothing but Python.

`make test` checks their form alone. Sites that refuse programs (403, 429) or are down for a day (5xx) are not dead.
"""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("*.md", "book/**/*.md", "book/references.bib", "notebooks/*.ipynb", "_config.yml", "CITATION.cff")
URL = re.compile(r"https://[^\s\"'`<>{}\\|]+")
DOI = re.compile(r"\bdoi\s*=\s*\{([^}]+)\}")
EPRINT = re.compile(r"\beprint\s*=\s*\{([^}]+)\}")
DEAD = {404, 410}


def outside_links(root: Path = ROOT) -> list[str]:
    """Every address that a page or a reference names."""
    found: set[str] = set()
    for path in sorted({path for pattern in SOURCES for path in root.glob(pattern)}):
        if "_build" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        found |= {trimmed(url) for url in URL.findall(text)}
        if path.suffix == ".bib":
            found |= {f"https://doi.org/{doi}" for doi in DOI.findall(text)}
            found |= {f"https://arxiv.org/abs/{number}" for number in EPRINT.findall(text)}
    return sorted(found)


def trimmed(url: str) -> str:
    """Without the punctuation of the sentence around it; a bracket stays where it was opened."""
    url = url.rstrip(".,;:!?*")
    while url.endswith(")") and url.count(")") > url.count("("):
        url = url[:-1].rstrip(".,;:!?*")
    return url.rstrip("]")


def answer(url: str) -> int:
    """The status that a site answers with; 0 where there is no such site."""
    request = urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0 (a book's weekly check of its links)"})
    try:
        return urllib.request.urlopen(request, timeout=30).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def dead(urls: list[str], ask: Callable[[str], int] = answer) -> list[str]:
    """Those that are gone; a site that is not there is asked twice."""
    return [url for url in urls if (ask(url) or ask(url)) in DEAD | {0}]


def main() -> int:
    urls = outside_links()
    gone = dead(urls)
    print(f"{len(urls)} links, {len(gone)} dead", *gone, sep="\n")
    return bool(gone)


if __name__ == "__main__":
    sys.exit(main())
