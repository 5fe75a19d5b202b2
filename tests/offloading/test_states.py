"""The table of transitions: complete, and the same as in the docs."""

import re
from pathlib import Path

import pytest

from offloading.jobs import states
from offloading.jobs.states import Event
from offloading.models import JobState

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "job-lifecycle.md"


@pytest.mark.parametrize("event", Event)
def test_every_event_has_a_transition(event):
    assert states.sources(event)
    assert states.targets(event)


def test_every_state_but_the_first_is_reached_by_some_transition():
    assert {row.target for row in states.TRANSITIONS} == set(JobState)


@pytest.mark.parametrize("state", sorted(states.FINAL))
def test_final_state_is_left_only_by_a_retry(state):
    assert {row.event for row in states.TRANSITIONS if state in row.sources} == {Event.RETRY}


def test_only_unfinished_states_are_not_final():
    assert {JobState.QUEUED, JobState.ACTIVE} == states.UNFINISHED


@pytest.mark.parametrize(
    ("source", "target", "is_allowed"),
    [
        (JobState.QUEUED, JobState.ACTIVE, True),
        (JobState.ACTIVE, JobState.QUEUED, True),
        (JobState.QUEUED, JobState.SUCCEEDED, False),
        (JobState.SUCCEEDED, JobState.ACTIVE, False),
        (JobState.SUCCEEDED, JobState.QUEUED, True),
        (JobState.ERROR, JobState.SUCCEEDED, False),
    ],
)
def test_transition_is_allowed(source, target, is_allowed):
    assert states.is_allowed(source, target) is is_allowed


def test_docs_show_the_table():
    shown = re.findall(r"^\| (.+?) \| (.+?) \| (\w+) \| (.*?) ?\|$", PAGE.read_text(), re.MULTILINE)
    rows = [
        (str(row.event), ", ".join(sorted(row.sources)), str(row.target), row.condition) for row in states.TRANSITIONS
    ]
    rows = [(event, "every final one" if "ERROR" in sources else sources, *rest) for event, sources, *rest in rows]
    assert shown == [("event", "from", "to", "when"), *rows]


def test_docs_diagram_has_an_arrow_for_each_transition():
    arrows = set(re.findall(r"^ +(\w+) --> (\w+)", PAGE.read_text(), re.MULTILINE))
    expected = {
        (source, row.target) for row in states.TRANSITIONS if row.event is not Event.RETRY for source in row.sources
    }
    assert arrows >= {(str(source), str(target)) for source, target in expected}
    assert all(states.is_allowed(JobState(source), JobState(target)) for source, target in arrows)
