"""A page becomes slides."""

from bs4 import BeautifulSoup

from tools.site.slides import slides

PAGE = """<article class="bd-article"><section>
<h1>4. Stages<a class="headerlink">#</a></h1><p><em>How?</em></p>
<div class="admonition-you-will-learn"><ul><li>this</li></ul></div>
<section><h2>Digits<a class="headerlink">#</a></h2>
<p>A long story. It goes on. Look at <a href="glossary.html#this">this</a>:</p>
<div class="cell"><div class="cell_input">plots.stages()</div>
<div class="cell_output"><figure><img src="a.png"></figure></div></div>
<p>So that was it.</p>
<div class="cell"><div class="cell_input">import numpy</div></div>
<div class="cell"><div class="cell_input">print(1)</div><div class="cell_output">1</div></div>
<section><h3>Only words</h3><p>One idea. And more of it.</p><p>Another idea.</p></section>
</section>
<section><h2>Try it yourself</h2>
<div class="exercise"><section><p>What is it?</p></section></div>
<div class="solution"><section><p>It is that.</p></section></div>
</section>
<section><h2>Questions</h2>
<div class="admonition dropdown"><p class="admonition-title">Why?</p><p>Because.</p></div>
</section>
<section><h2>Read more</h2><p>Elsewhere.</p></section>
</section></article>"""


def test_a_page_becomes_slides():
    shown = BeautifulSoup(slides(PAGE), "html.parser").select("section")
    notes = [slide.aside.extract().get_text(" ") if slide.aside else "" for slide in shown]
    texts = [" ".join(slide.get_text(" ").split()) for slide in shown]
    assert texts == [
        "4. Stages How? this",
        "Digits Look at this:",
        "Digits So that was it. print(1) 1",
        "Only words One idea. Another idea.",
        "Try it yourself What is it?",
        "Questions Why?",
    ]
    assert shown[1].img
    assert not any(slide.a for slide in shown)
    assert "A long story." in notes[1]
    assert "And more of it." in notes[3]
    assert "It is that." not in " ".join(notes)
