import pytest

from offloading.models import SwitchCommand, TopicSettings
from tests.offloading import topologies
from tests.offloading.foreign import Foreign

pytestmark = pytest.mark.django_db
BASE = "/libs/granite/offloading/content/view/views/wrapper/items/servletComponentPlaceholder"
TOPIC = "acme/mail/send"


@pytest.fixture
def local():
    return topologies.establish(topics=TOPIC)


def listed(client):
    return client.get(f"{BASE}.list.json").json()


def test_list_has_the_shape_that_clients_know(reader_client, local):
    assert listed(reader_client) == {
        "topics": [
            {
                "topic": TOPIC,
                "instances": [
                    {
                        "slingID": local,
                        "ip": local[:8],
                        "port": "4502",
                        "cluster": "the cluster",
                        "topicEnabled": True,
                    }
                ],
            }
        ]
    }


def test_config_switches_and_the_list_shows_it(staff_client, local):
    answer = staff_client.post(f"{BASE}.config.html", {"slingID": local, f"config:{TOPIC}": "disable"})
    assert answer.status_code == 200
    assert listed(staff_client)["topics"][0]["instances"][0]["topicEnabled"] is False
    staff_client.post(f"{BASE}.config.html", {"slingID": local, f"config:{TOPIC}": "exclusive"})
    assert TopicSettings.objects.get(sling_id=local).whitelist == [TOPIC]


def test_config_of_a_foreign_instance_is_applied_later(staff_client, local):
    foreign = Foreign(topics=(TOPIC,))
    foreign.announce()
    answer = staff_client.post(f"{BASE}.config.html", {"slingID": foreign.sling_id, f"config:{TOPIC}": "disable"})
    assert answer.status_code == 200
    assert SwitchCommand.objects.get().sling_id == foreign.sling_id


@pytest.mark.parametrize(
    "fields",
    [
        {"slingID": "nobody", f"config:{TOPIC}": "disable"},
        {"slingID": "LOCAL", "config:no/such": "disable"},
        {"slingID": "LOCAL", f"config:{TOPIC}": "perhaps"},
        {"slingID": "LOCAL"},
    ],
)
def test_config_that_makes_no_sense_says_so(staff_client, local, fields):
    fields = {name: value.replace("LOCAL", local) for name, value in fields.items()}
    answer = staff_client.post(f"{BASE}.config.html", fields)
    assert answer.status_code == 400 and answer.content


def test_config_is_for_staff(reader_client, local):
    assert (
        reader_client.post(f"{BASE}.config.html", {"slingID": local, f"config:{TOPIC}": "disable"}).status_code == 403
    )
    assert not TopicSettings.objects.exists()


def test_methods_are_theirs(staff_client):
    assert staff_client.post(f"{BASE}.list.json").status_code == 405
    assert staff_client.get(f"{BASE}.config.html").status_code == 405


def test_address_of_the_screen_leads_to_ours(reader_client):
    assert reader_client.get("/libs/granite/offloading/content/view.html").headers["Location"] == "/offloading/"
