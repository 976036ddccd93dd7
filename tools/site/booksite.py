"""A small Sphinx extension: what the book's site does in its own way.

- Formulas become MathML when the site is built. A page then needs no script to draw them, and a screen
  reader can read them. Their font, STIX Two Math (SIL Open Font License, carried by ziamath), is cut down to
  what mathematics needs.
- Pages load nothing from elsewhere and nothing they do not use: no thebe, no ipywidgets, no second set of
  icons.
- The film on the pages is the README's, made small enough for a phone, and its first picture for those who
  want nothing to move.
- Where _config.yml names the repository, each page leads there, and one with code has a menu that opens it
  on Binder and on Colab (tools/site/launch.py).
- Each page says what it is to those who share it (Open Graph). `SITE_URL=https://... make book` makes the
  addresses whole, which most sites ask for.
"""

import os
import re
from importlib.resources import files
from pathlib import Path

from docutils import nodes
from fontTools import subset
from latex2mathml.converter import convert
from PIL import Image, ImageSequence
from sphinx.util.math import get_node_equation_number

from tools.site import launch

# Latin, Greek, letterlike, arrows and operators; the slanted letters that MathML draws variables with.
CHARACTERS = [*range(0x20, 0x7F), 0xB1, 0xB7, 0xD7, *range(0x391, 0x3F6), *range(0x2010, 0x2050)]
CHARACTERS += [*range(0x2100, 0x2340), *range(0x23B4, 0x23E2), *range(0x27E6, 0x27EC)]
CHARACTERS += [*range(0x1D434, 0x1D468), *range(0x1D6E2, 0x1D71C)]
# A line of a checklist: its box has no label of its own, and could not be ticked.
TICKED = re.compile(r'<p>(<input class="task-list-item-checkbox") disabled="disabled"(.*?)</p>', re.S)
FILM = re.compile(r'<img (alt="[^"]*") src="../_images/demo.webp" />')
UNUSED = re.compile(r"thebe|widget-state", re.I)


def setup(app) -> dict:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("config-inited", _configure)
    app.connect("html-page-context", _page, priority=900)
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _configure(app, config) -> None:
    config.html_math_renderer = "mathml"
    config.html_baseurl = os.environ.get("SITE_URL", config.html_baseurl)
    if address := config.html_theme_options["repository_url"]:
        launch.repository(address)  # or it says what is wrong with the address
        config.html_theme_options["use_repository_button"] = True


def _mathml(formula: str, display: str) -> str:
    # The converter knows no aligned, spells words letter by letter, and sets "a log b" as "alogb".
    formula = re.sub(r"{aligned}", "{align*}", formula)
    formula = re.sub(r"\\mathrm{(\w\w+)}", r"\\text{\1}", formula)
    formula = re.sub(r"\\(log|exp|tanh)\b", r"\\,\g<0>", formula)
    formula = re.sub(r"\\(log|exp|tanh)\b(?! *\()", r"\g<0>\\,", formula)
    return convert(formula, display=display)


def _inline(writer, node) -> None:
    writer.body.append(_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(writer, node) -> None:
    # A wide formula scrolls within itself, also with the keyboard.
    writer.body.append(writer.starttag(node, "div", CLASS="math", tabindex="0", role="group"))
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})')
        writer.add_permalink_ref(node, "Link to this equation")
        writer.body.append("</span>")
    writer.body.append(_mathml(node.astext(), "block") + "</div>\n")
    raise nodes.SkipNode


def _page(app, name, template, context, doctree) -> None:
    context["script_files"] = [
        script
        for script in context["script_files"]
        if not UNUSED.search(f"{script.filename} {getattr(script, 'attributes', '')}")
    ]
    context["css_files"] = [style for style in context["css_files"] if "thebe" not in str(style.filename)]
    address = app.config.html_theme_options["repository_url"]
    if address and "kernelspec" in app.env.metadata.get(name, {}):
        context["header_buttons"].insert(0, launch.menu(address, f"{Path(name).name}.ipynb"))
    # Docutils puts bibliography entries, which are no list items, into a list.
    body = context.get("body", "").replace('role="doc-biblioentry"', 'role="listitem"')
    body = FILM.sub(_small_film, body)
    context["body"] = TICKED.sub(r"<p><label>\1\2</label></p>", body)
    first = doctree and next(iter(doctree.findall(lambda node: _is_prose(node))), None)
    about = re.sub(r"\s+", " ", first.astext()).strip() if first else app.config.html_title
    card = context["pathto"]("_static/card.png", resource=True)
    if app.config.html_baseurl:
        card = f"{app.config.html_baseurl.rstrip('/')}/_static/card.png"
    title = re.sub(r"<[^>]+>", "", context.get("title", app.config.html_title))
    tags = {"og:type": "article", "og:site_name": app.config.html_title, "og:title": title}
    picture = "The book's name, and three rows of bins, each dividing one of the row above"
    tags |= {"og:description": about, "og:image": card, "og:image:alt": picture}
    escape = app.builder.templates.environment.filters["e"]
    meta = [f'<meta property="{key}" content="{escape(value)}" />' for key, value in tags.items()]
    meta += [f'<meta name="description" content="{escape(about)}" />']
    meta += ['<meta name="twitter:card" content="summary_large_image" />']
    context["metatags"] = "\n".join([context.get("metatags", ""), *meta])


def _small_film(image: re.Match) -> str:
    still = '<source media="(prefers-reduced-motion: reduce)" srcset="../_static/film-still.webp">'
    return f'<picture>{still}<img src="../_static/film.webp" width="320" height="326" {image[1]}></picture>'


def _is_prose(node) -> bool:
    return isinstance(node, nodes.paragraph) and isinstance(node.parent, nodes.section)


def _finish(app, error) -> None:
    static = Path(app.outdir) / "_static"
    if error or not static.is_dir():
        return
    # The theme's font has all its icons (book.css says which); this script of 1.5 MB draws them once more.
    (static / "scripts" / "fontawesome.js").write_text("// Icons come from the theme's font: see book.css.\n")
    for debugging in static.rglob("*.map"):
        debugging.unlink()
    _write_math_font(static / "math.woff")
    _write_film(Path(app.srcdir) / "book" / "images" / "demo.webp", static)
    (static.parent / "_images" / "demo.webp").unlink(missing_ok=True)  # pages show the small one
    known = {app.builder.get_outfilename(name) for name in app.env.found_docs}
    for page in (static.parent / "book").glob("*.html"):
        if str(page) not in known:  # a chapter that has another name by now
            page.unlink()


def _write_math_font(path: Path) -> None:
    if path.exists():
        return
    options = subset.Options(flavor="woff", hinting=False, layout_features=["ssty", "dtls", "flac"])
    font = subset.load_font(str(files("ziamath.fonts") / "STIXTwoMath-Regular.ttf"), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=CHARACTERS)
    subsetter.subset(font)
    subset.save_font(font, str(path), options)


def _write_film(film: Path, folder: Path) -> None:
    """Write every second picture of a film at half its size, and its first one by itself."""
    if (folder / "film.webp").exists():
        return
    with Image.open(film) as images:
        still, *rest = [image.convert("RGB").reduce(2) for image in ImageSequence.Iterator(images)][::2]
        # Pillow tells how long a picture stays once it is decoded.
        stays = 2 * images.info["duration"]
    still.save(folder / "film-still.webp", quality=60)
    still.save(folder / "film.webp", save_all=True, append_images=rest, duration=stays, loop=0, quality=50)
