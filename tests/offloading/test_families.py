"""Which failures are alike, where in the code they are placed, and how families are kept."""

import json
import uuid
from datetime import timedelta

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from offloading.jobs import families, ids
from offloading.jobs.families import Failure, Sighting
from offloading.models import Attempt, FailureFamily, Job

ALIKE = {
    "numbers": ("Took 30.5 s, limit 10", "Took 7 s, limit 1,000"),
    "sign": ("Offset -5", "Offset 5"),
    "times": ("Late at 2026-11-24T07:29:36Z", "Late at 2025-01-02T23:00:01Z"),
    "uuid": (f"No job {uuid.uuid4()}", f"No job {uuid.uuid4()}"),
    "hex": ("Blob a3f91c07bb missing", "Blob 00ffe19a2c41 missing"),
    "address": ("<Lock at 0x7f3a2b>", "<Lock at 0x11>"),
    "number or id": ("Row 12345678", "Row 12c4567a"),
    "token": ("Upload rGkq8Hf2-wPzL0aVbN3xQ gone", "Upload Zm4TyU8iOp_AsDfGhJ1kLq gone"),
    "absolute path": ("Cannot read /content/dam/a b", "Cannot read /tmp/x.jpg b"),
    "relative path": ("No node content/dam/one.jpg", "No node content/dam/deep/er/two.jpg"),
    "home": ("Cannot read ~/a", "Cannot read /b"),
    "windows path": (r"Cannot read C:\photos\1.jpg", r"Cannot read D:\x.tif"),
    "url": ("GET http://127.0.0.1:4502/a?b=1 refused", "GET https://example.org/ refused"),
    "mail": ("No mailbox a.b@example.org", "No mailbox c@d.net"),
    "single quotes": ("No property 'a b'", "No property 'c'"),
    "double quotes": ('No property "it\'s"', 'No property "c"'),
    "backticks": ("No field `a`", "No field `b`"),
    "typographic quotes": ("No field “a”", "No field “b c”"),
    "numbered word": ("worker7 died", "worker12 died"),
    "white space": ("a  b\n", "a b"),
    "case": ("Disk full", "disk full"),
}
DIFFERENT = {
    "words": ("Disk full", "Disk missing"),
    "apostrophes are no quotes": ("can't open the user's file", "can't close the user's file"),
    "an alternative is no path": ("read and/or write", "read or/and write"),
    "number and text": ("Row 5", "Row 'five'"),
    "empty": ("", "Disk full"),
}


@pytest.mark.parametrize("case", ALIKE)
def test_messages_that_differ_in_what_varies_are_alike(case):
    one, other = ALIKE[case]
    assert families.fingerprint("a/b", None, one) == families.fingerprint("a/b", None, other)


@pytest.mark.parametrize("case", DIFFERENT)
def test_messages_that_say_something_else_are_not_alike(case):
    one, other = DIFFERENT[case]
    assert families.fingerprint("a/b", None, one) != families.fingerprint("a/b", None, other)


def test_an_exception_is_told_by_topic_kind_and_place_and_not_by_its_message():
    known = families.fingerprint("a/b", Failure("ValueError", "m:f:1"), "one")
    assert families.fingerprint("a/b", Failure("ValueError", "m:f:1"), "other") == known
    others = {
        families.fingerprint("a/c", Failure("ValueError", "m:f:1"), "one"),
        families.fingerprint("a/b", Failure("KeyError", "m:f:1"), "one"),
        families.fingerprint("a/b", Failure("ValueError", "m:f:2"), "one"),
        families.fingerprint("a/b", None, "one"),
    }
    assert len(others | {known}) == 5
    assert len(known) == 32 and int(known, 16)


def test_a_failure_without_exception_is_told_by_its_message():
    assert families.fingerprint("a/b", Failure("", ""), "one") == families.fingerprint("a/b", None, "one")


def test_a_long_message_is_compared_quickly_and_by_its_beginning():
    assert families.fingerprint("a", None, "x " * 50_000) == families.fingerprint("a", None, "x " * 60_000)


def caught(act) -> BaseException:
    try:
        act()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def broken():
    raise RuntimeError("no")


def test_place_is_the_function_that_raised():
    failure = Failure.of(caught(broken))
    assert failure.error == "RuntimeError"
    assert failure.place == f"{__name__}:broken:{broken.__code__.co_firstlineno + 1}"


def test_place_is_ours_where_the_standard_library_raised():
    failure = Failure.of(caught(lambda: json.loads("{")))
    assert failure.error == "json.decoder.JSONDecodeError"
    assert failure.place.startswith(f"{__name__}:test_place_is_ours")


@pytest.mark.django_db
def test_place_is_ours_where_django_raised():
    failure = Failure.of(caught(lambda: Job.objects.get(id=uuid.uuid4())))
    assert failure.error.endswith("Job.DoesNotExist")
    assert failure.place.startswith(f"{__name__}:")


def test_place_is_ours_where_the_engine_raised():
    failure = Failure.of(caught(lambda: families.note_all(5)))
    assert failure.place.startswith(f"{__name__}:")


def test_place_is_the_innermost_frame_where_none_is_ours():
    error = caught(lambda: json.loads("{"))
    error.__traceback__ = error.__traceback__.tb_next.tb_next
    assert Failure.of(error).place.startswith("json")


def test_an_exception_that_was_never_raised_has_no_place():
    assert Failure.of(ObjectDoesNotExist("x")) == Failure("django.core.exceptions.ObjectDoesNotExist", "")


@pytest.mark.django_db
def test_family_keeps_when_it_was_first_seen_and_refreshes_the_rest():
    key = families.note(topic="a/b", failure=Failure("KeyError", "m:f:1"), message="first")
    FailureFamily.objects.update(first_seen_at="2020-01-01T00:00:00Z", last_seen_at="2020-01-01T00:00:00Z")
    assert families.note(topic="a/b", failure=Failure("KeyError", "m:f:1"), message="second") == key
    family = FailureFamily.objects.get()
    assert (family.fingerprint, family.topic, family.error, family.place) == (key, "a/b", "KeyError", "m:f:1")
    assert family.message == "second"
    assert family.last_seen_at - family.first_seen_at > timedelta(days=365)


@pytest.mark.django_db
def test_a_batch_is_one_statement_and_answers_in_its_order():
    sightings = [Sighting("a/b", None, text) for text in ("disk full", "no network", "Disk full")]
    with (
        transaction.atomic(),
        CaptureQueriesContext(
            connection,
        ) as queries,
    ):
        keys = families.note_all(sightings)
    assert len([each for each in queries if "SAVEPOINT" not in each["sql"]]) == 1
    assert keys[0] == keys[2] != keys[1]
    assert sorted(FailureFamily.objects.values_list("message", flat=True)) == ["Disk full", "no network"]


@pytest.mark.django_db
def test_an_empty_batch_is_nothing():
    assert families.note_all([]) == []


@pytest.mark.django_db
def test_family_is_gone_when_the_callers_transaction_is():
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        families.note(topic="a/b", failure=None, message="x")
        raise ZeroDivisionError
    assert not FailureFamily.objects.exists()


@pytest.mark.django_db
def test_any_text_can_be_kept():
    families.note(topic="a/b", failure=Failure("E\0", "m\ud800:f:1"), message="a\0b\ud800" + "x" * 20_000)
    family = FailureFamily.objects.get()
    assert family.message.startswith("a\ufffdb?x") and len(family.message) == families.MESSAGE_LENGTH


# --- What there is ------------------------------------------------------------------------------------------------


def failed(message, count=1, *, minutes=0, topic="a/b", state="ERROR", on=("here:1",)) -> str:
    """Add jobs that failed so many minutes ago, each a second before the one before; return their family."""
    key = families.note(topic=topic, failure=None, message=message)
    for number in range(count):
        at = timezone.now() - timedelta(minutes=minutes, seconds=number)
        columns = {"topic": topic, "queue": "q", "application": "here", "family": key, "finished_at": at}
        job = Job.objects.create(id=ids.uuid7(), state=state, **columns)
        for fence, label in enumerate(on):
            Attempt.objects.create(job=job, fence=fence, instance=label, instance_label=label)
    return key


@pytest.mark.django_db
def test_overview_counts_the_failed_jobs_of_each_family():
    few = failed("few", 2, state="GIVEN_UP")
    many = failed("many", 3, minutes=5)
    families.note(topic="a/b", failure=None, message="no job any more")
    found = families.overview()
    assert [(row.family.pk, row.jobs) for row in found] == [(many, 3), (few, 2)]
    assert [row.family.pk for row in families.overview(order=families.Order.LATEST)] == [few, many]
    assert [row.family.pk for row in families.overview(1)] == [many]


@pytest.mark.django_db
def test_overview_samples_the_latest_jobs_and_says_where_they_were_tried_last():
    key = failed("x", 10, minutes=1, on=("first:1", "second:2"))
    failed("x", 1, on=("third:3",))
    latest = Job.objects.filter(family=key).order_by("-finished_at").values_list("id", flat=True)
    (row,) = families.overview()
    assert list(row.sample) == list(latest[: families.SAMPLE])
    assert row.instances == ("second:2", "third:3")
    assert row.latest_at == Job.objects.get(id=row.sample[0]).finished_at


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "found"),
    [("disk", {"disk full"}), ("full c/d", {"cup full"}), ("FULL", {"disk full", "cup full"}), ("%", set())],
)
def test_overview_finds_words_in_all_that_is_said(words, found):
    failed("disk full")
    failed("cup full", topic="c/d")
    failed("no net")
    assert {row.family.message for row in families.overview(words=words)} == found


@pytest.mark.django_db
def test_overview_asks_as_often_for_many_families_as_for_few(django_assert_num_queries):
    for number in range(30):
        failed(f"failure {'abcdefghijklmnopqrstuvwxyzäöüß'[number]}", 2)
    with django_assert_num_queries(3):
        assert len(families.overview()) == 30


@pytest.mark.django_db
def test_a_family_can_be_looked_at_while_it_is_known():
    key = failed("x", 2)
    assert families.look(key).jobs == 2
    Job.objects.update(family="", state="QUEUED")
    row = families.look(key)
    assert (row.family.pk, row.jobs, row.sample) == (key, 0, ())
    assert families.look("nonsense") is None


@pytest.mark.django_db
def test_counting_reads_nothing_but_an_index():
    failed("x", 2)
    if connection.vendor == "sqlite":
        plan = str(families._counts().explain())
        assert "USING COVERING INDEX job_family" in plan
    else:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
        assert "Index Only Scan using job_family" in families._counts().explain()
