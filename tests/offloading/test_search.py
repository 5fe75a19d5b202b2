"""A page of jobs: which ones, in which order, how the pages follow each other, and what a bounded search says."""

import random
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from offloading import exceptions
from offloading.jobs import counting, keyset, lanes, search, states
from offloading.jobs.filters import Filter
from offloading.models import Job, JobState
from tests.offloading.stored import store

pytestmark = pytest.mark.django_db
ERROR, QUEUED = frozenset({"ERROR"}), frozenset({"QUEUED"})


PATIENCE = {"budget_seconds": 60}


def titles(wanted, **options):
    return [job.title for job in search.search(wanted, **(PATIENCE | options)).jobs]


@pytest.fixture
def walking(monkeypatch):
    """Make the steps so small that a handful of jobs is many."""
    monkeypatch.setattr(lanes, "FEW", 2)
    monkeypatch.setattr(counting, "_WINDOW", 3)
    for name, rows in (("_WINDOW", 3), ("_MIN_WINDOW", 2), ("_MAX_WINDOW", 5)):
        monkeypatch.setattr(search, name, rows)


def test_jobs_of_any_state_are_shown_newest_first(walking):
    for number in range(5):
        store(title=str(number), state=JobState.ERROR if number % 2 else JobState.QUEUED)
    assert titles(Filter()) == ["4", "3", "2", "1", "0"]


def test_finished_jobs_are_shown_by_their_end(walking):
    now = datetime(2026, 11, 24, 8, tzinfo=UTC)
    for number in range(5):
        store(title=str(number), state=JobState.ERROR, finished_at=now - timedelta(seconds=number))
    assert titles(Filter(states=ERROR)) == ["0", "1", "2", "3", "4"]


def test_waiting_jobs_are_shown_by_their_place_in_the_queue(walking):
    now = datetime(2026, 11, 24, 8, tzinfo=UTC)
    for number, queue in enumerate(["a", "b", "a", "b", "a"]):
        store(title=str(number), queue=queue, rank_at=now - timedelta(seconds=number))
    assert titles(Filter(states=QUEUED)) == ["0", "1", "2", "3", "4"]
    assert titles(Filter(states=QUEUED, queue="a")) == ["0", "2", "4"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), "abcdefgh"),
        (Filter(states=QUEUED), "abc"),
        (Filter(states=frozenset({"UNASSIGNED"})), "b"),
        (Filter(states=frozenset({"DELAYED"})), "c"),
        (Filter(states=frozenset({"UNASSIGNED", "DELAYED"})), "bc"),
        (Filter(states=frozenset({"ACTIVE", "ERROR"})), "de"),
        (Filter(states=frozenset({"QUEUED", "ACTIVE"})), "abcd"),
        (Filter(states=QUEUED, words="state:delayed"), "c"),
        (Filter(words="state:error,given-up"), "ef"),
        (Filter(topic="acme/mail"), "a"),
        (Filter(topic="acme/*"), "ae"),
        (Filter(topic="acme/**"), "acde"),
        (Filter(topic="acme/none"), ""),
        (Filter(topic="none/**"), ""),
        (Filter(words="topic:none"), ""),
        (Filter(words="topic:MAIL"), "acd"),
        (Filter(words="topic:acme/mail/**"), "cd"),
        (Filter(words="-topic:acme/**"), "bfgh"),
        (Filter(words="-topic:mail -topic:acme/print"), "bfgh"),
        (Filter(words="topic:acme/** -topic:acme/mail/**"), "ae"),
        (Filter(words="-topic:acme/mail state:queued"), "b"),
        (Filter(words="-state:queued,active -queue:letters"), "efh"),
        (Filter(words="-property.to:ann@example.org -family:f1 -id:ffff"), "acgh"),
        (Filter(words="-property.is_big:true"), "abcdegh"),
        (Filter(topic="acme/**", states=ERROR), "e"),
        (Filter(queue="letters"), "adg"),
        (Filter(words="queue:letters state:succeeded"), "g"),
        (Filter(family="f1"), "ef"),
        (Filter(words="family:f1 state:error"), "e"),
        (Filter(target="there"), "cd"),
        (Filter(words="ski"), "ah"),
        (Filter(words="SKI topic:mail"), "a"),
        (Filter(words='"cannot read"'), "f"),
        (Filter(words="ann@example.org"), "bd"),
        (Filter(words="cannot bob"), ""),
        (Filter(words="zürich"), "gh"),
        (Filter(words="ZÜRICH"), "gh"),
        (Filter(words="100%"), "h"),
        (Filter(words="00_"), ""),
        (Filter(words="o'brien"), "e"),
        (Filter(words=r'"C:\temp"'), "e"),
        (Filter(words="property.to:ann@example.org"), "bd"),
        (Filter(words="property.size:5"), "ac"),
        (Filter(words="property.size:>=5 property.size:<7"), "a"),
        (Filter(words="property.is_big:true"), "f"),
        (Filter(words="property.event.job.retrycount:>2"), "d"),
        (Filter(words="property.event.job.retrycount:many"), ""),
        (Filter(words="nonsense:value"), ""),
    ],
)
@pytest.mark.parametrize("is_walking", [False, True])
def test_filters(wanted, expected, is_walking, request):
    if is_walking:
        request.getfixturevalue("walking")
    later = datetime(2100, 1, 1, tzinfo=UTC)
    store("acme/mail", title="a", queue="letters", properties={"sport": "Ski", "size": 5})
    store("other", title="b", target="", properties={"to": "ann@example.org"})
    store("acme/mail/send", title="c", target="there", not_before=later, properties={"size": "5"})
    store(
        "acme/mail/send",
        title="d",
        queue="letters",
        target="there",
        state=JobState.ACTIVE,
        retry_count=3,
        properties={"to": "ann@example.org"},
    )
    store("acme/print", JobState.ERROR, title="e", family="f1", result_message="o'brien", properties={"at": r"C:\temp"})
    store("other", JobState.GIVEN_UP, title="f", family="f1", result_message="Cannot read", properties={"is_big": True})
    store("other", JobState.SUCCEEDED, title="g", queue="letters", properties={"city": "Zürich"})
    store("other", JobState.DROPPED, title="h", result_message="100% SKI in ZÜRICH", properties={"size": 10})
    assert sorted(titles(wanted)) == list(expected)
    assert sorted(wanted.matching().values_list("title", flat=True)) == list(expected)
    counted = counting.counts(wanted, budget_seconds=5)
    assert counted.is_complete
    if not wanted.states:
        assert counted.total == len(expected)


def test_pages_follow_each_other_both_ways_however_the_rows_are_found(walking):
    chance = random.Random(7)
    now = datetime(2026, 11, 24, 8, tzinfo=UTC)
    for number in range(60):
        # Many at the same instant, and instants that SQLite writes with and without a fraction.
        moment = now - timedelta(milliseconds=500 * chance.randrange(6))
        state = chance.choice(list(JobState))
        columns = {"finished_at": moment} if state in states.FINAL else {}
        store(
            chance.choice(["acme/a", "acme/b", "acme/c"]),
            state,
            title=f"photo {number}",
            queue=chance.choice(["q1", "q2"]),
            rank_at=moment,
            properties={"n": number % 3},
            **columns,
        )
    every = [
        Filter(),
        Filter(words="photo"),
        Filter(topic="acme/**"),
        Filter(topic="acme/a", states=frozenset({"ERROR", "STOPPED"})),
        Filter(states=states.FINAL),
        Filter(states=states.FINAL, words="property.n:1"),
        Filter(states=frozenset({"QUEUED", "ACTIVE"})),
        Filter(states=QUEUED, queue="q1"),
        Filter(words="no such word"),
    ]
    for wanted in every:
        down = read_all(wanted)
        assert len(set(down)) == len(down)
        assert set(down) == set(wanted.matching().values_list("pk", flat=True)), wanted
        assert read_back(wanted) == down, wanted


def read_all(wanted, **options):
    """Read every page down to the last, and return the ids."""
    found, cursor = [], ""
    for _ in range(200):
        page = search.search(wanted, before=cursor, limit=4, **(PATIENCE | options))
        found += [job.pk for job in page.jobs]
        cursor = page.older
        if not cursor:
            return found
    raise AssertionError("the pages never end")


def read_back(wanted):
    """Go to the last page, and read every page up from there."""
    pages, cursor = [], ""
    while True:
        page = search.search(wanted, before=cursor, limit=4, **PATIENCE)
        last, cursor = page, page.older
        if not cursor:
            break
    pages.append([job.pk for job in last.jobs])
    while last.newer:
        last = search.search(wanted, after=last.newer, limit=4, **PATIENCE)
        pages.append([job.pk for job in last.jobs])
    return [job_id for page in pages[::-1] for job_id in page]


def test_search_without_time_says_how_far_it_looked_and_goes_on_from_there(walking):
    needle = store(title="needle")
    for _ in range(20):
        store(title="straw")
    page = search.search(Filter(words="needle"), budget_seconds=0)
    assert page.jobs == () and not page.is_complete and page.older
    assert abs(page.searched_until - needle.created_at) < timedelta(minutes=1)
    assert read_all(Filter(words="needle"), budget_seconds=0) == [needle.pk]


def test_full_page_and_last_page_are_complete(walking):
    for _ in range(3):
        store(title="ski")
    page = search.search(Filter(words="ski"), limit=2, **PATIENCE)
    assert len(page.jobs) == 2 and page.is_complete and page.older and not page.newer
    page = search.search(Filter(words="ski"), before=page.older, limit=2, **PATIENCE)
    assert len(page.jobs) == 1 and page.is_complete and not page.older and page.newer


def test_job_named_by_the_beginning_of_its_id_is_on_top_however_old_it_is(walking):
    wanted = store(id=uuid.UUID("0199f0aa12347abc8def0123456789ab"), title="old")
    for _ in range(20):
        store(title="new")
    for words in ("0199f0aa", "0199F0AA-1234", str(wanted.pk)):
        assert titles(Filter(words=words), budget_seconds=0) == ["old"]
    assert titles(Filter(words="0199f0aa state:error"), budget_seconds=0) == []


def test_words_that_fit_topics_offer_those(walking):
    for topic in ("acme/mail/send", "acme/print", "other"):
        store(topic)
    assert search.search(Filter(words="ACME")).topics == ("acme/mail/send", "acme/print")
    assert search.search(Filter(words="acme mail")).topics == ("acme/mail/send",)
    assert search.search(Filter(states=QUEUED)).topics == ()


@pytest.mark.parametrize("cursor", ["nonsense", "ü", "W10", "e30", "WyIiLCIiLCJ4Il0"])
def test_nonsense_is_no_cursor(cursor):
    with pytest.raises(exceptions.QueryInvalid, match="cursor"):
        search.search(Filter(), before=cursor)


def test_cursor_of_another_order_is_refused():
    store(state=JobState.ERROR)
    key = keyset.Key("2026-11-24 08:00:00+00", uuid.UUID(int=1))
    with pytest.raises(exceptions.QueryInvalid, match="cursor"):
        search.search(Filter(), before=keyset.cursor(keyset.Order.FINISHED, key))


def test_more_queues_than_lanes_are_looked_through_all_the_same(walking, monkeypatch):
    monkeypatch.setattr(lanes, "_MAX_QUEUE_LANES", 2)
    monkeypatch.setattr(lanes, "_MAX_TOPIC_LANES", 2)
    for number in range(6):
        store(f"acme/{number}", queue=f"q{number}")
    assert len(read_all(Filter(states=QUEUED))) == 6
    assert len(read_all(Filter(topic="acme/**"))) == 6


def test_counts_say_what_is_unassigned_and_delayed_among_the_queued():
    store(target="")
    store(not_before=datetime(2100, 1, 1, tzinfo=UTC))
    store()
    store(state=JobState.ACTIVE)
    store(state=JobState.ERROR)
    expected = {"QUEUED": 3, "UNASSIGNED": 1, "DELAYED": 1, "ACTIVE": 1, "ERROR": 1}
    for wanted in (Filter(), Filter(words="acme"), Filter(states=ERROR), Filter(topic="acme/mail/send")):
        found = counting.counts(wanted, **PATIENCE)
        assert (found.by_state, found.total, found.is_complete) == (expected, 5, True)


def test_numbers_of_waiting_jobs_of_a_queue_or_topic_are_exact_without_time(walking):
    for number in range(9):
        store(f"acme/{number % 3}", queue=f"q{number % 3}", target="" if number > 5 else "here")
        store(f"acme/{number % 3}", JobState.SUCCEEDED, queue=f"q{number % 3}")
    for wanted in (Filter(queue="q1"), Filter(topic="acme/1"), Filter(topic="acme/1", queue="q1")):
        found = counting.counts(wanted, budget_seconds=0)
        assert (found.by_state["QUEUED"], found.by_state["UNASSIGNED"]) == (3, 1)
        assert "QUEUED" not in found.at_least and "SUCCEEDED" in found.at_least


def test_counts_without_time_are_the_least(walking):
    for number in range(8):
        store(title=f"photo {number}", state=JobState.SUCCEEDED)
    found = counting.counts(Filter(words="photo"), budget_seconds=0)
    assert not found.is_complete and "SUCCEEDED" in found.at_least
    assert counting.counts(Filter(words="photo"), budget_seconds=5).by_state == {"SUCCEEDED": 8}


def test_topics_and_queues_in_use_are_known():
    for topic, queue, state in (
        ("b", "q2", "QUEUED"),
        ("a", "q1", "ACTIVE"),
        ("a", "q3", "ERROR"),
        ("c", "q1", "QUEUED"),
    ):
        store(topic, state, queue=queue)
    assert lanes.known_topics() == ["a", "b", "c"]
    assert lanes.unfinished_queues() == ["q1", "q2"]


def test_properties_are_not_read_for_a_list(django_assert_num_queries):
    store(properties={"text": "x" * 1000})
    (job,) = search.search(Filter()).jobs
    assert "properties" in job.get_deferred_fields()
    assert Job.objects.get(pk=job.pk).properties == job.properties
