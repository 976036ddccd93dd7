"""How large is each page of the book, and how soon can a reader use it?

    python -m benchmarks.site

The site is served by this machine and opened in headless Chromium, each page five times in a fresh context,
so that nothing is cached; the medians are recorded. Interactive: the page is parsed, and the scripts that it
waits for have run (the end of DOMContentLoaded). Drawn: the largest thing on the first screen is there.
Bytes: the page with all its files, text compressed by gzip as public web servers send it.
"""

import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from ssrlib import results, weights
from testing import site
from testing.lab import CHROMIUM, QUIET

TIMES = """() => new Promise((resolve) => {
    const { domContentLoadedEventEnd, loadEventEnd } = performance.getEntriesByType("navigation")[0];
    new PerformanceObserver((list) => resolve(
        [domContentLoadedEventEnd, list.getEntries().at(-1).startTime, loadEventEnd]
    )).observe({ type: "largest-contentful-paint", buffered: true });
})"""
KEYS = ("interactive_ms", "drawn_ms", "loaded_ms")


def visit(browser, url: str) -> tuple[int, list[float]]:
    """Open a page as a reader who comes for the first time; return its bytes and its three times."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    seen = site.Visit(page)
    page.goto(url, wait_until="networkidle")
    found = seen.size(), page.evaluate(TIMES)
    context.close()
    return found


def main() -> None:
    results.check_committed()
    measured = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        site.serve(site.build(Path(folder))) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for name in site.pages():
            visits = [visit(browser, address + name) for _ in range(5)]
            times = zip(*(times for _, times in visits), strict=True)
            medians = {key: round(statistics.median(column)) for key, column in zip(KEYS, times, strict=True)}
            measured[name] = {"bytes": visits[0][0]} | medians
            shown = "  ".join(f"{measured[name][key]:5} {key}" for key in KEYS)
            print(f"{measured[name]['bytes'] / 1e6:5.2f} MB  {shown}  {name}", flush=True)
        browser.close()
    data = "the book's site, from stored outputs"
    results.record("book/results/site.json", measured, weights=weights.built_in(), data=data)


if __name__ == "__main__":
    main()
