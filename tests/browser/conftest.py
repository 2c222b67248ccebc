"""One Chromium for each file here (`--dist loadfile` keeps a file on one worker).

It is closed before another file starts, because Playwright keeps an event loop running.
"""

from collections.abc import Iterator

import playwright.sync_api as playwright_api
import pytest
from book_pages import IN_CI, skip_or_fail
from browsing import FLAGS, browser_path


@pytest.fixture(scope="module")
def browser() -> Iterator:
    path = browser_path()
    if path is None:
        skip_or_fail("no Chromium: install it (apt install chromium) or set CHROMIUM", fail=IN_CI)
    with playwright_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()
