"""The how-to for job authors does what it says: its code is run as it stands there."""

import re
from pathlib import Path

import pytest

from content import services as content
from offloading.jobs import consumers, testing
from offloading.models import Job, JobState

pytestmark = pytest.mark.django_db
PAGE = Path(__file__).resolve().parents[2] / "docs/howto/add-a-topic.md"
CONSUMER, ADD, ADD_WITH_PAYLOAD, TEST = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture(autouse=True)
def installed():
    content.ensure_folder(path="/content", by="ann")
    letter = {"text": "four words are here"}
    content.create_node(path="/content/letter", primary_type="nt:unstructured", properties=letter, by="ann")
    with consumers.register_temporarily():
        exec(CONSUMER, {"__name__": "acme"})
        yield


def test_steps_lead_to_a_job_that_counts():
    exec(ADD, {})
    assert testing.run_waiting() == 1
    job = Job.objects.get()
    assert (job.state, job.title, job.result_message) == (JobState.SUCCEEDED, "Count the letter", "4 words")
    assert job.properties["words"] == 4
    assert job.attempts.get().log == "4 words in /content/letter\n"


def test_job_with_a_payload_runs_at_home_too():
    names = {}
    exec(ADD, names)
    exec(ADD_WITH_PAYLOAD, names)
    assert testing.run_waiting() == 2
    assert set(Job.objects.values_list("state", flat=True)) == {JobState.SUCCEEDED}


def test_its_test_passes():
    names = {}
    exec(TEST, names)
    names["test_words_are_counted"](db=None)


def test_page_has_the_six_steps_of_the_talk():
    assert re.findall(r"^## (\d)\.", PAGE.read_text(), re.MULTILINE) == list("123456")
