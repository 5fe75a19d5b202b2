"""Filters: what can be asked for, and how it is kept."""

import uuid
from datetime import UTC, datetime

import pytest

from offloading import exceptions
from offloading.jobs.filters import Filter
from offloading.models import JobState

FULL = Filter(
    states=frozenset({JobState.ERROR, "UNASSIGNED"}),
    topic="acme/**",
    queue="mail",
    family="f1",
    target="here",
    words="ann state:error",
    ids=(uuid.UUID(int=1),),
    created_before=datetime(2026, 11, 24, 8, tzinfo=UTC),
)


@pytest.mark.parametrize("wanted", [Filter(), FULL, Filter(words="ski")])
def test_filter_survives_being_kept(wanted):
    assert Filter.from_json(wanted.to_json()) == wanted


def test_nothing_asked_for_is_an_empty_object():
    assert Filter().to_json() == {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("text", "object"),
        ({"colour": "red"}, "colour: a filter has no such field"),
        ({"states": ["BROKEN"]}, "states: there is no state 'BROKEN'"),
        ({"states": "ERROR"}, "states: a list of texts"),
        ({"topic": "a b"}, "topic: 'a b' is not a topic"),
        ({"topic": 5}, "topic: a text is needed"),
        ({"queue": "a\0"}, "queue: a NUL"),
        ({"ids": ["x"]}, "ids: 'x' is no id"),
        ({"ids": [str(uuid.UUID(int=number)) for number in range(5_001)]}, "ids: 5001 are more"),
        ({"created_before": "yesterday"}, "'created_before' is compared with 'yesterday'"),
    ],
)
def test_what_is_no_filter_is_refused(data, message):
    with pytest.raises(exceptions.QueryInvalid, match=message):
        Filter.from_json(data)


def test_an_instant_needs_its_time_zone():
    with pytest.raises(exceptions.QueryInvalid, match="created_before"):
        Filter(created_before=datetime(2026, 1, 1))
