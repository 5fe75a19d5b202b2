"""Conditions on jobs that SQLite and PostgreSQL would answer differently if each was asked in its own way.

Values are always parameters. Texts are compared by code point on both, upper and lower case are the same in `contains`,
instants are compared to the microsecond although SQLite keeps them as texts of different lengths.
"""

import json
from datetime import UTC
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Func, Q
from django.db.models.sql.compiler import SQLCompiler

from offloading.models import JobState

Sql = tuple[str, list[Any]]
OPERATORS = ("<=", ">=", "<", ">", "=")
NOTHING = Q(pk__in=[])

# SQLite has "2026-11-24 07:27:52", "….123" and "….123456" for instants: all become the last of these.
_SQLITE_INSTANT = "substr({0} || CASE WHEN length({0}) = 19 THEN '.000000' ELSE '000000' END, 1, 26)"


class Condition(Func):
    """Something about one column that is true or not."""

    def __init__(self, column: str) -> None:
        super().__init__(F(column), output_field=BooleanField())

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Sql:  # type: ignore[override]
        column, _ = compiler.compile(self.source_expressions[0])
        condition, values = self.write(column, is_postgresql=connection.vendor == "postgresql")
        return f"({condition})", values

    def write(self, column: str, *, is_postgresql: bool) -> Sql:
        """Return the condition on `column`, which is a plain name."""
        raise NotImplementedError


class Comparison(Condition):
    """A column compared with a value by one of OPERATORS."""

    def __init__(self, column: str, operator: str, value: Any) -> None:
        super().__init__(column)
        self.operator, self.value = operator, value


class TextComparison(Comparison):
    """A text column compared with a text."""

    def write(self, column: str, *, is_postgresql: bool) -> Sql:
        return f"{_by_code_point(column, is_postgresql)} {self.operator} %s", [self.value]


class NumberComparison(Comparison):
    """A column of numbers compared with a number."""

    def write(self, column: str, *, is_postgresql: bool) -> Sql:
        return f"{column} {self.operator} %s", [self.value]


class InstantComparison(Comparison):
    """A column of instants compared with a datetime, which knows its time zone."""

    def write(self, column: str, *, is_postgresql: bool) -> Sql:
        text = self.value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        if is_postgresql:
            return f"{column} {self.operator} %s::timestamptz", [f"{text}+00"]
        return f"{_SQLITE_INSTANT.format(column)} {self.operator} %s", [text]


class PropertyComparison(Comparison):
    """One of the job's own properties compared with a text, a number or a boolean; another type never matches."""

    def __init__(self, name: str, operator: str, value: str | int | float | bool) -> None:
        super().__init__("properties", operator, value)
        self.name = name

    def write(self, column: str, *, is_postgresql: bool) -> Sql:
        return self._postgresql(column) if is_postgresql else self._sqlite(column)

    def _postgresql(self, column: str) -> Sql:
        stored, text = f"{column} -> %s::text", f"{column} ->> %s::text"
        if isinstance(self.value, bool):
            return f"COALESCE({stored} = %s::jsonb, FALSE)", [self.name, json.dumps(self.value)]
        if isinstance(self.value, str):
            kind, comparison = "string", f'({text}) COLLATE "C" {self.operator} %s::text'
        else:
            kind, comparison = "number", f"({text})::numeric {self.operator} %s::numeric"
        # CASE, because AND would not keep the cast from texts that are no numbers.
        guarded = f"CASE WHEN jsonb_typeof({stored}) = %s THEN {comparison} ELSE FALSE END"
        return guarded, [self.name, kind, self.name, self.value if kind == "string" else repr(self.value)]

    def _sqlite(self, column: str) -> Sql:
        # Not a JSON path: those of older versions have no way to write a quote.
        entry = f"EXISTS (SELECT 1 FROM json_each({column}) entry WHERE entry.key = %s AND entry.type IN"
        if isinstance(self.value, bool):
            return f"{entry} (%s))", [self.name, json.dumps(self.value)]
        kinds = "('text')" if isinstance(self.value, str) else "('integer', 'real')"
        return f"{entry} {kinds} AND entry.atom {self.operator} %s)", [self.name, self.value]


class Contains(Condition):
    """A text, or the JSON of the properties, with `word` somewhere in it. Upper and lower case are the same."""

    def __init__(self, column: str, word: str) -> None:
        super().__init__(column)
        self.word = word
        self.is_json = column == "properties"

    def write(self, column: str, *, is_postgresql: bool) -> Sql:
        escapes = not is_postgresql  # how Django writes JSON on SQLite: with \u00fc instead of ü
        params: list[Any] = []
        text = f"{column}::text" if is_postgresql and self.is_json else column
        # The databases' own lower() is used for ASCII alone: beyond it they do not agree.
        for letter in sorted({each.lower() for each in self.word if _has_case_beyond_ascii(each)}):
            text = f"replace({text}, %s, %s)"
            params += [self._stored(letter.upper(), escapes), self._stored(letter, escapes)]
        word = "".join(each.lower() if each.isascii() or _has_case_beyond_ascii(each) else each for each in self.word)
        params.append(self._stored(word, escapes))
        if is_postgresql:
            return f'strpos(lower({text} COLLATE "C"), %s) > 0', params
        return f"instr(lower({text}), %s) > 0", params

    def _stored(self, text: str, escapes: bool) -> str:
        return json.dumps(text, ensure_ascii=escapes)[1:-1] if self.is_json else text


class StartsWith(Condition):
    """A text that begins with `start`, case and all; with `then`, one that has this anywhere after its start."""

    def __init__(self, column: str, start: str, then: str = "") -> None:
        super().__init__(column)
        self.start, self.then = start, then

    def write(self, column: str, *, is_postgresql: bool) -> Sql:
        find = "strpos" if is_postgresql else "instr"
        if not self.then:
            return f"{find}({column}, %s) = 1", [self.start]
        rest = f"{find}(substr({column}, %s), %s) > 0"
        return f"{find}({column}, %s) = 1 AND {rest}", [self.start, len(self.start) + 1, self.then]


class KeyComparison(Comparison):
    """A column of instants compared with one of its values, which is given as the text that the database has for it."""

    def write(self, column: str, *, is_postgresql: bool) -> Sql:
        return f"{column} {self.operator} %s{'::timestamptz' if is_postgresql else ''}", [self.value]


class HasState(Condition):
    """Says of the state that it is one of these, in the very words of the partial indexes.

    SQLite compares those literally: a parameter would have it look up the state of every row, or use no index at all.
    """

    def __init__(self, *states: JobState) -> None:
        super().__init__("state")
        self.literals = [f"'{state.value}'" for state in states]

    def write(self, column: str, *, is_postgresql: bool) -> Sql:
        if len(self.literals) == 1:
            return f"{column} = {self.literals[0]}", []
        return f"{column} IN ({', '.join(self.literals)})", []


class OneOf(Condition):
    """A column with one of some values, checked row by row although there is an index: a better one was chosen.

    SQLite, without statistics, takes any index whose first column is given for a good one.
    """

    def __init__(self, column: str, *values: str) -> None:
        super().__init__(column)
        self.values = values

    def write(self, column: str, *, is_postgresql: bool) -> Sql:
        places = ", ".join(["%s"] * len(self.values))
        return f"{'' if is_postgresql else '+'}{column} IN ({places})", list(self.values)


def _by_code_point(column: str, is_postgresql: bool) -> str:
    return f'{column} COLLATE "C"' if is_postgresql else column


def _has_case_beyond_ascii(letter: str) -> bool:
    """Say whether a letter has an upper and a lower form, of one letter each and neither of them in ASCII."""
    forms = letter.lower() + letter.upper()
    return len(forms) == 2 and forms[0] != forms[1] and not forms[0].isascii() and not forms[1].isascii()
