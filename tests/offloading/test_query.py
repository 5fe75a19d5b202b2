"""Sling's findJobs: types, order, templates with their operators, and pages. The same answers on both databases."""

from datetime import UTC, date, datetime, timedelta

import pytest

from offloading import exceptions
from offloading.jobs import query
from offloading.jobs.query import Query, QueryType
from offloading.models import Job, JobState
from tests.offloading.stored import store

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def found(*arguments, **options):
    return [job.title for job in query.find_jobs(*arguments, **options)]


@pytest.mark.parametrize(
    ("query_type", "expected"),
    [
        ("ALL", "QUEUED ACTIVE"),
        ("QUEUED", "QUEUED"),
        ("ACTIVE", "ACTIVE"),
        ("HISTORY", "DROPPED ERROR GIVEN_UP STOPPED SUCCEEDED"),
        ("CANCELLED", "DROPPED ERROR GIVEN_UP STOPPED"),
        ("SUCCEEDED", "SUCCEEDED"),
        ("STOPPED", "STOPPED"),
        ("GIVEN_UP", "GIVEN_UP"),
        ("ERROR", "ERROR"),
        ("DROPPED", "DROPPED"),
    ],
)
def test_types_and_their_order(query_type, expected):
    for number, state in enumerate(JobState):
        finished = {"finished_at": NOON + timedelta(seconds=number)} if number > 1 else {}
        store(state=state, title=state, created_at=NOON + timedelta(seconds=number), **finished)
    assert found(query_type) == expected.split()
    assert found(QueryType(query_type), limit=1) == expected.split()[:1]


def test_unfinished_jobs_come_in_the_order_of_their_creation_by_the_database():
    for title, seconds in (("b", 1), ("a", 0), ("c", 2)):
        store(title=title, created_at=NOON + timedelta(seconds=seconds))
    assert found("ALL") == ["a", "b", "c"]


def test_topic_is_exact_and_none_is_all():
    store("acme/mail", title="a")
    store("acme/mail/send", title="b")
    assert found("ALL", "acme/mail") == ["a"]
    assert found("ALL", "acme/*") == []
    assert found("ALL", "it's 100%") == []
    assert found("ALL") == ["a", "b"]


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one_is_none(limit):
    for _ in range(3):
        store()
    assert len(query.find_jobs("ALL", limit=limit)) == 3


# Stored value, operator and template value -> does it match?
COMPARISONS = [
    (5, "", 5, True),
    (5, "=", 5.0, True),
    (5, "", 6, False),
    (5, "", "5", False),
    ("5", "", 5, False),
    (5, "<", 10, True),
    (10, "<", 5, False),
    (5, "<=", 5, True),
    (5, ">", 4.5, True),
    (5, ">=", 5.5, False),
    ("10", "<", "9", True),
    ("10", "<", 9, False),
    (True, "", True, True),
    (True, "", 1, False),
    (1, "", True, False),
    (False, "", False, True),
    (False, "", True, False),
    ("true", "", True, False),
    (0.1, "", 0.1, True),
    (1e300, ">", 1e299, True),
    (2**53 + 1, ">", 2**53, True),
    (-(2**63), "=", -(2**63), True),
    (2**80, ">", 5, True),
    (-3, "<", -2, True),
    ("a", "<=", "b", True),
    ("c", "<=", "b", False),
    ("B", "<", "a", True),
    ("Z", "<", "ä", True),
    ("zürich", "", "zürich", True),
    ("Zürich", "", "zürich", False),
    ("😀", ">", "\uffff", True),
    ("it's", "", "it's", True),
    ('say "x"', "", 'say "x"', True),
    ("100%", "", "100%", True),
    ("100%", "", "100_", False),
    ("a\\b", "", "a\\b", True),
    ("", "", "", True),
    ("", "<", "a", True),
    ("a", "", "a\0", False),
    ("a", "<", "a\0", True),
    ("a", "<=", "a\0b", True),
    ("a", ">", "a\0", False),
    ("b", ">=", "a\0", True),
    (None, "", "null", False),
    (None, "<", 5, False),
    ([5], "", 5, False),
    ({"a": 5}, ">", 1, False),
    (["a"], "", "a", False),
    ("2026-11-24T12:00:00+00:00", "", NOON, True),
    ("2026-11-24T12:00:00+00:00", "<", datetime(2026, 11, 25, tzinfo=UTC), True),
    ("2026-11-24T12:00:00+00:00", ">", date(2026, 11, 24), True),
]


@pytest.mark.parametrize(("stored", "operator", "value", "matches"), COMPARISONS)
def test_own_properties(stored, operator, value, matches):
    store(title="x", properties={"size": stored})
    assert (found("ALL", templates=[{f"{operator}size": value}]) == ["x"]) is matches


@pytest.mark.parametrize(
    "name", ["two words", 'say "x"', "it's", "100%", "%s", "über", "a.b", "$[0]", "->", "😀", "=="]
)
def test_names_of_properties_may_hold_anything(name):
    store(title="x", properties={"other": 1, name: 5})
    store(title="y", properties={name: "a", f"{name}2": 5})
    assert found("ALL", templates=[{f"={name}": 5}]) == ["x"]
    assert found("ALL", templates=[{f">={name}": "a"}]) == ["y"]


@pytest.mark.parametrize("operator", ["", "=", "<", "<=", ">", ">="])
@pytest.mark.parametrize("value", [5, "a"])
def test_job_without_the_property_does_not_match(operator, value):
    store(properties={"other": value})
    assert found("ALL", templates=[{f"{operator}size": value}]) == []


def test_entries_are_anded_and_mappings_are_ored():
    store(title="a", properties={"x": 1, "y": 1})
    store(title="b", properties={"x": 1, "y": 2})
    store(title="c", properties={"x": 3})
    assert found("ALL", templates=[{"x": 1, "y": 2}]) == ["b"]
    assert found("ALL", templates=[{"x": 1, "y": 2}, {"x": 3}]) == ["b", "c"]
    assert found("ALL", templates=[{">x": 0, "<x": 2}]) == ["a", "b"]


def test_empty_mapping_is_skipped_and_nothing_but_empty_ones_is_everything():
    store(title="a", properties={"x": 1})
    store(title="b")
    assert found("ALL", templates=[{}, {"x": 1}]) == ["a"]
    assert found("ALL", templates=[{}]) == found("ALL", templates=[]) == ["a", "b"]


MANAGED = [
    ({"event.job.topic": "acme/x"}, True),
    ({"event.job.topic": "acme/y"}, False),
    ({"event.job.queuename": "letters"}, True),
    ({">=event.job.retrycount": 2, "<event.job.retrycount": 3}, True),
    ({"event.job.retries": 7}, True),
    ({"event.job.retrydelay": 1500}, True),
    ({">event.job.retrydelay": 1500}, False),
    ({"event.job.application": "there"}, True),
    ({"slingevent:application": "here"}, True),
    ({"slingevent:created": "2026-11-24T12:00:00Z"}, True),
    ({"slingevent:created": NOON}, True),
    ({"slingevent:created": "2026-11-24T13:00:00+01:00"}, True),
    ({"slingevent:created": "2026-11-24T12:00:00"}, True),
    ({"<slingevent:created": NOON}, False),
    ({">slingevent:created": NOON - timedelta(microseconds=1)}, True),
    ({">=slingevent:created": date(2026, 11, 24)}, True),
    ({"slingevent:finishedDate": "2026-11-24T12:00:00.123Z"}, True),
    ({"<slingevent:finishedDate": "2026-11-24T12:00:00.123001Z"}, True),
    ({">slingevent:finishedDate": "2026-11-24T12:00:00.123Z"}, False),
    ({"event.job.started.time": "2026-11-24T12:00:00.000001Z"}, True),
    ({"<=event.job.started.time": NOON}, False),
    ({">event.job.queued.time": "2020-01-01"}, True),
    ({"slingevent:finishedState": "ERROR"}, True),
    ({"slingevent:finishedState": "STOPPED"}, False),
    ({"<=slingevent:finishedState": "F"}, True),
    ({"slingevent:jobTitle": "x"}, True),
    ({">slingevent:resultMessage": "It"}, True),
    ({"slingevent:resultMessage": 'It\'s 100% "done"'}, True),
    ({"slingevent:progressSteps": 3}, True),
    ({"slingevent:progressStep": 3}, False),
    ({">slingevent:progressETA": "1970-01-01"}, False),
    ({"slingevent:eventId": "0199f0aa-1234-7abc-8def-0123456789ab"}, True),
    ({">slingevent:eventId": "0199f0aa-1234-7abc-8def-0123456789aa"}, True),
    ({"slingevent:eventId": "nonsense"}, False),
]


@pytest.mark.parametrize(("template", "matches"), MANAGED)
def test_managed_properties(template, matches):
    store(
        "acme/x",
        JobState.ERROR,
        id="0199f0aa-1234-7abc-8def-0123456789ab",
        title="x",
        queue="letters",
        target="there",
        retry_count=2,
        retries=7,
        retry_delay_seconds=1.5,
        result_message='It\'s 100% "done"',
        progress_steps=3,
        created_at=NOON,
        started_at=NOON + timedelta(microseconds=1),
        finished_at=NOON + timedelta(milliseconds=123),
    )
    assert (found("HISTORY", templates=[template]) == ["x"]) is matches


@pytest.mark.parametrize(
    "template",
    [
        {">=slingevent:finishedState": ""},
        {">=slingevent:jobTitle": ""},
        {">=event.job.application": ""},
        {">=slingevent:resultMessage": ""},
        {">event.job.started.time": "1970-01-01"},
        {">slingevent:finishedDate": "1970-01-01"},
        {">=event.job.retries": -1},
        {">event.job.retrydelay": 0},
    ],
)
def test_managed_property_that_a_job_does_not_have_does_not_match(template):
    store(target="")
    assert query.find_jobs("ALL", templates=[template]) == []


def test_own_property_may_not_pass_for_a_managed_one():
    job = store(title="a")
    Job.objects.filter(pk=job.pk).update(properties={"event.job.topic": "acme/other"})
    assert found("ALL", templates=[{"event.job.topic": "acme/other"}]) == []


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"": 5}, "names no property"),
        ({">": 5}, "names no property"),
        ({5: 5}, "as a text"),
        ({"a\0": 5}, "names no property"),
        ({"size": None}, "'size' is compared with None: give a number"),
        ({"size": [5]}, "'size' is compared with"),
        ({"size": float("nan")}, "64 bits"),
        ({"size": float("inf")}, "64 bits"),
        ({"size": 2**63}, "64 bits"),
        ({">size": True}, "use '='"),
        ({"size": "\ud800"}, "no Unicode text"),
        ({"slingevent:created": "yesterday"}, "'slingevent:created' is compared with 'yesterday': give a date"),
        ({"slingevent:created": 5}, "give a date"),
        ({"slingevent:created": "0001-01-01T00:00:00+14:00"}, "give a date"),
        ({"event.job.retrycount": "5"}, "give a number"),
        ({"event.job.retrycount": True}, "give a number"),
        ({"event.job.topic": 5}, "is a text"),
        ({"slingevent:progressLog": "x"}, "no property of a job that can be looked for"),
        ({">slingevent:eventId": "nonsense"}, "whole id"),
    ],
)
def test_templates_that_make_no_sense_are_refused(template, message):
    with pytest.raises(exceptions.QueryInvalid, match=message):
        query.find_jobs("ALL", templates=[template])


def test_unknown_type_is_refused_with_the_known_ones():
    with pytest.raises(exceptions.QueryInvalid, match="'SOME'.*HISTORY"):
        query.find_jobs("SOME")


@pytest.mark.parametrize("query_type", ["ALL", "HISTORY"])
def test_pages_hold_every_job_once_while_new_ones_come(query_type):
    for number in range(12):
        # Some at the same instant; with and without a fraction, which SQLite writes differently.
        moment = NOON + timedelta(milliseconds=500 * (number // 3))
        state = JobState.QUEUED if number % 2 else JobState.ERROR
        columns = {} if number % 2 else {"finished_at": moment}
        store(state=state, title=str(number), created_at=moment, **columns)
        store(state=JobState.STOPPED, title=f"s{number}", finished_at=moment, created_at=moment)
    expected = found(query_type)
    wanted, seen, cursor = Query(QueryType(query_type)), [], ""
    while True:
        page = query.find_page(wanted, after=cursor, limit=4)
        seen += [job.title for job in page.jobs]
        store(title="new", created_at=NOON - timedelta(days=1))
        store(state=JobState.ERROR, title="new", finished_at=NOON + timedelta(days=1))
        cursor = page.after
        if not cursor:
            break
    assert seen == expected


def test_cursor_of_another_order_is_refused():
    for _ in range(2):
        store()
    cursor = query.find_page(Query(), limit=1).after
    with pytest.raises(exceptions.QueryInvalid, match="cursor"):
        query.find_page(Query(QueryType.HISTORY), after=cursor)
