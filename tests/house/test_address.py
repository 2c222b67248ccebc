"""The repository's address: whatever needs one follows the setting, and shows nothing where none is set."""

import re
import shutil
import tomllib

import address
import pytest
import reading_copies
import yaml
from book_pages import NOTEBOOKS, ROOT
from small_book import built

URL = "https://github.com/somebody/a-book"
FILES = ["_config.yml", *(name for name, _, _ in address.LINES)]
PAGES = {"intro.md": "# First\n", "notebooks/04_x.md": "---\nkernelspec:\n  name: python3\n---\n# Chapter\n"}


@pytest.fixture
def house(tmp_path):
    """Copies of the files that name the address, and a way to set it."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    def set_address(url: str):
        config = (tmp_path / "_config.yml").read_text()
        (tmp_path / "_config.yml").write_text(re.sub(r'(?m)^  url: ".*"$', f'  url: "{url}"', config))
        address.follow(tmp_path)
        return {name: (tmp_path / name).read_text() for name in FILES}

    return set_address


def test_the_files_here_follow_the_setting():
    for name, above, line in address.LINES:
        text = (ROOT / name).read_text()
        assert address.following(text, above, line, address.address()) == text, name


def test_files_follow_the_setting_and_come_back(house):
    without = house("")
    assert not [name for name in FILES if "github.com/somebody" in without[name]]
    with_address = house(URL)
    assert all(URL in text for text in with_address.values())
    assert yaml.safe_load(with_address["CITATION.cff"])["repository-code"] == URL
    assert tomllib.loads(with_address["pyproject.toml"])["project"]["urls"] == {"Repository": URL}
    assert f"  url    = {{{URL}}},\n" in with_address["book/how_to_cite.md"]
    assert "https://mybinder.org/v2/gh/somebody/a-book/HEAD?urlpath=lab/tree/lab" in with_address["README.md"]
    other = house("https://github.com/another/home")
    assert all("somebody" not in text and "another/home" in text for text in other.values())
    assert house("") == without


@pytest.mark.parametrize("url", ["http://github.com/a/b", "github.com/a/b", "https://example.org/a/b", URL + "/"])
def test_an_address_of_another_form_is_refused(house, url):
    with pytest.raises(ValueError, match="repository: url in _config.yml must be https://github.com/OWNER/NAME"):
        house(url)


def pages_at(folder, url: str) -> dict[str, str]:
    """Two pages in the book's theme, with the settings that Jupyter Book makes of an address."""
    settings = {
        "extensions": ["myst_nb", "launch"],
        "nb_execution_mode": "off",
        "html_theme": "sphinx_book_theme",
        "html_theme_options": {"repository_url": url, "repository_branch": "main"},
    }
    html = built(folder, PAGES, settings)
    return {name: (html / name).with_suffix(".html").read_text() for name in PAGES}


def test_buttons_need_an_address(tmp_path):
    pages = pages_at(tmp_path, "")
    assert not re.findall(
        r"github\.com|mybinder|colab\.research|launch-buttons|source-buttons", "".join(pages.values())
    )


def test_buttons_follow_the_address(tmp_path):
    first, chapter = pages_at(tmp_path, URL).values()
    for page, name in ((first, "intro"), (chapter, "notebooks/04_x")):
        assert f'href="{URL}"' in page and f'href="{URL}/edit/main/{name}.md"' in page
        assert f'href="{URL}/issues/new?title=' in page
    assert "https://mybinder.org/v2/gh/somebody/a-book/HEAD?urlpath=lab/tree/lab/04_x.ipynb" in chapter
    assert "https://colab.research.google.com/github/somebody/a-book/blob/copies/lab/04_x.ipynb" in chapter
    assert "mybinder" not in first and "colab" not in first


def test_a_copy_for_colab_fetches_the_book_first():
    names = reading_copies.Names()
    bare = reading_copies.copy_of(NOTEBOOKS[0], names)
    copy = reading_copies.copy_of(NOTEBOOKS[0], names, URL)
    assert f"git clone --quiet --depth 1 {URL} book" in copy.cells[0].source
    assert [c.source for c in copy.cells[1:]] == [c.source for c in bare.cells]
    assert not [cell for cell in bare.cells if "google.colab" in cell.source]
