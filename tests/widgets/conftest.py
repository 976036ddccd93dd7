import os
from pathlib import Path

import pytest

from testing.lab import PATIENCE, Lab, open_page, run_jupyter

# Whoever names a folder for pictures gets each state on a phone and a desk, by day and by night.
SCREENSHOTS = os.environ.get("SCREENSHOTS")
LOOKS = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]
PNG_END = b"IEND\xaeB`\x82"
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
def page(request):
    with open_page(request.getfixturevalue(getattr(request, "param", "browser"))) as page:
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
def press_and_save(page, firefox_folder, tmp_path):
    """Press a button that saves a picture, and return its file."""

    def press(button, name: str) -> Path:
        if page.context.browser.browser_type.name == "chromium":
            with page.expect_download() as waiting:
                button.click()
            assert waiting.value.suggested_filename == name
            waiting.value.save_as(tmp_path / name)
        else:
            button.click()
            found = firefox_folder / name
            for _ in range(PATIENCE // 50):
                if found.exists() and found.read_bytes().endswith(PNG_END):
                    break
                page.wait_for_timeout(50)
            found.rename(tmp_path / name)
        return tmp_path / name

    return press


@pytest.fixture
def screenshot(page):
    """Save pictures for people to look at, where somebody wants them."""

    def save(name: str, selector: str = ".ssr") -> None:
        if not SCREENSHOTS:
            return
        folder = Path(SCREENSHOTS)
        folder.mkdir(parents=True, exist_ok=True)
        if page.context.browser.browser_type.name == "firefox":
            name = f"{name}-firefox"
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
