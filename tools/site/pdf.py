"""Print the whole book as one PDF: python -m tools.site.pdf [PLACE]

The site is built from the notebooks' stored outputs, and Chromium prints all its pages as one.
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from testing import site
from testing.lab import CHROMIUM, QUIET

# Put every page's article into this one. Names that pages share get the page's name before them.
JOIN = """async (pages) => {
    const named = (page, id) => id ? `${page}--${id}` : page;
    const book = document.createElement("main");
    for (const page of pages) {
        const text = await (await fetch(page)).text();
        const other = new DOMParser().parseFromString(text, "text/html");
        const article = other.querySelector("article.bd-article");
        for (const element of article.querySelectorAll("[id]:not([id^=ssr-])")) {
            element.id = named(page, element.id);
        }
        for (const link of article.querySelectorAll("a[href]")) {
            const target = new URL(link.getAttribute("href"), new URL(page, location.href));
            const path = target.pathname.split("/").pop() || page;
            if (target.origin !== location.origin) continue;
            if (pages.includes(path)) link.setAttribute("href", "#" + named(path, target.hash.slice(1)));
        }
        for (const hidden of article.querySelectorAll("details")) hidden.open = true;
        article.id = page;
        article.classList.add("printed");
        book.append(article);
    }
    document.body.replaceChildren(book);
    await document.fonts.ready;
    await Promise.all([...document.images].map((image) => image.decode()));
    for (const script of book.querySelectorAll("script")) {
        const again = document.createElement("script");  // one that is parsed does not run
        again.type = script.type;
        again.textContent = script.textContent;
        script.replaceWith(again);
    }
}"""
WIDGETS = "[...document.querySelectorAll('div[id^=ssr-]')].every((place) => place.children.length)"
NUMBER = '<p style="width: 100%; font: 8px sans-serif; text-align: center" class="pageNumber"></p>'


def main(place: Path) -> None:
    if not CHROMIUM.exists():
        sys.exit(f"make pdf prints with Chromium, and {CHROMIUM} is not there: sudo apt-get install chromium")
    place.parent.mkdir(parents=True, exist_ok=True)
    pages = [Path(name).name for name in site.pages() if name.startswith("book/")]
    with site.serve(site.build(place.parent)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(600_000)
        page.goto(f"{address}book/{pages[0]}", wait_until="networkidle")
        page.evaluate(JOIN, pages)
        page.wait_for_function(WIDGETS)
        page.pdf(
            path=place,
            format="A4",
            scale=0.8,
            margin={"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"},
            display_header_footer=True,
            header_template="<p></p>",
            footer_template=NUMBER,
            outline=True,
            tagged=True,
            print_background=True,
        )
        browser.close()
    print(f"Wrote {place}, {place.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else site.ROOT / "_build" / "pdf" / "ssrnet-book.pdf")
