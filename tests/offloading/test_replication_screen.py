import html

import pytest

from content import services as content
from offloading.jobs import manager
from offloading.models import Transfer
from offloading.transport import agents
from tests.offloading import topologies
from tests.offloading.foreign import TOPIC, Foreign
from topology import services as topology

pytestmark = pytest.mark.django_db
PAGE = "/offloading/replication/"


@pytest.fixture
def foreign():
    topologies.establish(topics="")
    foreign = Foreign()
    foreign.announce()
    agents.follow(topology.current_view())
    return foreign


def text(client):
    return html.unescape(client.get(PAGE).content.decode())


def transfer(foreign, state, **facts):
    job = manager.add_job(TOPIC, title="ski.jpg")
    return Transfer.objects.create(
        job=job, fence=1, peer=foreign.sling_id, direction="OUT", is_sender=True, state=state, bytes_total=2048, **facts
    )


def test_without_other_installations_there_are_no_agents(reader_client):
    assert "No agents" in text(reader_client)


def test_agent_of_an_instance_shows_its_address_and_is_idle(reader_client, foreign):
    page = text(reader_client)
    assert f"offloading_{foreign.sling_id}" in page and "http://127.0.0.1:4512/bin/receive" in page
    assert "Idle" in page and "Nothing was sent yet." in page


@pytest.mark.parametrize(
    ("state", "facts", "shown"),
    [
        (Transfer.State.WAITING, {}, "Active"),
        (Transfer.State.SENDING, {"bytes_moved": 1024}, "1.0\xa0KB of 2.0\xa0KB"),
        (Transfer.State.WAITING, {"error": "Nobody answers."}, "Blocked"),
        (Transfer.State.PARKED, {"error": "Unknown key."}, "Unknown key."),
        (Transfer.State.FENCED, {"error": "The asset was removed."}, "The asset was removed."),
    ],
)
def test_queue_shows_what_moves_and_what_failed(reader_client, foreign, state, facts, shown):
    transfer(foreign, state, **facts)
    page = text(reader_client)
    assert shown in page and "ski.jpg" in page


def test_switched_off_agent_is_disabled(reader_client, foreign):
    path = f"{agents.agent_path(foreign.sling_id)}/jcr:content"
    content.set_properties(path=path, properties={"enabled": False}, by="admin")
    assert "Disabled" in text(reader_client)


def test_parked_transfer_can_be_tried_again_by_staff(staff_client, reader_client, foreign):
    parked = transfer(foreign, Transfer.State.PARKED, error="Unknown key.", tries=10)
    address = f"{PAGE}transfers/{parked.pk}/retry/"
    assert reader_client.post(address).status_code == 403
    assert staff_client.get(address).status_code == 405
    staff_client.post(address)
    parked.refresh_from_db()
    assert (parked.state, parked.tries) == (Transfer.State.WAITING, 0)
    assert "waits for its next try" in text(staff_client)


def test_transfer_that_is_done_is_not_tried_again(staff_client, foreign):
    done = transfer(foreign, Transfer.State.DONE)
    staff_client.post(f"{PAGE}transfers/{done.pk}/retry/")
    assert "nothing to try again" in text(staff_client)
