"""Which topics are legal, and which registered pattern takes which topic."""

import pytest

from offloading.exceptions import TopicInvalid
from offloading.jobs import topics


@pytest.mark.parametrize("topic", ["a", "a/b", "com/day-cq/dam_2/X", "0/1"])
def test_legal_topic_is_returned(topic):
    assert topics.validate(topic) == topic


@pytest.mark.parametrize(
    "topic", ["", "/", "/a", "a/", "a//b", "simpleTopic.withDots", "a b", "a/*", "ä", "a\n", None, 7, "a" * 256]
)
def test_illegal_topic_is_refused(topic):
    with pytest.raises(TopicInvalid):
        topics.validate(topic)


@pytest.mark.parametrize("pattern", ["a/b", " a/b ", "a/*", "a/**"])
def test_legal_pattern_is_returned_trimmed(pattern):
    assert topics.validate_pattern(pattern) == pattern.strip()


@pytest.mark.parametrize("pattern", ["*", "**", "", "a*", "a/*/b", "a/***"])
def test_illegal_pattern_is_refused(pattern):
    with pytest.raises(TopicInvalid):
        topics.validate_pattern(pattern)


@pytest.mark.parametrize(
    ("topic", "patterns", "best"),
    [
        ("x/y/z", ["x/**", "x/y/**", "x/y/*", "x/y/z"], "x/y/z"),
        ("x/y/z", ["x/**", "x/y/**", "x/y/*"], "x/y/*"),
        ("x/y/z", ["x/**", "x/y/**"], "x/y/**"),
        ("x/y/z", ["x/**"], "x/**"),
        ("x/y/z", ["x/*"], ""),
        ("x/y", ["x/*"], "x/*"),
        ("x", ["x/*", "x/**"], ""),
        ("x", ["x"], "x"),
        ("x/y", ["*", "**"], ""),
    ],
)
def test_most_specific_pattern_takes_the_topic(topic, patterns, best):
    assert topics.matching(topic, patterns) == best
