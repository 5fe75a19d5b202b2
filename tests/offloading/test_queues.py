"""Queues by the tables of Sling's behaviour: who takes a topic, how the queue is called, how much it runs at once."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offloading import exceptions
from offloading.jobs import queues
from offloading.jobs.queues import MAIN_QUEUE, QueueSettings
from offloading.models import QueueConfiguration, QueueType

PLAIN = QueueSettings("mail", ("acme/mail",))


def settings(name="mail", *topics, **changes):
    return QueueSettings(name, topics or ("acme/mail",), **changes)


# --- Which topics an entry takes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "topic", "part"),
    [
        ("*", "a", "a"),
        ("*", "a/b/c", "a/b/c"),
        ("**", "a/b/c", "a/b/c"),
        (" * ", "a", "a"),
        ("a.", "a/b", "b"),
        ("a/.", "a/b", "b"),
        ("a/b/.", "a/b/c", "c"),
        ("a.", "a", None),
        ("a.", "a/b/c", None),
        ("a.", "ab", None),
        ("a.", "ab/c", None),
        ("a*", "a/b", "b"),
        ("a/*", "a/b", "b"),
        ("a/*", "a/b/c", "b/c"),
        ("a/**", "a/b/c", "b/c"),
        ("a/**", "a/b", "b"),
        ("a*", "a", None),
        ("a/*", "a", None),
        ("a/**", "a", None),
        ("a*", "ab", None),
        ("a*", "ab/c", None),
        ("a/b", "a/b", ""),
        (" a/b ", "a/b", ""),
        ("a/b", "a/b/c", None),
        ("a/b", "a", None),
        ("", "a", None),
        (".", "a", None),
        ("/*", "a/b", None),
    ],
)
def test_entry_takes_topics(entry, topic, part):
    assert queues.match(topic, [entry]) == part


@pytest.mark.parametrize(
    ("entries", "part"),
    [
        (["a/*", "a/b/*"], "b/c"),
        (["a/b/*", "a/*"], "c"),
        (["a/b/c", "a/*"], ""),
        (["", "x", "a/b/."], "c"),
        (["a/b/c", "*"], "a/b/c"),  # with * anywhere the list is *
        ([], None),
        (["x", "y/*"], None),
    ],
)
def test_first_entry_that_takes_it_decides(entries, part):
    assert queues.match("a/b/c", entries) == part


# --- Which queue --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "topics", "topic", "expected"),
    [
        ("q-{0}", ["a*"], "a/b/c", "q-b_c"),
        ("q-{0}", ["*"], "a/b", "q-a_b"),
        ("q-{0}", ["a/."], "a/b", "q-b"),
        ("q-{0}", ["a/b"], "a/b", "q-"),
        ("{0}", ["a/b"], "a/b", "_"),
        ("{0}", ["a/*"], "a/1/b", "_1_b"),
        ("{0}-{0}", ["a/*"], "a/b", "b-b"),
        ("q-{1}", ["a/*"], "a/b", "q-_1_"),
        ("mail", ["a/*"], "a/b", "mail"),
        ("q_{0}", ["a/*"], "a/b_/c", "q_b_c"),
    ],
)
def test_queue_is_named_after_the_part_that_matched(name, topics, topic, expected):
    assert queues.choose(topic, [settings(name, *topics)]).name == expected


def test_highest_ranking_wins_even_over_a_more_specific_one():
    wide, exact = settings("wide", "a/*", ranking=5), settings("exact", "a/b", ranking=1)
    assert queues.choose("a/b", [exact, wide]).settings == wide


def test_equal_rankings_keep_their_order():
    first, second = settings("first", "a/*"), settings("second", "a/b")
    assert queues.choose("a/b", [first, second]).name == "first"
    assert queues.choose("a/b", [second, first]).name == "second"


def test_topic_that_nobody_takes_gets_the_main_queue():
    queue = queues.choose("x", [settings("mail", "a/*")])
    assert queue == queues.Queue(MAIN_QUEUE, QueueSettings(MAIN_QUEUE, ("*",)))


def test_main_queue_is_last_whatever_its_ranking():
    main = replace(queues.main_queue(), ranking=1000, retries=3)
    assert queues.choose("a/b", [main, settings("mail", "a/*", ranking=-5)]).name == "mail"
    assert queues.choose("x", [main, settings("mail", "a/*")]).settings.retries == 3


@pytest.mark.parametrize(
    "wrong",
    [{"type": "SIDEWAYS"}, {"topics": ()}, {"topics": ("", " ")}, {"name": ""}, {"retries": -2}, {"max_parallel": 0.0}],
)
def test_invalid_configuration_is_as_if_it_was_not_there(wrong):
    bad = replace(settings("bad", "a/*", ranking=9), **wrong)
    assert queues.choose("a/b", [bad, settings("good", "a/*")]).name == "good"


def test_a_name_is_never_longer_than_a_job_can_keep():
    assert len(queues.choose("a/" + "b" * 250, [settings("queue-{0}", "a/*")]).name) == queues.NAME_LENGTH


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail", "mail"),
        ("a b_,.-+#!?$%&()=", "a b_,.-+#!?$%&()="),
        ("q-b/c", "q-b_c"),
        ("a//|b", "a_b"),
        ("a_/b", "a_b"),
        ("a/_b", "a__b"),
        ("ä/ö", "_"),
        ("1mail", "_1mail"),
        ("/1", "_1"),
        ("a1", "a1"),
        ("", "_"),
        ("<main queue>", "_main queue_"),
        ("ligature ﬁ and ９", "ligature _ and _"),
    ],
)
def test_name_filter(text, expected):
    assert queues.name_filter(text) == expected


@given(st.text())
def test_filtered_name_is_legal_and_stays_as_it_is(text):
    name = queues.name_filter(text)
    assert queues.name_filter(name) == name
    assert name and not name[0].isdigit()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (" mail ", "mail"),
        ("a/b", "a_b"),
        ("q/{0}", "q_{0}"),
        ("{0}", "{0}"),
        ("7-{0}", "_7-{0}"),
        ("{1}", "_1_"),
        (MAIN_QUEUE, MAIN_QUEUE),
        ("", ""),
    ],
)
def test_configuration_is_kept_under_a_legal_name(name, expected):
    assert queues.legal_name(name) == expected


# --- Back from the name to the configuration ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("queue_name", "expected"),
    [
        ("mail", "mail"),
        ("q-mail", "q-{0}"),
        ("q-b_c", "q-{0}"),
        ("q-", "q-{0}"),
        ("anything", "{0}"),
        ("_1_b", "{0}"),
        ("q-x-end", "q-{0}-end"),
        (MAIN_QUEUE, MAIN_QUEUE),
    ],
)
def test_configuration_is_found_by_the_name_of_its_queue(queue_name, expected):
    known = [settings(name, "a/*") for name in ("{0}", "q-{0}", "q-{0}-end", "mail", MAIN_QUEUE)]
    known[-1] = queues.main_queue()
    assert queues.find(queue_name, known).name == expected


def test_name_that_no_configuration_makes_is_not_found():
    assert queues.find("other", [settings("mail"), settings("q-{0}", "a/*")]) is None
    assert queues.find(MAIN_QUEUE, [settings("{0}", "*")]) is None


_PARTS = st.text("abZ09_-", min_size=1, max_size=5)
_NAMES = st.lists(st.sampled_from(["{0}", "a", "q-", "/", "_", "7", ".", "ü", "end"]), min_size=1, max_size=5)


@given(
    _NAMES.map("".join).filter(lambda name: name.strip(".")),
    st.lists(_PARTS, min_size=1, max_size=4).map("/".join),
    st.booleans(),
)
def test_every_name_that_a_configuration_makes_leads_back_to_it(name, below, is_deep):
    configuration = settings(queues.legal_name(name), "top/*" if is_deep else f"top/{below}")
    queue = queues.choose(f"top/{below}", [configuration])
    assert queues.find(queue.name, [configuration]) == configuration


# --- How many at once ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_parallel", "processors", "expected"),
    [
        (-1, 4, 4),
        (-5, 4, 4),
        (0, 4, 0),
        (1, 4, 1),
        (15, 4, 15),
        (15, 32, 15),
        (0.5, 4, 2),
        (0.5, 1, 1),  # half up
        (0.5, 3, 2),
        (0.1, 4, 0),
        (0.125, 4, 1),
        (0.124, 4, 0),
        (0.99, 4, 4),
        (1.01, 4, 4),
        (2.5, 4, 4),
        (-0.5, 4, 4),
        (-1.5, 4, 4),
        (math.inf, 4, 4),
        (-math.inf, 4, 4),
        (math.nan, 4, 4),
    ],
)
def test_places_are_computed_as_in_sling(max_parallel, processors, expected):
    assert queues.places(max_parallel, processors) == expected


def test_ordered_queue_runs_one_at_a_time():
    assert queues.parallel(settings(type=QueueType.ORDERED, max_parallel=15), 8) == 1


def test_small_share_is_one_place_on_a_small_machine():
    assert queues.parallel(settings(max_parallel=0.1), 2) == 1
    assert queues.parallel(settings(max_parallel=0.1), 20) == 2


# --- When to try again --------------------------------------------------------------------------------------------


def delays(count=5, own_delay=None, at=0.5, **changes):
    queue = settings(**{"retry_delay_seconds": 2.0} | changes)
    return [queues.retry_delay(queue, retry, own_delay, lambda: at) for retry in range(1, count + 1)]


def test_delay_is_the_same_each_time_without_a_factor():
    assert delays() == [2.0] * 5


def test_delay_grows_by_the_factor_up_to_its_limit():
    assert delays(backoff_factor=2.0, max_retry_delay_seconds=10.0) == [2, 4, 8, 10, 10]


def test_own_delay_of_a_job_takes_the_place_of_the_queues():
    assert delays(3, own_delay=5.0, backoff_factor=2.0) == [5, 10, 20]


def test_own_delay_may_be_longer_than_the_limit_of_growth():
    assert delays(3, own_delay=50.0, backoff_factor=2.0, max_retry_delay_seconds=10.0) == [50, 50, 50]


@pytest.mark.parametrize("own_delay", [0.0, -1.0])
def test_no_delay_is_at_once(own_delay):
    assert delays(2, own_delay=own_delay, backoff_factor=2.0, jitter=0.5) == [0, 0]


def test_jitter_spreads_to_both_sides():
    assert delays(1, at=0.0, jitter=0.25) == [1.5]
    assert delays(1, at=1.0, jitter=0.25) == [2.5]


def test_jitter_does_not_exceed_the_limit():
    assert delays(1, at=1.0, jitter=0.25, max_retry_delay_seconds=2.0) == [2.0]
    assert delays(1, at=0.0, jitter=0.25, max_retry_delay_seconds=2.0) == [1.5]


def test_many_retries_are_no_trouble():
    assert queues.retry_delay(settings(backoff_factor=10.0), 100_000, None, lambda: 0.5) == 3600.0


# --- What is valid ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "", "a name"),
        ("name", "  ", "a name"),
        ("name", "x" * 256, "at most 255"),
        ("name", "..", "another name"),
        ("topics", (), "at least one topic"),
        ("topics", (" ",), "at least one topic"),
        ("topics", ("a//b",), "'a//b' is none of"),
        ("topics", ("a.b",), "'a.b' is none of"),
        ("topics", ("a/*/c",), "'a/*/c' is none of"),
        ("topics", (".",), "'.' is none of"),
        ("topics", ("/*",), "'/*' is none of"),
        ("topics", tuple(f"a/{n}" for n in range(501)), "at most 500"),
        ("type", "ordered", "UNORDERED, ORDERED"),
        ("priority", "HIGH", "MIN, NORM, MAX"),
        ("max_parallel", 0.0, "nothing ever runs"),
        ("max_parallel", math.inf, "number of jobs"),
        ("max_parallel", math.nan, "number of jobs"),
        ("max_parallel", 1e12, "at most"),
        ("retries", -2, "-1 for no end"),
        ("retries", 2**40, "-1 for no end"),
        ("retry_delay_seconds", -1.0, "up to a year"),
        ("retry_delay_seconds", math.nan, "up to a year"),
        ("max_retry_delay_seconds", math.inf, "up to a year"),
        ("time_limit_seconds", -0.1, "up to a year"),
        ("backoff_factor", 0.5, "from 1"),
        ("backoff_factor", math.nan, "from 1"),
        ("jitter", 1.5, "from 0"),
        ("ranking", 2**40, "whole number"),
    ],
)
def test_wrong_property_is_named_with_its_remedy(field, value, said):
    with pytest.raises(exceptions.QueueInvalid) as caught:
        queues.validate(replace(PLAIN, **{field: value}))
    assert list(caught.value.problems) == [field]
    assert said in caught.value.problems[field] and field in str(caught.value)


def test_all_wrong_properties_are_named_at_once():
    found = queues.problems(replace(PLAIN, name="", retries=-7, jitter=2.0))
    assert set(found) == {"name", "retries", "jitter"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"topics": ("*",)},
        {"topics": ("a.", "a/.", "a*", "a/*", "a/**", "a-b/c_d")},
        {"type": QueueType.ORDERED, "max_parallel": 0.0},
        {"type": QueueType.DROP},
        {"retries": -1},
        {"retries": 0, "retry_delay_seconds": 0.0},
        {"max_parallel": -1.0},
    ],
)
def test_valid_settings_come_back(changes):
    good = replace(PLAIN, **changes)
    assert queues.validate(good, processors=4) is good


def test_share_that_is_no_whole_place_here_is_refused():
    queues.validate(settings(max_parallel=0.1))
    with pytest.raises(exceptions.QueueInvalid, match="0.1 of 4 processors is less than one job"):
        queues.validate(settings(max_parallel=0.1), processors=4)


def test_main_queue_takes_everything_and_nothing_else():
    with pytest.raises(exceptions.QueueInvalid, match="its topics are always"):
        queues.validate(replace(queues.main_queue(), topics=("a",)))


def test_settings_have_the_fields_and_defaults_of_the_model():
    model = {field.name: field for field in QueueConfiguration._meta.get_fields()}
    for name, value in vars(PLAIN).items():
        field = model.pop(name)
        assert name in ("name", "topics") or field.default == value
    assert set(model) == {"id", "changed_by", "changed_at"}
