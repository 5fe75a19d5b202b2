"""The settings of a queue in words."""

import pytest

from offloading.jobs.queues import QueueSettings
from offloading.views import queue_words


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Up to 15 at once on each instance"),
        ({"max_parallel": 1.0}, "One at a time on each instance"),
        ({"max_parallel": -1.0}, "One at once for each processor, 4 here"),
        ({"max_parallel": 1.5}, "One at once for each processor, 4 here"),
        ({"max_parallel": 0.5}, "50 % of the processors of each instance at once, 2 here"),
        ({"max_parallel": 0.125}, "12.5 % of the processors of each instance at once, 1 here"),
        ({"type": "ORDERED"}, "One at a time in the whole cluster, in order"),
        ({"type": "TOPIC_ROUND_ROBIN"}, "Up to 15 at once on each instance, topics taking turns"),
    ],
)
def test_parallelism(changes, said):
    assert queue_words.parallel(QueueSettings("mail", ("a",), **changes), processors=4) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Up to 10 retries, each after 2 s"),
        ({"retries": 0}, "No retries"),
        ({"retries": 1, "backoff_factor": 2.0}, "One retry after 2 s"),
        ({"retries": -1, "retry_delay_seconds": 7200.0}, "Retries without end, each after 2 h"),
        ({"retry_delay_seconds": 0.0}, "Up to 10 retries at once"),
        ({"jitter": 0.25}, "Up to 10 retries, each after 2 s (± 25 %)"),
        (
            {"backoff_factor": 1.5, "max_retry_delay_seconds": 90.0, "retry_on_exception": True},
            "Up to 10 retries, after 2 s and each time 1.5 times that, at most 90 s, also after an exception",
        ),
    ],
)
def test_retries(changes, said):
    assert queue_words.retries(QueueSettings("mail", ("a",), **changes)) == said


@pytest.mark.parametrize(
    ("type", "said"), [("DROP", "New jobs are refused"), ("IGNORE", "Jobs are kept and none is started")]
)
def test_queue_that_runs_nothing_says_only_that(type, said):
    assert queue_words.sentences(QueueSettings("mail", ("a",), type=type, keep_jobs=True), 4) == [said]


def test_the_rest_is_said_where_it_is_not_usual():
    settings = QueueSettings(
        "mail", ("a",), time_limit_seconds=0.5, keep_jobs=True, prefer_run_on_creation_instance=True, priority="MAX"
    )
    assert queue_words.sentences(settings, 4)[2:] == [
        "At most 0.5 s for an attempt",
        "Succeeded jobs are kept",
        "Runs where the job was created, if that can",
        "High priority",
    ]


@pytest.mark.parametrize(
    ("span", "said"), [(0.5, "0.5 s"), (59, "59 s"), (60, "1 min"), (90, "90 s"), (3600, "1 h"), (172_800, "2 d")]
)
def test_span_is_said_in_its_largest_whole_unit(span, said):
    assert queue_words.seconds(span) == said
