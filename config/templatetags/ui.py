"""What templates of every app draw with: icons, times, spans, sizes, toasts. Words and shapes only, no data of ours."""

import functools
import json
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from urllib.parse import parse_qsl

from django import template
from django.contrib.messages.storage.base import Message
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from heroicons.templatetags.heroicons import heroicon_mini

from config import toasts

register = template.Library()
# Not inside an address such as 127.0.0.1.
_BREAKS = re.compile(r"(?<=[/,_])(?=[^./,_])|(?<=\.)(?=[^\W\d])")


@register.simple_block_tag
def capture(content: str) -> str:
    """Render a block once, to use it twice: {% capture as name %}…{% endcapture %}."""
    return content


@register.simple_tag
def icon(name: str, size: int = 18) -> str:
    """Draw a heroicon (mini set). It is hidden from screen readers: the word beside it says the same."""
    return _icon(str(name), size)


@functools.lru_cache(maxsize=256)
def _icon(name: str, size: int) -> str:
    return heroicon_mini(name, size=size)


@register.filter
def thousands(number: int) -> str:
    """Write a number so that large ones can be read: 1,234,567."""
    return f"{number:,}"


@register.filter
def duration(span: timedelta | float | None) -> str:
    """Say how long something took, in the one or two units a person would use: 340 ms, 2.4 s, 3 min 12 s, 2 h 5 min."""
    if span is None:
        return "–"
    seconds = max(span.total_seconds() if isinstance(span, timedelta) else float(span), 0.0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"


@register.simple_tag
def span(start: datetime | None, end: datetime | None = None) -> str:
    """Say how long it was from `start` to `end`, or to now while there is no end."""
    return duration((end or timezone.now()) - start if start else None)


@register.simple_tag
def moment(when: datetime | None) -> str:
    """Write an instant as people say it ("12 s ago"), with the full instant as title. app.js keeps it fresh."""
    if when is None:
        return "–"
    local = timezone.localtime(when)
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>', local.isoformat(), _full(local), ago(timezone.now() - when)
    )


@register.simple_tag
def clock(when: datetime | None) -> str:
    """Write an instant as a time of day, to compare steps with each other; the full instant is the title."""
    if when is None:
        return "–"
    local = timezone.localtime(when)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', local.isoformat(), _full(local), local.strftime("%H:%M:%S")
    )


@register.simple_tag
def countdown(when: datetime | None) -> str:
    """Write an instant to come as people say it ("in 12 s"), the full instant as title. times.js keeps it fresh."""
    if when is None:
        return "–"
    local = timezone.localtime(when)
    return format_html(
        '<time datetime="{}" title="{}" data-until>{}</time>',
        local.isoformat(),
        _full(local),
        ahead(when - timezone.now()),
    )


def _full(local: datetime) -> str:
    return local.strftime("%A %-d %B %Y, %H:%M:%S.") + f"{local.microsecond // 1000:03d} {local.tzname()}"


def ago(span: timedelta) -> str:
    """Say how long ago something was; static/js/times.js says the same in the browser."""
    seconds = int(span.total_seconds())
    if seconds < 5:
        return "just now"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def ahead(span: timedelta) -> str:
    """Say how far ahead something is; static/js/times.js says the same in the browser."""
    seconds = round(span.total_seconds())
    if seconds <= 0:
        return "any moment"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"in {seconds // size} {unit}"
    return f"in {seconds} s"


@register.filter
def size(count: int | None) -> str:
    """Say a number of bytes: 0 bytes, 350.2 KB, 4.0 MB."""
    return "–" if count is None else filesizeformat(count)


@register.filter
def soft(name: str) -> str:
    """Let a long name (a topic, a property, a path) break behind its dots, slashes and commas rather than anywhere."""
    return format_html_join("", "{}<wbr>", ((part,) for part in _BREAKS.split(name)))


@register.filter
def pretty(value: object) -> str:
    """Write a JSON value for people: text as it is, everything else indented."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


@register.filter
def parts(query: str) -> list[tuple[str, str]]:
    """Split a query string into its names and values, for the hidden fields of a form."""
    return parse_qsl(query, keep_blank_values=True)


@register.filter
def as_toasts(messages: Iterable[Message]) -> list[toasts.Toast]:
    """Turn Django's messages into the toasts that a page without scripting shows."""
    return [toasts.from_message(message) for message in messages]
