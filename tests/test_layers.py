"""The layers of the project: an app imports and names only what stands to its left."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_USE = {
    "content": {"content"},
    "topology": {"topology"},
    "offloading": {"offloading", "content", "topology"},
    "workflow": {"workflow", "offloading", "content", "topology"},
    "dam": {"dam", "workflow", "offloading", "content", "topology"},
}
APPS = {*MAY_USE, "config"}


def imported_apps(source: str) -> set[str]:
    """Return the apps of this project that a Python module imports, wherever in the module the import stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module" and node.args:
            names = [getattr(node.args[0], "value", "")]
        found |= {str(name).split(".")[0] for name in names}
    return found & APPS


def named_apps(template: str) -> set[str]:
    """Return the apps that a template names: in a {% url %}, a {% load %} or the path of another template."""
    urls = re.findall(r"""{%\s*url\s+["']([a-z]+):""", template)
    loads = re.findall(r"""{%\s*load\s+([a-z]+)""", template)
    files = re.findall(r"""{%\s*(?:extends|include)\s+["']([a-z]+)/""", template)
    return {*urls, *loads, *files} & APPS


@pytest.mark.parametrize("app", MAY_USE)
def test_app_imports_only_from_its_left(app):
    wrong = {
        str(path.relative_to(ROOT)): sorted(beyond)
        for path in sorted((ROOT / app).rglob("*.py"))
        if (beyond := imported_apps(path.read_text()) - MAY_USE[app])
    }
    assert wrong == {}


@pytest.mark.parametrize("app", MAY_USE)
def test_templates_name_only_what_stands_to_their_left(app):
    wrong = {
        str(path.relative_to(ROOT)): sorted(beyond)
        for path in sorted((ROOT / "templates" / app).rglob("*.html"))
        if (beyond := named_apps(path.read_text()) - MAY_USE[app])
    }
    assert wrong == {}


def test_guard_sees_an_import_that_points_up():
    assert imported_apps("def f():\n    from dam import models\n") == {"dam"}
    assert imported_apps("import workflow.engine as e\n") == {"workflow"}
    assert named_apps("""{% url 'dam:asset' path %}{% include "workflow/_x.html" %}""") == {"dam", "workflow"}
