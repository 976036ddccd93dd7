import os
from pathlib import Path

import pytest

from testing.lab import Lab, open_page, run_jupyter

# Whoever names a folder for pictures gets each state on a phone and a desk, by day and by night.
SCREENSHOTS = os.environ.get("SCREENSHOTS")
LOOKS = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]
# As the book's button for day and night does it.
THEME = """theme => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
}"""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Add to a failure what its page says: on another machine nobody can look."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.when == "call" and report.failed and page:
        report.sections.append(("what the page says", page.inner_text("body")[-3000:]))
    return report


@pytest.fixture
def page(browser):
    with open_page(browser) as page:
        yield page
        # A kernel that nobody looks at any more takes time from the next test, and holds up JupyterLab's end.
        page.evaluate("() => window.jupyterapp?.serviceManager.sessions.shutdownAll()")


@pytest.fixture(scope="session")
def jupyter(browser, tmp_path_factory):
    """The address and the folder of a running JupyterLab."""
    folder = tmp_path_factory.mktemp("lab")
    with run_jupyter(folder) as address:
        yield address, folder


@pytest.fixture
def lab(page, jupyter):
    """Open cells of code, and an empty one, as a notebook in JupyterLab, and run them."""

    def open_lab(name: str, *cells: str) -> Lab:
        opened = Lab(page, *jupyter, name, [*cells, ""])
        opened.command("notebook:run-all-cells")
        return opened

    return open_lab


@pytest.fixture
def screenshot(page):
    """Save pictures for people to look at, where somebody wants them."""

    def save(name: str, selector: str = ".ssr") -> None:
        if not SCREENSHOTS:
            return
        folder = Path(SCREENSHOTS)
        folder.mkdir(parents=True, exist_ok=True)
        shown, size = page.locator(selector).first, page.viewport_size
        shown.screenshot(path=folder / f"{name}.png")
        theme = page.evaluate("() => document.documentElement.dataset.theme")
        for width, other in LOOKS:
            page.set_viewport_size(size | {"width": width})
            page.evaluate(THEME, other)
            shown.screenshot(path=folder / f"{name}-{width}-{other}.png")
        page.set_viewport_size(size)
        page.evaluate(THEME, theme)

    return save
