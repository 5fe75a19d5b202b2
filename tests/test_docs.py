"""The reference is complete: every setting, command and route of the project stands in docs/reference."""

import re
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = "\n".join(path.read_text() for path in sorted((ROOT / "docs/reference").glob("*.md")))


def settings_read() -> list[str]:
    return sorted(set(re.findall(r'env\.\w+\(\s*"(\w+)"', (ROOT / "config/settings.py").read_text())))


def commands() -> list[str]:
    return sorted(path.stem for path in ROOT.glob("*/management/commands/[a-z]*.py"))


def routes(resolver=None, prefix="") -> list[str]:
    """Return every address as it is written in the URL configuration, parameters as <name>."""
    found = []
    for entry in (resolver or get_resolver()).url_patterns:
        address = prefix + re.sub(r"<\w+:", "<", str(entry.pattern))
        if isinstance(entry, URLResolver):
            found += routes(entry, address)
        elif isinstance(entry, URLPattern):
            found.append("/" + address)
    return found


@pytest.mark.parametrize("name", settings_read())
def test_setting_is_documented(name):
    assert f"`{name}`" in REFERENCE


@pytest.mark.parametrize("name", commands())
def test_command_is_documented(name):
    assert f"`manage.py {name}" in REFERENCE


def test_every_route_is_documented():
    assert [route for route in routes() if f"`{route}`" not in REFERENCE] == []
