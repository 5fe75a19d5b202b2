"""Templates and scripts hold to the content security policy: nothing inline. And they name pieces that exist."""

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.template.loader import get_template

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
STYLES = sorted((ROOT / "static/css").glob("*.css"))
SCRIPTS = sorted((ROOT / "static/js").rglob("*.js"))


def inline_pieces(template: str) -> list[str]:
    """Return what a page with this template would need 'unsafe-inline' for."""
    found = re.findall(r"<style\b", template)
    found += [tag for tag in re.findall(r"<script\b[^>]*>", template) if " src=" not in tag]
    # An attribute stands inside a tag; words such as `once="1"` in texts between tags do not count.
    for tag in re.findall(r"<[a-zA-Z][^>]*>", template):
        found += re.findall(r"""\s(style|on[a-z]+|hx-on[:\w-]*|hx-vars|hx-disable)\s*=""", tag)
        found += re.findall(r"""javascript:""", tag)
    return found


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_template_has_nothing_inline(path):
    assert inline_pieces(path.read_text()) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_template_compiles_and_includes_what_exists(path):
    text = path.read_text()
    get_template(str(path.relative_to(ROOT / "templates")))
    for included in re.findall(r"""{%\s*(?:include|extends)\s+["']([^"']+)["']""", text):
        get_template(included)
    for served in re.findall(r"""{%\s*static\s+["']([^"']+)["']""", text):
        assert finders.find(served), served


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_nothing_is_loaded_from_elsewhere(path):
    assert re.findall(r"""<(?:script|link|img|iframe)\b[^>]*(?:src|href)=["'](?:https?:)?//""", path.read_text()) == []


@pytest.mark.parametrize("path", [path for path in STYLES if path.name != "tokens.css"], ids=name)
def test_literal_colours_stand_in_the_tokens_alone(path):
    rules = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    assert re.findall(r":[^;{}]*(#[0-9a-f]{3,8}\b|\brgb\(|\bhsl\(|\boklch\()", rules) == []
    assert "!important" not in rules


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_script_imports_what_exists_and_writes_no_html(path):
    text = path.read_text()
    for module in re.findall(r"""from ["'](\.[^"']+)["']""", text):
        assert (path.parent / module).exists(), module
    assert re.findall(r"\b(eval|innerHTML|outerHTML|insertAdjacentHTML|document\.write)\b", text) == []


def test_styles_stay_small():
    assert sum(len(path.read_text().splitlines()) for path in STYLES) < 1000


def test_guard_sees_what_is_inline():
    assert inline_pieces('<p style="color: red" onclick="x()">') == ["style", "onclick"]
    assert inline_pieces("<script>alert(1)</script><style>p{}</style>") == ["<style", "<script>"]
    assert inline_pieces('<a href="javascript:x()">') == ["javascript:"]
    assert inline_pieces('<script src="a.js"></script><p>Only once = fine</p>') == []
