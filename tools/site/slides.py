"""Each chapter as slides for a lecture: python -m tools.site.slides [FOLDER]

A chapter's page, built from the notebooks' stored outputs, is cut into slides. A heading, a figure, a
formula, a table, a list and a cell that prints begin one each. Prose becomes the speaker's notes (press S),
but for the sentence that leads to what is shown. The code of figures and widgets is hidden, and solutions
are left out.

reveal.js shows the slides. Deno, which the checks use anyway, takes it from npm when they are made. To show
them needs no network.
"""

import copy
import html
import os
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag

from testing import site

REVEAL = "5.2.1"
CHECKSUM = "87b034324548f9f50fd584b514e0d06e337334cd4ad15b1ee23656b9d0cb1fd6"
FILES = ("dist/reset.css", "dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js")
SENTENCE = re.compile(r"(?<=[.?!:]) +(?=[A-Z])")
PAGE = """<!doctype html>
<html lang="en" data-theme="light">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<link rel="stylesheet" href="../_static/reveal/reset.css">
<link rel="stylesheet" href="../_static/reveal/reveal.css">
<link rel="stylesheet" href="../_static/pygments.css">
<link rel="stylesheet" href="../_static/book.css">
<link rel="stylesheet" href="../_static/reveal/slides.css">
<body><div class="reveal"><div class="slides">{slides}</div></div>
<script src="../_static/reveal/reveal.js"></script>
<script src="../_static/reveal/notes.js"></script>
<script>
// What a slide shows is drawn as large as the slide allows.
const fit = () => {{
  const shown = Reveal.getCurrentSlide().querySelector(".shown");
  const [scale, {{ top }}] = [Reveal.getScale(), document.querySelector(".slides").getBoundingClientRect()];
  for (let zoom = 1.4; zoom > 0.2; zoom -= 0.05) {{
    shown.style.zoom = zoom;
    const low = (shown.getBoundingClientRect().bottom - top) / scale;
    if (low <= 680 && shown.scrollWidth <= shown.clientWidth) break;
  }}
}};
Reveal.on("ready", fit);
Reveal.on("slidechanged", fit);
const size = {{ width: 1280, height: 720, margin: 0, center: false }};
Reveal.initialize({{ ...size, hash: true, transition: "none", slideNumber: true, plugins: [RevealNotes] }});
</script>
"""
STYLE = """
html, body { background: #fff; color: #1c2530; }
.reveal { font: 26px/1.4 system-ui, "DejaVu Sans", sans-serif; }
.reveal .slides { text-align: left; }
.reveal .slides section { box-sizing: border-box; padding: 28px 32px; }
.reveal h1 { font-size: 52px; line-height: 1.15; margin-bottom: 24px; }
.reveal h2 { font-size: 40px; line-height: 1.2; margin-bottom: 14px; }
.reveal p, .reveal li, .reveal table, .reveal .math { margin-bottom: 14px; }
.reveal ul, .reveal ol { padding-left: 1.2em; list-style: disc; }
.reveal em { font-style: italic; }
.reveal strong, .reveal th { font-weight: 600; }
.reveal a { color: #20609b; text-decoration: none; }
.reveal code, .reveal pre { font-family: "DejaVu Sans Mono", monospace; }
.reveal code { font-size: 0.9em; }
.reveal div.highlight pre, .reveal pre { font-size: 19px !important; line-height: 1.35; padding: 10px 14px; }
.reveal .cell_input pre { background: #f4f6f8; }
.reveal img { max-width: 100%; max-height: 450px; width: auto; height: auto; }
.reveal figcaption { font-size: 19px; }
.reveal td, .reveal th { padding: 3px 14px; border-bottom: 1px solid #d5dbe1; }
.reveal table { font-size: 22px; }
.reveal div.math { font-size: 32px; overflow: visible; }
.reveal .admonition-title { font-weight: 600; }
.reveal .copybtn { display: none; }
"""


class Slides:
    """A chapter's slides, as they grow."""

    def __init__(self) -> None:
        self.slides: list[tuple[str, str, list[str]]] = []
        self.prose: list[Tag] = []

    def add(self, title: str, *shown: str) -> None:
        notes = [str(paragraph) for paragraph in self.prose]
        self.slides.append((title, "".join(shown), notes))
        self.prose = []

    def section(self, section: Tag) -> None:
        heading = one(section, "h2, h3")
        title = heading.decode_contents()
        if heading.get_text().strip() == "Read more":
            return
        before = len(self.slides)
        for block in section.find_all(recursive=False):
            if block.name == "section":
                self.rest(title, before)
                self.section(block)
                before = len(self.slides)
            elif block.name == "p":
                self.prose.append(block)
            elif block is not heading and (shown := show(block)):
                self.add(title, self.lead(), shown)
        self.rest(title, before)

    def lead(self) -> str:
        """Return the last sentence before something that is shown."""
        return f"<p>{sentences(self.prose[-1])[-1]}</p>" if self.prose else ""

    def rest(self, title: str, before: int) -> None:
        """Keep prose that nothing follows: for the slide before, or on one of its own."""
        if not self.prose:
            return
        if len(self.slides) > before:
            self.slides[-1][2].extend(str(paragraph) for paragraph in self.prose)
            self.prose = []
        else:
            self.add(title, *(f"<p>{sentences(paragraph)[0]}</p>" for paragraph in self.prose[:5]))

    def html(self) -> str:
        return "\n".join(
            f'<section><h2>{title}</h2><div class="shown">{shown}</div>'
            f'<aside class="notes">{"".join(notes)}</aside></section>'
            for title, shown, notes in self.slides
        )


def show(block: Tag) -> str:
    """Return what a slide shows of a part of a page, or nothing."""
    classes = set(block.get("class") or ())
    if "solution" in classes or block.name in ("script", "span"):
        return ""
    if "dropdown" in classes:  # a question: its answer is said, not shown
        return str(block.select_one(".admonition-title") or "")
    if "cell" not in classes:
        return str(block)
    output = block.select_one(".cell_output")
    if output and output.select_one("img, svg, [id^=ssr-]"):
        return str(output)
    if output or "def " in block.get_text():
        return str(block)
    return ""


def sentences(paragraph: Tag) -> list[str]:
    """Return a paragraph's sentences, with their formulas and links."""
    marked = copy.copy(paragraph)
    for text in list(marked.find_all(string=True, recursive=False)):
        text.replace_with(NavigableString(SENTENCE.sub("\0", re.sub(r"\s+", " ", text))))
    return marked.decode_contents().split("\0")


def slides(page: str) -> str:
    """Return the slides of a chapter's page."""
    article = one(BeautifulSoup(page, "html.parser"), "article.bd-article")
    for link in article.select(".headerlink"):
        link.decompose()
    for within in article.select(".exercise section, .solution section"):
        within.name = "div"  # reveal.js takes each section for a slide
    for link in article.select("a[href]"):
        if not str(link["href"]).startswith("http"):
            link.unwrap()  # slides lie in another folder, and nobody follows a link on a wall
    chapter = one(article, "section")
    title, question = one(chapter, "h1"), one(chapter, "p")
    grown = Slides()
    for block in chapter.find_all("section", recursive=False):
        grown.section(block)
    learn = "".join(str(box) for box in chapter.select(".admonition-you-will-learn"))
    first = f'<section>{title}<div class="shown">{question}{learn}</div></section>'
    return PAGE.format(title=html.escape(title.get_text()), slides=first + grown.html())


def one(within: Tag, selector: str) -> Tag:
    """Return the first of the elements that a page must have."""
    found = within.select_one(selector)
    assert found, f"a page without {selector}"
    return found


def fetch(folder: Path) -> None:
    """Put reveal.js into a folder."""
    cache = folder.parent / "npm"
    deno = [str(Path(sys.executable).parent / "deno"), "cache", "--quiet", "--no-config", "--no-lock"]
    deno.append(f"npm:reveal.js@{REVEAL}")
    if subprocess.run(deno, check=False, env=os.environ | {"DENO_DIR": str(cache)}, cwd=folder).returncode:
        sys.exit(f"reveal.js {REVEAL} could not be fetched: slides need a network once")
    package = next(cache.glob(f"npm/*/reveal.js/{REVEAL}"))
    together = b"".join((package / name).read_bytes() for name in FILES)
    if sha256(together).hexdigest() != CHECKSUM:
        sys.exit(f"reveal.js {REVEAL} is not the one that we know: see CHECKSUM in tools/site/slides.py")
    for name in FILES:
        shutil.copy(package / name, folder)
    shutil.rmtree(cache)
    (folder / "slides.css").write_text(STYLE)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    built = site.build(folder)
    static = built / "_static" / "reveal"
    static.mkdir(exist_ok=True)
    fetch(static)
    (built / "slides").mkdir(exist_ok=True)
    for page in sorted(built.glob("book/[0-9]*.html")):
        (built / "slides" / page.name).write_text(slides(page.read_text()))
    print(f"Open a chapter in {built / 'slides'}; S shows the notes, Esc all slides.")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else site.ROOT / "_build" / "slides")
