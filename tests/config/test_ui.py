"""What templates draw with, and the frame around every page."""

import json
import re
from datetime import timedelta

import pytest
from django.contrib import messages
from django.contrib.messages.storage.base import Message
from django.template import Context, Template
from django.utils import timezone

from config import navigation, toasts
from config.templatetags import ui


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (None, "–"),
        (0, "0 ms"),
        (0.3402, "340 ms"),
        (2.44, "2.4 s"),
        (59.94, "59.9 s"),
        (60, "1 min"),
        (192, "3 min 12 s"),
        (7500, "2 h 5 min"),
        (72 * 3600, "3 d 0 h"),
        (-1, "0 ms"),
        (timedelta(seconds=5), "5.0 s"),
    ],
)
def test_duration_is_said_as_a_person_would(span, said):
    assert ui.duration(span) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "just now"), (4, "just now"), (12, "12 s ago"), (150, "2 min ago"), (7300, "2 h ago"), (200_000, "2 d ago")],
)
def test_ago_is_said_in_one_unit(seconds, said):
    assert ui.ago(timedelta(seconds=seconds)) == said


def test_moment_carries_the_full_instant():
    when = timezone.now() - timedelta(seconds=30)
    assert re.search(r'<time datetime="\S+\+00:00" title="[^"]+ UTC" data-ago>30 s ago</time>', ui.moment(when))
    assert ui.moment(None) == ui.clock(None) == "–"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "any moment"), (0, "any moment"), (12, "in 12 s"), (90, "in 90 s"), (150, "in 2 min"), (200_000, "in 2 d")],
)
def test_what_is_to_come_is_said_in_one_unit(seconds, said):
    assert ui.ahead(timedelta(seconds=seconds)) == said


def test_countdown_carries_the_full_instant():
    when = timezone.now() + timedelta(seconds=30)
    assert re.search(
        r'<time datetime="\S+\+00:00" title="[^"]+ UTC" data-until>in (30|29) s</time>', ui.countdown(when)
    )
    assert ui.countdown(None) == "–"


def test_soft_breaks_behind_separators_and_escapes():
    assert ui.soft("a.b/c,<d>") == "a.<wbr>b/<wbr>c,<wbr>&lt;d&gt;<wbr>"


def test_pretty_indents_json_and_leaves_text_alone():
    assert ui.pretty("text") == "text"
    assert ui.pretty({"b": [1], "a": "ä"}) == '{\n  "a": "ä",\n  "b": [\n    1\n  ]\n}'


def test_capture_renders_a_block_once_for_two_uses():
    template = Template("{% load ui %}{% capture as x %}<{{ y }}>{% endcapture %}{{ x }}{{ x }}")
    assert template.render(Context({"y": "&"})) == "<&amp;><&amp;>"


def test_icons_are_drawn_inline_and_hidden_from_readers():
    assert ui.icon("bolt", 16).startswith("<svg") and 'aria-hidden="true"' in ui.icon("bolt", 16)


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/topology/instances/x/", "Topology"),
        ("/offloading/", "Offloading"),
        ("/offloading/jobs/x/", "Jobs"),
        ("/offloading/replication/", "Replication"),
    ],
)
def test_rail_marks_where_one_is(path, label):
    assert [link.label for link in navigation.links(path) if link.is_current] == [label]


def test_rail_leaves_out_what_does_not_exist():
    assert "Audit" not in [link.label for link in navigation.links("/")]


def test_log_in_page_names_the_instance_and_shows_errors(client, db):
    assert "127.0.0.1:4502" in client.get("/login/").content.decode()
    answer = client.post("/login/", {"username": "nobody", "password": "wrong"}).content.decode()
    assert "Please enter a correct username and password" in answer


def test_page_names_instance_person_and_theme(reader_client):
    page = reader_client.get("/topology/").content.decode()
    assert "127.0.0.1:4502" in page and "reader" in page and 'href="#page"' in page and "data-theme=" not in page


@pytest.mark.parametrize(("theme", "shown"), [("dark", True), ("light", True), ("pink", False), ("", False)])
def test_theme_is_remembered(reader_client, theme, shown):
    answer = reader_client.post("/theme/", {"theme": theme, "next": "/offloading/jobs/?q=x"})
    assert answer.headers["Location"] == "/offloading/jobs/?q=x"
    assert (f'data-theme="{theme}"' in reader_client.get("/topology/").content.decode()) is shown


def test_theme_does_not_lead_elsewhere(reader_client):
    assert reader_client.post("/theme/", {"next": "https://evil.example/"}).headers["Location"] == "/"


def test_pages_forbid_inline_and_foreign_code(reader_client):
    policy = reader_client.get("/topology/").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy


def test_fragment_after_the_session_ended_leads_to_the_log_in(client, db):
    answer = client.get("/offloading/jobs/", headers={"HX-Request": "true"})
    assert answer.status_code == 204 and answer.headers["HX-Redirect"] == "/login/"


def test_answers_of_pages_and_fragments_are_not_mixed_up_in_caches(reader_client):
    assert "HX-Request" in reader_client.get("/topology/").headers["Vary"]


def test_patterns_are_for_staff(staff_client, reader_client):
    assert reader_client.get("/patterns/").status_code == 403
    assert "Every piece" in staff_client.get("/patterns/").content.decode()


def test_message_is_a_toast_on_the_page_and_an_event_in_a_fragment(staff_client):
    page = staff_client.get("/patterns/?toast").content.decode()
    assert 'class="toast" data-tone="good"' in page and 'action="/patterns/"' in page
    answer = staff_client.get("/patterns/?toast", headers={"HX-Request": "true"})
    [toast] = json.loads(answer.headers["HX-Trigger"])["toast"]["toasts"]
    assert toast == {
        "text": "com/example/topic is disabled on 127.0.0.1:4502.",
        "tone": "good",
        "undo_url": "/patterns/",
        "undo_fields": "a=b",
        "link_url": "",
    }
    assert 'class="toast" data-tone' not in staff_client.get("/patterns/").content.decode()


def test_toast_may_lead_to_where_something_goes_on():
    said = Message(messages.SUCCESS, "Retrying 12 jobs.", extra_tags="link=/offloading/jobs/7/?a=b")
    assert toasts.from_message(said) == toasts.Toast("Retrying 12 jobs.", "good", link_url="/offloading/jobs/7/?a=b")


def test_errors_show_what_to_do(reader_client, client, db):
    assert "No page at this address" in reader_client.get("/nowhere/").content.decode()
    assert "Nothing is here" in client.get("/nowhere/").content.decode()


def test_failing_page_needs_nothing_of_the_request():
    from django.template.loader import render_to_string

    assert "This page failed" in render_to_string("500.html")
