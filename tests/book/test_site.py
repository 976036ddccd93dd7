"""The book's site in a real browser: every page, in light and dark, wide and narrow."""

import functools
import json
import posixpath
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import axe_playwright_python
import jupytext
import pytest
from bs4 import BeautifulSoup, SoupStrainer

from testing import site
from testing.lab import open_page

from ..conftest import IN_BOTH

PAGES = site.pages()
CHAPTERS = [name for name in PAGES if (site.ROOT / name).with_suffix(".ipynb").is_file()]
LIMIT = 1_500_000
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
# Thousands of colored words of code and of formulas are alike: axe looks at one of each kind.
ONE_OF_A_KIND = """() => {
    const seen = new Set();
    for (const element of document.querySelectorAll(".highlight span, math")) {
        const block = element.closest("div.highlight");
        const place = block ? block.parentElement.className : element.getAttribute("display");
        const kind = `${element.tagName} ${element.className} ${place}`;
        if (seen.has(kind)) element.replaceWith(...(element.tagName === "SPAN" ? element.childNodes : []));
        seen.add(kind);
    }
    document.body.normalize();
}"""
# What a narrow screen would cut off: it sticks out, and nothing around it scrolls.
CUT_OFF = """() => {
    const scrolls = (element) => element && element !== document.body
        && (/auto|scroll/.test(getComputedStyle(element).overflowX) || scrolls(element.parentElement));
    return [...document.querySelectorAll("article *")]
        .filter((element) => element.getClientRects().length && !element.closest("svg *, .ssr-hearing"))
        .filter((element) => element.getBoundingClientRect().right > innerWidth + 1 && !scrolls(element))
        .map((element) => element.outerHTML.slice(0, 120));
}"""
TOO_LONG = """() => [...document.querySelectorAll("div.cell pre")]
    .filter((element) => element.scrollWidth > element.clientWidth + 1)
    .map((element) => element.textContent.slice(0, 120))"""
NO_ICON = """() => [...document.querySelectorAll("i")]
    .filter((icon) => ["none", ""].includes(getComputedStyle(icon, "::before").content))
    .map((icon) => icon.className)"""

OLD = "book/00-renamed-since.html"


@pytest.fixture(scope="module")
def folder(browser, tmp_path_factory):
    """The site's folder; built only where there is a browser to look at it."""
    folder = tmp_path_factory.mktemp("site")
    old = folder / "_build" / "html" / OLD
    old.parent.mkdir(parents=True)
    old.touch()
    return site.build(folder)


@pytest.fixture(scope="module")
def address(folder):
    with site.serve(folder) as address:
        yield address


@pytest.fixture
def page(request):
    with open_page(request.getfixturevalue(getattr(request, "param", "browser"))) as page:
        # Colors that are still on their way to another theme have no contrast yet.
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.set_viewport_size({"width": 1280, "height": 900})
        yield page


@functools.cache
def html(path: Path) -> BeautifulSoup:
    """The links of a page, and what it says of itself."""
    return BeautifulSoup(path.read_text(), "html.parser", parse_only=SoupStrainer(["a", "link", "meta"]))


@functools.cache
def anchors(path: Path) -> set[str]:
    return set(re.findall(r'\b(?:id|name)="([^"]+)"', path.read_text()))


def broken(links: list[str], address: str, folder: Path) -> list[str]:
    """Return the links into the site that lead nowhere."""
    found = []
    for link in links:
        parts = urlsplit(link)
        path = folder / unquote(parts.path).lstrip("/")
        if link.startswith(address) and not (
            path.is_file() and (not parts.fragment or unquote(parts.fragment) in anchors(path))
        ):
            found.append(link)
    return found


def violations(page, *rules: str) -> list[str]:
    """Return what axe-core rates as serious or critical, by all of its rules or only some."""
    moving = "Promise.allSettled(document.getAnimations().map((one) => one.finished)).then(() => 0)"
    page.evaluate(moving)
    # Of what passes, one place each is enough: to describe them all takes axe as long as to find them.
    options = {"preload": False, "resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    result = page.evaluate("options => axe.run(document, options)", options)
    assert result["passes"], "axe looked at nothing"
    return [
        f"{found['impact']} {found['id']}: {node['target']} {node['failureSummary']}"
        for found in result["violations"]
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]


@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole_small_and_for_everyone(name, page, address, folder):
    visit = site.Visit(page)
    page.goto(address + name, wait_until="networkidle")
    assert visit.errors == []
    assert visit.failed == []
    assert [url for url in visit.responses if not url.startswith((address, "data:", "blob:"))] == []
    assert [url for url, response in visit.responses.items() if response.status >= 400] == []
    assert visit.size() < LIMIT
    assert broken(page.evaluate("[...document.links].map((link) => link.href)"), address, folder) == []
    assert page.evaluate(NO_ICON) == []
    measured = page.locator("article figure:has(img)")
    assert measured.count() == measured.locator("figcaption .caption-number").count()
    assert page.locator('article img:not([alt]), article figure img[alt=""]').count() == 0
    if name in CHAPTERS:
        check_formulas(name, page)
    if name == "book/try-it.html":
        page.locator("article div[id^=ssr-] canvas").first.wait_for()

    page.set_viewport_size({"width": 380, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    assert page.evaluate(CUT_OFF) == []
    page.set_viewport_size({"width": 1280, "height": 900})
    assert page.evaluate(TOO_LONG) == []

    page.evaluate(ONE_OF_A_KIND)
    page.evaluate(AXE)
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-theme=dark]")
    assert violations(page, "color-contrast") == []
    assert visit.errors == []


def check_formulas(name, page) -> None:
    """Each formula is drawn, and what cites it leads to it."""
    text = (site.ROOT / "book" / "text" / f"{Path(name).stem}.md").read_text()
    labels = re.findall(r"^:label: (eq-\S+)", text, re.M)
    assert page.locator("div.math .eqno").count() == len(labels)
    for label in labels:
        drawn = page.locator(f"#equation-{label} math")
        assert drawn.bounding_box()["height"] > 10
        assert not re.search(r"[\\&]", drawn.text_content())
    cited = set(re.findall(r"{eq}`(eq-[^`]+)`", text))
    for label in cited:
        assert page.locator(f'article a[href$="#equation-{label}"]:not(.headerlink)').count()


def test_next_leads_from_the_first_page_to_the_last(page, address, folder):
    seen = [PAGES[0]]
    for _ in PAGES:
        link = html(folder / seen[-1]).find("a", class_="right-next")
        if link is None:
            break
        seen.append(posixpath.normpath(posixpath.join(posixpath.dirname(seen[-1]), link["href"])))
    assert seen == PAGES[:-1]
    page.goto(address + PAGES[1])
    page.locator("a.left-prev").click()
    page.wait_for_url(address + PAGES[0])


@IN_BOTH
def test_a_word_is_found(page, address):
    page.goto(address + PAGES[0], wait_until="networkidle")
    page.keyboard.press("Control+k")
    page.locator("dialog input[type=search]").fill("stagewise")
    page.keyboard.press("Enter")
    hits = page.locator("#search-results li a")
    hits.first.wait_for()
    links = hits.evaluate_all("links => links.map((link) => link.href)")
    assert any("soft-stagewise-regression" in link for link in links)
    hits.first.click()
    page.wait_for_url(re.compile(re.escape(links[0].split("#")[0])))
    assert "stagewise" in page.locator("article").inner_text().lower()


@pytest.mark.parametrize(
    ("word", "where"), [("webcam", "16-in-front-of-the-camera"), ("colab", "book/index")]
)
def test_words_that_people_use_are_found_with_an_excerpt(word, where, page, address):
    page.goto(f"{address}search.html?q={word}")
    hit = page.locator("#search-results li", has=page.locator(f'a[href*="{where}"]'))
    hit.first.wait_for()
    assert word in hit.first.locator(".context").inner_text().lower()
    icon = page.locator("article .bd-search i, .bd-search-container .bd-search i").first.bounding_box()
    field = page.locator(".bd-search-container input[type=search]")
    padding = field.evaluate("it => parseFloat(getComputedStyle(it).paddingLeft)")
    assert field.bounding_box()["x"] + padding >= icon["x"] + icon["width"]


def test_a_figure_fits_a_phone_and_a_tap_enlarges_it(page, address):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address + CHAPTERS[1])
    figures = page.locator("article figure img")
    rights = figures.evaluate_all("all => all.map((one) => one.getBoundingClientRect().right)")
    assert rights
    assert max(rights) <= 390
    page.locator("article figure button.enlarge").first.press("Enter")
    assert page.locator("dialog.enlarged img").bounding_box()["width"] > 800
    page.keyboard.press("Escape")
    page.locator("dialog.enlarged").wait_for(state="detached")
    figures.first.click()
    page.locator("dialog.enlarged img").click(position={"x": 5, "y": 5})
    page.locator("dialog.enlarged").wait_for(state="detached")


def test_columns_of_numbers_do_not_touch(page, address):
    page.goto(address + CHAPTERS[7])
    padding = page.locator("table.dataframe td").first.evaluate("it => getComputedStyle(it).paddingLeft")
    assert float(padding.removesuffix("px")) >= 6


@IN_BOTH
def test_the_landing_page_leads_on_before_anyone_scrolls(page, address):
    for width, height in ((1280, 900), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        page.goto(address + PAGES[0])
        button = page.get_by_role("link", name="Try it on your face")
        assert button.bounding_box()["y"] + button.bounding_box()["height"] < height
        assert page.locator(".hook img").bounding_box()["y"] < height - 200
    doors = page.locator(".sd-card a.sd-stretched-link")
    links = doors.evaluate_all("all => all.map((one) => one.getAttribute('href'))")
    assert [link.split("#")[0] for link in links] == ["try-it.html", "01-photo-to-age.html", ""]
    page.emulate_media(reduced_motion="reduce")
    assert page.locator(".hook img").evaluate("it => it.currentSrc").endswith("film-still.webp")
    page.get_by_role("link", name="Try it on your face").click()
    page.wait_for_url("**/try-it.html*")


@pytest.mark.parametrize("name", [PAGES[0], "book/16-in-front-of-the-camera.html"])
def test_the_film_is_small_and_stands_still_for_who_wants_that(name, page, address, folder):
    for motion, file in (("no-preference", "film.webp"), ("reduce", "film-still.webp")):
        page.emulate_media(reduced_motion=motion)
        page.goto(address + name)
        film = page.locator('img[alt^="The webcam demo"]')
        assert film.evaluate("it => it.decode().then(() => it.naturalWidth)") > 300
        assert film.evaluate("it => it.currentSrc").endswith(f"_static/{file}")
        assert (folder / "_static" / file).stat().st_size < 500_000


def test_theme_is_switched_and_remembered(page, address):
    page.goto(address + CHAPTERS[0], wait_until="networkidle")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    for _ in range(3):
        if page.locator("html[data-theme=dark]").count():
            break
        page.locator("button.theme-switch-button:visible").first.click()
    dark = page.evaluate(ground)
    page.goto(address + CHAPTERS[1])
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert light != dark == page.evaluate(ground)


def test_the_checklist_can_be_ticked(page, address):
    page.goto(f"{address}book/17-using-it-well.html")
    box = page.get_by_label("I can say in one sentence")
    box.check()
    assert box.is_checked()


def test_code_is_copied(page, address):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(address + CHAPTERS[0], wait_until="networkidle")
    cells = page.locator("div.cell_input")
    assert cells.count() == cells.locator("button.copybtn").count() > 5
    cells.first.hover()
    cells.first.locator("button.copybtn").click()
    page.wait_for_selector("button.copybtn.success")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == cells.first.locator("pre").inner_text().strip()


@pytest.mark.parametrize("name", CHAPTERS)
def test_notebook_can_be_downloaded(name, folder):
    link = html(folder / name).find("a", class_="btn-download-source-button")["href"]
    notebook = json.loads((folder / name).parent.joinpath(link).read_text())
    stored = jupytext.read(site.ROOT / name.replace(".html", ".ipynb"))
    assert ["".join(cell["source"]) for cell in notebook["cells"]] == [cell.source for cell in stored.cells]


def test_the_page_of_a_chapter_that_was_renamed_is_gone(folder):
    assert not (folder / OLD).exists()
    assert len(list((folder / OLD).parent.glob("*.html"))) > 20


def test_a_shared_page_has_a_card(folder):
    for name in PAGES:
        head, place = html(folder / name), (folder / name).parent
        keys = ("title", "description", "image")
        card = {key: head.find("meta", property=f"og:{key}")["content"] for key in keys}
        assert all(card.values())
        assert place.joinpath(card["image"]).read_bytes()[:4] == b"\x89PNG"
        assert place.joinpath(head.find("link", rel="icon")["href"]).is_file()
