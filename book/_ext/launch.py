"""Buttons that need the repository's address: there where `_config.yml` has one, none where it has none.

Binder and Colab open the copies of the chapters that read right in JupyterLab (`tools/reading_copies.py`): Binder makes
them, and the workflow keeps them for Colab in a branch of their own.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

BUTTONS = ("use_repository_button", "use_edit_page_button", "use_issues_button")
SERVICES = {
    "Binder": ("https://mybinder.org/v2/gh/{name}/HEAD?urlpath=lab/tree/lab/{chapter}.ipynb", "logo_binder.svg"),
    "Colab": ("https://colab.research.google.com/github/{name}/blob/copies/lab/{chapter}.ipynb", "logo_colab.png"),
}


def repository(config: Config) -> str:
    return config.html_theme_options.get("repository_url") or ""


def show_buttons(app: Sphinx, config: Config) -> None:
    config.html_theme_options |= dict.fromkeys(BUTTONS, bool(repository(config)))


def launch(url: str, chapter: str) -> dict[str, Any]:
    """A menu of the services that run a chapter."""
    name = url.removeprefix("https://github.com/")
    buttons = [
        {
            "type": "link",
            "text": service,
            "tooltip": f"Launch on {service}",
            "icon": f"_static/images/{icon}",
            "url": link.format(name=name, chapter=chapter),
        }
        for service, (link, icon) in SERVICES.items()
    ]
    menu = {"type": "group", "tooltip": "Launch this chapter", "icon": "fas fa-rocket", "label": "launch-buttons"}
    return menu | {"buttons": buttons}


def add_launch(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: object) -> None:
    folder, _, chapter = pagename.rpartition("/")
    if folder == "notebooks" and (url := repository(app.config)):
        context["header_buttons"].insert(0, launch(url, chapter))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", show_buttons)
    app.connect("html-page-context", add_launch, priority=502)  # after the theme's own buttons
    return {"parallel_read_safe": True, "parallel_write_safe": True}
