"""The registry of consumers: which class takes which topic."""

import pytest

from offloading.exceptions import TopicInvalid
from offloading.jobs import consumers
from offloading.jobs.consumers import JobConsumer, JobResult


def consumer(*patterns, ranking=0):
    return type(
        "Consumer",
        (JobConsumer,),
        {"topics": patterns, "ranking": ranking, "process": lambda self, job: JobResult.OK},
    )


def test_most_specific_consumer_is_found_whatever_its_ranking():
    exact, deep = consumer("test/a/b", ranking=-100), consumer("test/**", ranking=1000)
    with consumers.register_temporarily(deep, exact):
        assert isinstance(consumers.find("test/a/b"), exact)
        assert isinstance(consumers.find("test/a/c"), deep)
        assert consumers.find("test") is None


def test_of_equals_the_higher_ranking_wins_then_the_first():
    first, second, higher = consumer("test/a"), consumer("test/a"), consumer("test/a", ranking=1)
    with consumers.register_temporarily(first, second):
        assert isinstance(consumers.find("test/a"), first)
    with consumers.register_temporarily(first, higher):
        assert isinstance(consumers.find("test/a"), higher)


def test_temporary_registration_leaves_nothing_behind():
    before = consumers.registered()
    with consumers.register_temporarily(consumer("test/a", "test/b/*")):
        assert set(consumers.registered()) == {*before, "test/a", "test/b/*"}
    assert consumers.registered() == before


def test_illegal_pattern_registers_nothing():
    before = consumers.registered()
    with pytest.raises(TopicInvalid):
        consumers.job_consumer(consumer("test/a", "*"))
    assert consumers.registered() == before
