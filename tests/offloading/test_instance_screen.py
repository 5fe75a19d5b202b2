import html

import pytest

from offloading.models import SwitchCommand, TopicSettings
from offloading.views.instances import Choice, changes
from tests.offloading import topologies
from tests.offloading.foreign import Foreign

pytestmark = pytest.mark.django_db
MAIL, PRINT = "acme/mail/send", "acme/print"


@pytest.fixture
def local():
    return topologies.establish(topics=f"{MAIL},{PRINT}")


def page(client, sling_id):
    return html.unescape(client.get(f"/offloading/instances/{sling_id}/").content.decode())


def save(client, sling_id, **choices):
    fields = {"config:" + {"mail": MAIL, "prints": PRINT}[name]: value for name, value in choices.items()}
    return client.post(f"/offloading/instances/{sling_id}/", fields)


def chosen(client, sling_id, topic):
    for action in ["enable", "disable", "exclusive"]:
        if f'name="config:{topic}" value="{action}" checked' in page(client, sling_id):
            return action
    return None


def lists(sling_id):
    row = TopicSettings.objects.get(sling_id=sling_id)
    return row.whitelist, row.blacklist


def test_everything_is_enabled_at_first(staff_client, local):
    assert [chosen(staff_client, local, topic) for topic in (MAIL, PRINT)] == ["enable", "enable"]


def test_saved_choice_holds_and_shows(staff_client, local):
    save(staff_client, local, mail="disable", prints="enable")
    assert lists(local) == (["*"], [MAIL])
    assert chosen(staff_client, local, MAIL) == "disable"


def test_exclusive_takes_only_this_and_back_to_enabled_restores_everything_but_what_was_off(staff_client, local):
    save(staff_client, local, mail="exclusive", prints="disable")
    assert lists(local) == ([MAIL], [])
    assert [chosen(staff_client, local, topic) for topic in (MAIL, PRINT)] == ["exclusive", "disable"]
    assert "not in whitelist" in page(staff_client, local)
    save(staff_client, local, mail="enable", prints="enable")
    assert lists(local) == (["*"], [])


def test_nothing_different_changes_nothing(staff_client, local):
    save(staff_client, local, mail="enable", prints="enable")
    assert not TopicSettings.objects.exists()
    assert "Nothing was different" in page(staff_client, local)


def test_reader_may_look_and_not_save(reader_client, local):
    assert "Switching is for staff." in page(reader_client, local)
    assert save(reader_client, local, mail="disable").status_code == 403
    assert not TopicSettings.objects.exists()


def test_foreign_instance_is_asked(staff_client, local):
    foreign = Foreign(topics=(MAIL, PRINT))
    foreign.announce()
    save(staff_client, foreign.sling_id, mail="exclusive")
    assert SwitchCommand.objects.get().actions == {MAIL: "exclusive"}
    assert "Not confirmed yet" in page(staff_client, foreign.sling_id)


def test_nonsense_is_answered_with_the_reason(staff_client, local):
    save(staff_client, local, mail="perhaps")
    assert "'perhaps' is no switch" in page(staff_client, local)


def test_unknown_instance_is_not_found(staff_client, local):
    assert staff_client.get("/offloading/instances/nobody/").status_code == 404


@pytest.mark.parametrize(
    ("current", "wanted", "expected"),
    [
        ("enable enable", "disable enable", {MAIL: "disable"}),
        ("enable enable", "exclusive disable", {MAIL: "exclusive"}),
        ("exclusive disable", "exclusive disable", {}),
        ("exclusive disable", "disable exclusive", {PRINT: "exclusive"}),
        ("exclusive disable", "enable enable", {MAIL: "enable", PRINT: "enable"}),
        ("disable disable", "disable disable", {}),
    ],
)
def test_changes_are_what_leads_from_one_to_the_other(current, wanted, expected):
    topics = (MAIL, PRINT)
    choices = [Choice(topic, action, "") for topic, action in zip(topics, current.split(), strict=True)]
    assert changes(choices, dict(zip(topics, wanted.split(), strict=True))) == expected
