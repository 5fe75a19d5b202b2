"""How the sub-commands of `manage.py jobs` print: for people in columns, for programs as JSON."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from django.core.serializers.json import DjangoJSONEncoder


class Out(Protocol):
    """Where a command writes to: its `self.stdout`, which ends each text with a line break."""

    def write(self, msg: str = "", /) -> object: ...


def as_json(out: Out, value: Any) -> None:
    out.write(json.dumps(value, indent=2, cls=DjangoJSONEncoder))


def as_columns(out: Out, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table whose columns are as wide as what stands in them."""
    lines = [tuple(headings), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        out.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
