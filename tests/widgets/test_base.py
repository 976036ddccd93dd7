import json
import re
from collections import Counter

import pytest

from ssrlib.widgets import base
from ssrlib.widgets.base import as_page

SCRIPTS = sorted(path.name for path in base.FOLDER.glob("*.js"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_and_what_it_imports_become_one_module_that_needs_no_other(name):
    module = base.module(name)
    assert not re.search(r"^import\b", module, re.MULTILINE)
    assert set(re.findall(r"^export\b.*", module, re.MULTILINE)) <= {"export default { render };"}
    # All share one scope there: two files must not use the same name.
    declared = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", module, re.MULTILINE)
    assert [name for name, count in Counter(declared).items() if count > 1] == []


def test_what_several_scripts_import_is_there_once_and_before_them():
    module = base.module("explorer.js")
    places = [module.index(text) for text in ("function h(", "function scale(", "class StagewiseExplorer")]
    assert places == sorted(places)
    assert module.count("function h(") == 1


def test_no_text_in_a_state_can_end_its_script_or_hide_the_end():
    state = {"text": "<!-- <script> </script>"}
    page = as_page("", state)
    script = page.split('<script type="module">')[1]
    assert (script.count("</"), script.count("<!--")) == (1, 0)
    (values,) = re.findall(r"modelOf\((\{.*?\})\);showOn", script)
    assert json.loads(values) == state


def test_a_page_form_ends_when_its_place_has_gone(page):
    script = """function render({ model, el }) {
        el.textContent = model.get("name");
        return () => { window.ended = el.textContent };
    }"""
    show = "html => document.body.replaceChildren(document.createRange().createContextualFragment(html))"
    for name in ("one", "two"):
        page.evaluate(show, as_page(script, {"name": name}))
        page.get_by_text(name).wait_for()
    assert page.evaluate("() => window.ended") == "one"
