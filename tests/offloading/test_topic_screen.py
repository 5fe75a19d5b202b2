import html
import json

import pytest

from offloading.jobs import manager
from offloading.models import Job, SwitchCommand, TopicSettings
from tests.offloading import topologies
from tests.offloading.foreign import Foreign

pytestmark = pytest.mark.django_db
PAGE = "/offloading/"
SWITCH = "/offloading/switch/"
TOPIC = "acme/mail/send"
OTHER = "22222222-2222-4222-8222-222222222222"


@pytest.fixture
def local():
    return topologies.establish(OTHER, topics=f"{TOPIC},acme/print")


def text(client, **headers):
    return html.unescape(client.get(PAGE, headers=headers).content.decode()).replace("<wbr>", "")


def block(page, topic=TOPIC):
    """Cut the block of a topic out of the page."""
    return page.partition(f'data-topic="{topic}"')[2].partition("</section>")[0]


def row(page, sling_id, topic=TOPIC):
    return block(page, topic).partition(f'data-instance="{sling_id}"')[2].partition("</li>")[0]


def press(client, sling_id, action, topic=TOPIC, **headers):
    return client.post(SWITCH, {"instance": sling_id, "topic": topic, "action": action}, headers=headers)


def test_each_topic_has_a_block_and_each_instance_a_row(staff_client, local):
    page = text(staff_client)
    assert f"Topic</span> {TOPIC}" in page and "Topic</span> acme/print" in page
    assert f"{local[:8]}:4502</strong>" in row(page, local) and f"({local})" in row(page, local)
    assert ">Disable<" in row(page, local) and ">Enable<" not in block(page)


def test_disabled_row_goes_last_says_why_and_offers_enable(staff_client, local):
    answer = press(staff_client, local, "disable")
    assert answer.headers["Location"] == PAGE
    page = text(staff_client)
    assert "blacklisted" in row(page, local) and ">Enable<" in row(page, local)
    assert block(page).index(f'data-instance="{OTHER}"') < block(page).index(f'data-instance="{local}"')
    assert TopicSettings.objects.get(sling_id=local).blacklist == [TOPIC]


def test_page_without_scripting_says_it_and_offers_the_way_back(staff_client, local):
    press(staff_client, local, "disable")
    page = text(staff_client)
    assert f"{TOPIC} is disabled on {local[:8]}:4502." in page
    assert '<input type="hidden" name="action" value="enable">' in page.partition('class="toasts"')[2]


def test_fragment_brings_the_blocks_and_the_toast_in_its_header(staff_client, local):
    answer = press(staff_client, local, "disable", **{"HX-Request": "true"})
    fragment = answer.content.decode()
    assert answer.status_code == 200 and fragment.strip().startswith('<div class="stack" id="topics"')
    assert ">Enable<" in row(fragment, local)
    [toast] = json.loads(answer.headers["HX-Trigger"])["toast"]["toasts"]
    assert toast["undo_url"] == SWITCH and "action=enable" in toast["undo_fields"]


def test_twice_is_harmless(staff_client, local):
    press(staff_client, local, "disable")
    press(staff_client, local, "disable")
    assert TopicSettings.objects.get(sling_id=local).blacklist == [TOPIC]


def test_reader_sees_why_the_buttons_are_off_and_cannot_press_them(reader_client, local):
    page = text(reader_client)
    assert "Switching is for staff." in page and "disabled title=" in row(page, local)
    assert press(reader_client, local, "disable").status_code == 403
    assert not TopicSettings.objects.exists()


def test_switch_without_csrf_token_is_refused(local, admin):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(admin)
    answer = press(client, local, "disable")
    assert answer.status_code == 403 and "Nothing was changed" in answer.content.decode()


@pytest.mark.parametrize(
    ("instance", "topic", "action"), [("nobody", TOPIC, "disable"), (OTHER, "no/such", "disable"), (OTHER, TOPIC, "x")]
)
def test_what_makes_no_sense_is_answered_with_the_reason(staff_client, local, instance, topic, action):
    answer = press(staff_client, instance, action, topic, **{"HX-Request": "true"})
    assert answer.status_code == 422
    [toast] = json.loads(answer.headers["HX-Trigger"])["toast"]["toasts"]
    assert toast["tone"] == "danger" and toast["text"]


def test_get_of_the_switch_is_refused(staff_client):
    assert staff_client.get(SWITCH).status_code == 405


def test_button_says_what_it_would_cause(staff_client, local):
    manager.add_job(TOPIC)
    Job.objects.update(target=local)
    assert "1 waiting job moves" in row(text(staff_client), local)
    press(staff_client, OTHER, "disable")
    assert "1 waiting job would be left without an instance" in row(text(staff_client), local)
    press(staff_client, local, "disable")
    assert "1 waiting job without an instance can run" in row(text(staff_client), local)
    press(staff_client, OTHER, "enable")
    Job.objects.all().delete()
    assert "The only one: new jobs would wait" in row(text(staff_client), OTHER)


def test_switch_of_a_foreign_instance_is_pending_until_it_shows(staff_client, local):
    foreign = Foreign(topics=(TOPIC,))
    foreign.announce()
    press(staff_client, foreign.sling_id, "disable")
    shown = row(text(staff_client), foreign.sling_id)
    assert "Pending" in shown and "to be disabled" in shown and "another installation" in shown
    assert ">Disable<" in shown

    SwitchCommand.objects.update(error="Nobody answers at http://127.0.0.1:4512/.")
    assert "Not confirmed" in row(text(staff_client), foreign.sling_id)

    foreign.announce(**{"job.consumermanager.blacklist": TOPIC, "org.apache.sling.event.jobs.consumer.topics": ""})
    shown = row(text(staff_client), foreign.sling_id)
    assert "Pending" not in shown and "Not confirmed" not in shown and ">Enable<" in shown


def test_without_consumers_the_page_says_how_to_get_some(staff_client):
    topologies.establish(topics="")
    assert "No instance has a consumer yet" in text(staff_client)


def test_number_of_queries_does_not_depend_on_the_rows(staff_client, local, django_assert_max_num_queries):
    for _ in range(3):
        Foreign(topics=(TOPIC, "acme/print", "acme/fax")).announce()
    with django_assert_max_num_queries(16):
        text(staff_client)
