"""A row of numbers as a small picture beside the words: how something went over time, drawn on the server."""

from collections.abc import Sequence

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

WIDTH, HEIGHT = 120, 24
# Room for the line itself at the top and the bottom.
_EDGE = 1.5


@register.simple_tag
def sparkline(values: Sequence[int], what: str = "jobs") -> SafeString:
    """Draw the counts of successive minutes, oldest first; who cannot see it is told the sum, the peak and the last.

    `what` names the things counted, in the plural.
    """
    return format_html(
        '<svg class="sparkline" role="img" aria-label="{}" viewBox="0 0 {} {}" preserveAspectRatio="none"{}>'
        '<path class="sparkline-area" d="{}"/><path class="sparkline-line" d="{}"/></svg>',
        describe(values, what),
        WIDTH,
        HEIGHT,
        SafeString("" if any(values) else " data-zero"),
        _area(values),
        _line(values),
    )


def describe(values: Sequence[int], what: str) -> str:
    """Say in words what the picture shows."""
    if not any(values):
        return f"No {what} in the last {_minutes(len(values))}"
    return (
        f"{sum(values):,} {what} in the last {_minutes(len(values))}, "
        f"at most {max(values):,} a minute, {values[-1]:,} in the last one"
    )


def _minutes(count: int) -> str:
    return "minute" if count == 1 else f"{count} minutes"


def _points(values: Sequence[int]) -> list[str]:
    """Return "x y" for each value; the highest touches the top, and without any all lie at the bottom."""
    # One value is a level line.
    shown = values if len(values) > 1 else [*values, *values]
    step = WIDTH / max(len(shown) - 1, 1)
    scale = (HEIGHT - 2 * _EDGE) / max([1, *shown])
    return [f"{i * step:.1f} {HEIGHT - _EDGE - value * scale:.1f}" for i, value in enumerate(shown)]


def _line(values: Sequence[int]) -> str:
    return "M" + "L".join(_points(values)) if values else ""


def _area(values: Sequence[int]) -> str:
    return f"M0 {HEIGHT}L" + "L".join(_points(values)) + f"L{WIDTH} {HEIGHT}Z" if values else ""
