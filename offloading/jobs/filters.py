"""Which jobs somebody asks for: a value that can be kept in a job, and the condition that it stands for.

Pure: nothing is read here. `search` finds a page of the jobs of a filter quickly, `bulk` does something to all of them.
"""

import contextlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import and_, or_
from typing import Any

from django.db.models import Q, QuerySet

from offloading import exceptions
from offloading.jobs import conditions, ids, searchbox, templates, topics
from offloading.jobs.searchbox import DELAYED as DELAYED
from offloading.jobs.searchbox import STATES as STATES
from offloading.jobs.searchbox import UNASSIGNED as UNASSIGNED
from offloading.models import Job, JobState

MAX_IDS = 5_000
_SEARCHED = ("topic", "title", "result_message", "properties")

_KEYS = ("states", "topic", "queue", "family", "target", "words", "ids", "created_before")


@dataclass(frozen=True)
class Filter:
    """What somebody asks for; all of it must be true of a job, and "" or nothing is "whatever it is".

    `states` are alternatives: JobState, UNASSIGNED (queued without a target) and DELAYED (queued until a time comes);
    QUEUED includes those two. `topic` is a topic or a pattern ("acme/**"). `words` is what stands in the search box:
    see `searchbox`. Raises QueryInvalid for what can never be.
    """

    states: frozenset[str] = frozenset()
    topic: str = ""
    queue: str = ""
    family: str = ""
    target: str = ""
    words: str = ""
    ids: tuple[uuid.UUID, ...] = ()
    created_before: datetime | None = None
    search: searchbox.Search = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.states) - STATES)
        if unknown:
            known = ", ".join(sorted(STATES))
            raise exceptions.QueryInvalid(f"states: there is no state {unknown[0]!r}. There are: {known}.")
        if self.topic:
            _checked_topic(self.topic)
        for name in ("queue", "family", "target"):
            if "\0" in getattr(self, name):
                raise exceptions.QueryInvalid(f"{name}: a NUL character stands in no name. Leave it out.")
        if len(self.ids) > MAX_IDS:
            raise exceptions.QueryInvalid(f"ids: {len(self.ids)} are more than the {MAX_IDS} that one filter takes.")
        if self.created_before is not None and self.created_before.tzinfo is None:
            raise exceptions.QueryInvalid("created_before: give an instant with its time zone.")
        object.__setattr__(self, "states", frozenset(str(each) for each in self.states))
        object.__setattr__(self, "search", searchbox.parse(self.words))

    def matching(self) -> QuerySet[Job]:
        """Return the jobs of the filter, in no order. Reads all of the store when there are words: see `search`."""
        return Job.objects.filter(self.condition())

    def condition(self, *, by_row: bool = False) -> Q:
        """Return what must be true of a job; `by_row` keeps SQLite from using an index for any of it."""
        parts = _Conditions(by_row)
        found = [parts.states(self.states)] if self.states else []
        found += [parts.topic(self.topic)] if self.topic else []
        fields = ((name, getattr(self, name)) for name in ("queue", "family", "target"))
        found += [parts.equal(name, value) for name, value in fields if value]
        found += [Q(pk__in=self.ids)] if self.ids else []
        if self.created_before is not None:
            found.append(Q(conditions.InstantComparison("created_at", "<", self.created_before)))
        return reduce(and_, found, parts.search(self.search))

    def equalities(self) -> Iterator[tuple[str, str]]:
        """Yield the columns that must have a certain value, and that value."""
        search = self.search
        for name, typed in (("queue", search.queues), ("family", search.families), ("target", search.targets)):
            yield from ((name, value) for value in (getattr(self, name), *typed) if value)

    @property
    def families(self) -> tuple[str, ...]:
        """Return the failure families asked for. Only finished jobs are in one."""
        return tuple(value for name, value in self.equalities() if name == "family")

    @property
    def is_about_topics(self) -> bool:
        """Whether it depends on its topic if a job is meant."""
        return bool(self.topic or self.search.topics or any(each.topics for each in self.search.without))

    def takes_topic(self, topic: str) -> bool:
        """Say whether `topic` is one that the filter asks for."""
        if self.topic and not topics.matching(topic, [self.topic]):
            return False
        unwanted = (text for each in self.search.without for text in each.topics)
        return all(_fits(text, topic) for text in self.search.topics) and not any(_fits(t, topic) for t in unwanted)

    def to_json(self) -> dict[str, Any]:
        """Return the filter as an object for JSON, without what is not asked for."""
        found: dict[str, Any] = {"states": sorted(self.states), "ids": [str(each) for each in self.ids]}
        found |= {name: getattr(self, name) for name in ("topic", "queue", "family", "target", "words")}
        found["created_before"] = self.created_before.isoformat() if self.created_before else ""
        return {name: value for name, value in found.items() if value}

    @classmethod
    def from_json(cls, data: object) -> "Filter":
        """Read what `to_json` wrote. Raises QueryInvalid, naming the field, for anything else."""
        if not isinstance(data, Mapping):
            raise exceptions.QueryInvalid(f"A filter is an object with any of {', '.join(_KEYS)}, not {data!r}.")
        unknown = sorted(str(key) for key in data if key not in _KEYS)
        if unknown:
            raise exceptions.QueryInvalid(f"{unknown[0]}: a filter has no such field. It has {', '.join(_KEYS)}.")
        text = {name: _text(data, name) for name in ("topic", "queue", "family", "target", "words")}
        before = _text(data, "created_before")
        return cls(
            states=frozenset(_texts(data, "states")),
            ids=tuple(_id(each) for each in _texts(data, "ids")),
            created_before=templates.instant("created_before", before) if before else None,
            **text,
        )


@dataclass(frozen=True)
class _Conditions:
    """Conditions on the columns that have an index, `by_row` without using it."""

    by_row: bool

    def equal(self, column: str, *values: str) -> Q:
        is_in_one = Q(finished_at__isnull=False) if column == "family" else Q()
        if self.by_row:
            return Q(conditions.OneOf(column, *values)) & is_in_one
        return Q(**{f"{column}__in": values}) & is_in_one

    def search(self, search: searchbox.Search) -> Q:
        """Return the condition for what stands in the search box."""
        found = [self.states(names) for names in search.states]
        found += [
            self.topic(text) if _is_pattern(text) else Q(conditions.Contains("topic", text)) for text in search.topics
        ]
        found += [self.equal("queue", value) for value in search.queues]
        found += [self.equal("target", value) for value in search.targets]
        found += [self.equal("family", value) for value in search.families]
        found += [id_begins(digits) for digits in search.ids]
        found += [_property(each) for each in search.properties]
        found += [_word(word) for word in search.words]
        found += [~self.search(each) for each in search.without]
        return reduce(and_, found, Q())

    def states(self, names: Iterable[str]) -> Q:
        plain = sorted(set(names) & set(JobState))
        parts = [self.equal("state", *plain)] if plain else []
        if UNASSIGNED in names:
            parts.append(self.equal("state", JobState.QUEUED) & self.equal("target", ""))
        if DELAYED in names:
            parts.append(self.equal("state", JobState.QUEUED) & Q(not_before__isnull=False))
        return reduce(or_, parts)

    def topic(self, pattern: str) -> Q:
        if pattern.endswith("/**"):
            return Q(conditions.StartsWith("topic", pattern.removesuffix("**")))
        if pattern.endswith("/*"):
            start = pattern.removesuffix("*")
            return Q(conditions.StartsWith("topic", start)) & ~Q(conditions.StartsWith("topic", start, then="/"))
        return self.equal("topic", pattern)


def id_begins(digits: str) -> Q:
    """Return the condition for ids that begin with these hex digits."""
    return Q(pk__gte=uuid.UUID(digits.ljust(32, "0")), pk__lte=uuid.UUID(digits.ljust(32, "f")))


def _fits(text: str, topic: str) -> bool:
    """Say whether a topic fits what was typed as one: a pattern, or a part of its name."""
    return bool(topics.matching(topic, [text])) if _is_pattern(text) else text.lower() in topic.lower()


def _is_pattern(text: str) -> bool:
    return text.endswith(("/*", "/**"))


def _word(word: str) -> Q:
    """Look for a word or phrase everywhere, and for the ids that begin with it."""
    found = reduce(or_, (Q(conditions.Contains(column, word)) for column in _SEARCHED))
    digits = searchbox.id_prefix(word)
    return found | id_begins(digits) if digits else found


def _property(wanted: searchbox.Property) -> Q:
    """Compare a property with what was typed, which may have been meant as a text, a number or a boolean."""
    found = conditions.NOTHING
    for value in _meanings(wanted):
        # What was typed does not fit the property as this; it may as something else.
        with contextlib.suppress(exceptions.QueryInvalid):
            found |= templates.condition([{f"{wanted.operator}{wanted.name}": value}])
    return found


def _meanings(wanted: searchbox.Property) -> list[object]:
    text = wanted.value
    number: object = None
    with contextlib.suppress(ValueError):
        number = int(text) if text.lstrip("+-").isdigit() else float(text)
    if wanted.operator != "=":
        return [text if number is None else number]
    truth = {"true": True, "false": False}.get(text)
    return [each for each in (text, number, truth) if each is not None]


def _checked_topic(pattern: str) -> None:
    try:
        topics.validate_pattern(pattern)
    except exceptions.TopicInvalid as error:
        raise exceptions.QueryInvalid(f"topic: {error}") from error


def _text(data: Mapping[str, object], name: str) -> str:
    value = data.get(name, "")
    if not isinstance(value, str):
        raise exceptions.QueryInvalid(f"{name}: a text is needed, not {value!r}.")
    return value


def _texts(data: Mapping[str, object], name: str) -> list[str]:
    values = data.get(name, [])
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise exceptions.QueryInvalid(f"{name}: a list of texts is needed, not {values!r}.")
    return values


def _id(text: str) -> uuid.UUID:
    job_id = ids.parse(text)
    if job_id is None:
        raise exceptions.QueryInvalid(f"ids: {text!r} is no id of a job.")
    return job_id
