"""The screen "Queues": what it shows, and how queues are configured, paused and resumed there."""

import html
import json
import re
from datetime import timedelta
from urllib.parse import parse_qsl, quote

import pytest
from django.utils import timezone

from offloading.jobs import configuration, ids, overview, pauses, statistics
from offloading.jobs.queues import MAIN_QUEUE, QueueSettings
from offloading.jobs.statistics import Entry
from offloading.models import Job, JobState, Pause, QueueConfiguration
from offloading.views import queues as screen

pytestmark = pytest.mark.django_db
PAGE = "/offloading/queues/"
MAIN = f"{PAGE}{quote(MAIN_QUEUE)}/"
NEW = f"{PAGE}configurations/new/"
HTMX = {"HTTP_HX_REQUEST": "true"}
FORM = {
    "name": "mail",
    "topics": "acme/mail\nacme/post/*",
    "ranking": "5",
    "type": "ORDERED",
    "max_parallel": "0.5",
    "priority": "NORM",
    "retries": "3",
    "retry_delay_seconds": "1.5",
    "backoff_factor": "2",
    "max_retry_delay_seconds": "60",
    "jitter": "0.2",
    "time_limit_seconds": "0",
    "keep_jobs": "on",
}


def put(name, *topics, **changes):
    return configuration.put(QueueSettings(name, topics, **changes), by="ann")


def job(topic="acme/mail", queue=MAIN_QUEUE, **columns):
    return Job.objects.create(id=ids.uuid7(), topic=topic, queue=queue, application="here", **columns)


def pause(name=MAIN_QUEUE, kind=Pause.Kind.QUEUE, **facts):
    return pauses.pause(kind=kind, name=name, by="ann", **facts)


def text(client, address=PAGE, **extra):
    """Return what a page says, its parts separated by single blanks."""
    page = client.get(address, **extra).content.decode().replace("<wbr>", "")
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def row(client, name, address=PAGE):
    """Return what the row of a queue says."""
    page = client.get(address).content.decode().replace("<wbr>", "")
    (found,) = re.findall(rf'<tr data-queue="{re.escape(html.escape(name))}">(.*?)</tr>', page, re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", found)))


def names(client, address=PAGE):
    page = client.get(address).content.decode()
    return [html.unescape(name) for name in re.findall(r'<tr data-queue="(.*?)">', page)]


def undo(response):
    """Return the address and the fields of the undo that an answer to HTMX offers."""
    (toast,) = json.loads(response.headers["HX-Trigger"])["toast"]["toasts"]
    return toast["undo_url"], dict(parse_qsl(toast["undo_fields"]))


# --- The list -----------------------------------------------------------------------------------------------------


def test_without_configurations_the_main_queue_stands_alone(staff_client, reader_client):
    assert names(staff_client) == [MAIN_QUEUE]
    assert "No queue of your own yet" in text(staff_client)
    assert "Staff can give some of them a queue" in text(reader_client)


def test_queues_stand_in_the_order_in_which_they_are_asked(reader_client):
    put("low", "a", ranking=-1)
    put("made-{0}", "b/*")
    job("b/x", queue="made-x")
    put("high", "c", ranking=9)
    job(queue="left over", state=JobState.ACTIVE)
    assert names(reader_client) == ["high", "made-{0}", "made-x", "low", MAIN_QUEUE, "left over"]
    assert "Makes queues" in row(reader_client, "made-{0}")
    assert "made by made-{0}" in row(reader_client, "made-x")
    assert "no longer configured" in row(reader_client, "left over")


def test_row_says_what_the_queue_does_in_words(reader_client):
    put("mail", "acme/mail", "acme/post/*", type="ORDERED", retries=0)
    assert "One at a time in the whole cluster, in order. No retries" in row(reader_client, "mail")
    assert "acme/mail acme/post/*" in row(reader_client, "mail")


def test_counts_lead_to_the_jobs_they_count(reader_client):
    job(queued_at=timezone.now() - timedelta(minutes=7, seconds=2))
    job()
    job(state=JobState.ACTIVE)
    job(not_before=timezone.now() + timedelta(hours=1))
    job(state=JobState.SUCCEEDED)
    page = html.unescape(reader_client.get(PAGE).content.decode())
    for state, count in (("QUEUED", 3), ("ACTIVE", 1), ("DELAYED", 1)):
        assert f'<a href="/offloading/jobs/?queue={quote(MAIN_QUEUE)}&state={state}">{count}</a>' in page
    assert "for 7 min 2 s" in row(reader_client, MAIN_QUEUE)
    assert "Running" in row(reader_client, MAIN_QUEUE)


def test_hour_is_drawn(reader_client):
    statistics.count([Entry(MAIN_QUEUE, "acme/mail", finished=3, failed=1)])
    assert 'aria-label="4 jobs in the last 60 minutes' in reader_client.get(PAGE).content.decode()


def test_paused_queue_says_who_why_and_until_when(reader_client):
    pause(reason="full disk", until=timezone.now() + timedelta(hours=5))
    said = row(reader_client, MAIN_QUEUE)
    assert "Paused" in said and "by ann: full disk" in said and re.search("goes on in [45] h", said)


def test_list_can_be_narrowed(reader_client):
    put("mail", "acme/mail")
    put("photos", "dam/*")
    job("dam/x", queue="photos")
    pause("mail")
    assert names(reader_client, f"{PAGE}?show=paused") == ["mail"]
    assert names(reader_client, f"{PAGE}?show=busy") == ["photos"]
    assert names(reader_client, f"{PAGE}?q=DAM") == ["photos"]
    assert names(reader_client, f"{PAGE}?show=nonsense") == ["mail", "photos", MAIN_QUEUE]
    assert "Nothing matches" in text(reader_client, f"{PAGE}?q=nowhere")


def test_many_queues_are_cut_with_a_word(reader_client, monkeypatch):
    monkeypatch.setattr(screen, "ROWS_SHOWN", 2)
    for number in range(4):
        put(f"queue {number}", f"topic/{number}")
    assert names(reader_client) == ["queue 0", "queue 1"]
    assert "3 more: search" in text(reader_client)


def test_number_of_queries_does_not_depend_on_idle_queues(reader_client, django_assert_max_num_queries):
    for number in range(30):
        put(f"queue {number}", f"topic/{number}")
    with django_assert_max_num_queries(14):
        reader_client.get(PAGE)


def test_fragment_is_a_part_of_the_page(reader_client):
    fragment = reader_client.get(f"{PAGE}?show=busy", **HTMX).content.decode()
    assert "<html" not in fragment
    assert 'id="queues"' in fragment and f'hx-get="{PAGE}?show=busy"' in fragment
    assert "jobs-changed from:body throttle:2s, queues-changed from:body" in fragment


def test_names_are_escaped(reader_client):
    Job.objects.create(id=ids.uuid7(), topic="a", queue='<b>"&', application="here")
    page = reader_client.get(PAGE).content.decode()
    assert '<b>"&' not in page and names(reader_client) == [MAIN_QUEUE, '<b>"&']


# --- One queue ----------------------------------------------------------------------------------------------------


def test_queue_shows_its_topics_and_settings(staff_client):
    put("mail", "acme/*", retries=-1, retry_delay_seconds=60, time_limit_seconds=30, ranking=3)
    job("acme/mail", queue="mail")
    job("acme/post", queue="mail", state=JobState.ACTIVE)
    pause("acme/post", kind=Pause.Kind.TOPIC)
    page = text(staff_client, f"{PAGE}mail/")
    assert re.search(r"acme/mail 1 0 0 .*Pause topic", page)
    assert re.search(r"acme/post Paused 0 1 0", page)
    assert "Retries without end, each after 1 min" in page and "At most 30 s for an attempt" in page
    assert "Ranking 3" in page and "Edit" in page and "Remove" in page


def test_main_queue_can_be_edited_and_not_removed(staff_client):
    page = text(staff_client, MAIN)
    assert "Edit" in page and "Remove" not in page and "Default settings" not in page
    put(MAIN_QUEUE, "*", retries=1)
    assert "Default settings" in text(staff_client, MAIN)


def test_reader_is_offered_nothing_to_change(reader_client):
    put("mail", "acme/*")
    page = reader_client.get(f"{PAGE}mail/").content.decode()
    assert "/edit/" not in page and "/remove/" not in page
    assert 'disabled title="Only staff may pause queues"' in page


def test_configuration_with_a_placeholder_lists_what_it_made(reader_client):
    put("made-{0}", "b/*")
    assert "None has jobs now" in text(reader_client, f"{PAGE}{quote('made-{0}')}/")
    job("b/x", queue="made-x")
    assert names(reader_client, f"{PAGE}{quote('made-{0}')}/") == ["made-x"]
    assert "Configured by made-{0}" in text(reader_client, f"{PAGE}made-x/")


def test_left_over_queue_says_so(reader_client):
    job(queue="old", state=JobState.ACTIVE)
    assert "No longer configured" in text(reader_client, f"{PAGE}old/")


@pytest.mark.parametrize("verb", ["", "edit/", "pause/"])
def test_unknown_queue_is_not_found(staff_client, verb):
    assert staff_client.get(f"{PAGE}nope/{verb}").status_code == 404
    assert staff_client.get(f"{PAGE}a%00b/{verb}").status_code == 404


def test_queue_as_a_fragment(reader_client):
    fragment = reader_client.get(MAIN, **HTMX).content.decode()
    assert "<html" not in fragment and 'id="queue"' in fragment


# --- Configuring --------------------------------------------------------------------------------------------------


def test_staff_adds_a_queue(staff_client):
    waiting = job("acme/post/now")
    response = staff_client.post(NEW, FORM)
    assert response.headers["Location"] == f"{PAGE}mail/"
    assert configuration.get("mail") == QueueSettings(
        "mail",
        ("acme/mail", "acme/post/*"),
        type="ORDERED",
        max_parallel=0.5,
        retries=3,
        retry_delay_seconds=1.5,
        backoff_factor=2,
        max_retry_delay_seconds=60,
        jitter=0.2,
        keep_jobs=True,
        ranking=5,
    )
    waiting.refresh_from_db()
    assert waiting.queue == "mail"
    assert QueueConfiguration.objects.get().changed_by == "admin"
    assert "Queue mail is configured." in text(staff_client, f"{PAGE}mail/")


def test_form_of_a_new_queue_has_the_defaults(staff_client):
    page = staff_client.get(NEW).content.decode()
    assert re.search(r'name="retries" value="10"', page) and re.search(r'name="max_parallel" value="15"', page)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "", "This field is required."),
        ("topics", "a//b", "'a//b' is none of"),
        ("retries", "-7", "-1 for no end"),
        ("retries", "many", "Enter a whole number."),
        ("max_parallel", "0", "This field"),
        ("jitter", "nan", "Enter a number."),
        ("type", "SIDEWAYS", "Select a valid choice"),
    ],
)
def test_wrong_field_is_answered_with_the_form(staff_client, field, value, said):
    if field == "max_parallel":
        said = "With 0 nothing ever runs"
    response = staff_client.post(NEW, FORM | {"type": "UNORDERED", field: value})
    assert response.status_code == 422
    page = html.unescape(response.content.decode())
    assert said in page and page.count('class="error"') == 1
    assert not QueueConfiguration.objects.exists()


def test_new_queue_does_not_replace_one(staff_client):
    put("mail_x", "a")
    response = staff_client.post(NEW, FORM | {"name": "mail/x"})
    assert response.status_code == 422 and "is configured already" in response.content.decode()
    assert configuration.get("mail_x").topics == ("a",)


def test_edit_keeps_the_name_and_can_be_undone(staff_client):
    before = put("mail", "acme/mail", keep_jobs=True)
    address = f"{PAGE}mail/edit/"
    assert 'value="mail"' in staff_client.get(address).content.decode()
    response = staff_client.post(address, FORM | {"name": "other", "retries": "1"}, follow=True, **HTMX)
    assert [each.name for each in configuration.current()] == ["mail", MAIN_QUEUE]
    assert configuration.get("mail").retries == 1
    where, fields = undo(response)
    staff_client.post(where, fields)
    assert configuration.get("mail") == before


def test_edit_with_an_error_says_it(staff_client):
    put("mail", "acme/mail")
    assert staff_client.post(f"{PAGE}mail/edit/", FORM | {"retries": "-2"}).status_code == 422


def test_main_queue_keeps_its_topics(staff_client):
    staff_client.post(f"{MAIN}edit/", FORM | {"topics": "a", "ranking": "7"})
    main = configuration.named(MAIN_QUEUE)
    assert (main.topics, main.ranking, main.retries) == (("*",), 0, 3)
    staff_client.post(f"{MAIN}remove/")
    assert configuration.named(MAIN_QUEUE) == configuration.default_main_queue()


def test_removed_queue_can_be_brought_back(staff_client):
    before = put("mail", "acme/mail", "b/*", jitter=0.5, retry_on_exception=True)
    response = staff_client.post(f"{PAGE}mail/remove/", follow=True, **HTMX)
    assert not QueueConfiguration.objects.exists()
    where, fields = undo(response)
    staff_client.post(where, fields)
    assert configuration.get("mail") == before


def test_queue_that_is_gone_cannot_be_removed(staff_client):
    assert staff_client.post(f"{PAGE}mail/remove/").status_code == 404


@pytest.mark.parametrize(
    "address",
    [NEW, f"{MAIN}edit/", f"{MAIN}pause/", "/offloading/queues/pauses/new/"],
    ids=["new", "edit", "pause", "topic"],
)
def test_forms_are_for_staff(reader_client, address):
    assert reader_client.get(address).status_code == 403
    assert reader_client.post(address, FORM).status_code == 403
    assert not QueueConfiguration.objects.exists() and not Pause.objects.exists()


@pytest.mark.parametrize("address", [f"{MAIN}remove/", f"{MAIN}resume/", "/offloading/queues/pauses/end/"])
def test_acts_are_posts_of_staff(staff_client, reader_client, address):
    pause()
    assert staff_client.get(address).status_code == 405
    assert reader_client.post(address).status_code == 403
    assert Pause.objects.exists()


# --- Pausing ------------------------------------------------------------------------------------------------------


def test_staff_pauses_a_queue(staff_client):
    assert "Nothing more starts" in text(staff_client, f"{MAIN}pause/")
    response = staff_client.post(f"{MAIN}pause/", {"reason": "full disk", "ends": "60"}, follow=True, **HTMX)
    row = Pause.objects.get()
    assert (row.name, row.paused_by, row.reason) == (MAIN_QUEUE, "admin", "full disk")
    assert abs(row.until - timezone.now() - timedelta(hours=1)) < timedelta(minutes=1)
    where, fields = undo(response)
    staff_client.post(where, fields)
    assert not Pause.objects.exists()


def test_pause_without_an_end_lasts_until_it_is_resumed(staff_client):
    staff_client.post(f"{MAIN}pause/", {})
    assert Pause.objects.get().until is None
    assert "when somebody resumes it" in text(staff_client, MAIN)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"ends": "at"}, "Give the time"),
        ({"ends": "at", "until": "2001-01-01T10:00"}, "still to come"),
        ({"until": "soon"}, "Enter a valid date/time."),
        ({"ends": "7"}, "Select a valid choice"),
        ({"reason": "x" * 501}, "at most 500"),
    ],
)
def test_wrong_pause_is_answered_with_the_form(staff_client, fields, said):
    response = staff_client.post(f"{MAIN}pause/", fields)
    assert response.status_code == 422 and said in html.unescape(response.content.decode())
    assert not Pause.objects.exists()


def test_time_is_read_in_the_zone_that_the_form_names(staff_client):
    assert "In the time zone UTC." in text(staff_client, f"{MAIN}pause/")
    staff_client.post(f"{MAIN}pause/", {"ends": "at", "until": "2100-01-02T10:30"})
    assert Pause.objects.get().until.isoformat() == "2100-01-02T10:30:00+00:00"


def test_resume_answers_with_the_list_and_a_way_back(staff_client):
    pause(reason="full disk", until=timezone.now() + timedelta(hours=1))
    before = Pause.objects.get()
    response = staff_client.post(f"{MAIN}resume/", **HTMX, HTTP_HX_TARGET="queues")
    assert 'id="queues"' in response.content.decode() and not Pause.objects.exists()
    where, fields = undo(response)
    staff_client.post(where, fields)
    again = Pause.objects.get()
    assert (again.name, again.reason, again.until) == (before.name, before.reason, before.until)


def test_resume_on_the_page_of_the_queue_answers_with_it(staff_client):
    pause()
    assert 'id="queue"' in staff_client.post(f"{MAIN}resume/", **HTMX, HTTP_HX_TARGET="queue").content.decode()


def test_second_resume_is_harmless(staff_client):
    assert "was not paused" in staff_client.post(f"{MAIN}resume/", **HTMX).headers["HX-Trigger"]


def test_staff_pauses_and_resumes_a_topic(staff_client):
    assert 'value="acme/mail"' in staff_client.get("/offloading/queues/pauses/new/?topic=acme/mail").content.decode()
    staff_client.post("/offloading/queues/pauses/new/", {"name": "acme/**", "reason": "provider is down"})
    page = text(staff_client)
    assert "Paused topics" in page and "provider is down" in page
    response = staff_client.post("/offloading/queues/pauses/end/", {"name": "acme/**"}, **HTMX)
    assert not Pause.objects.exists()
    where, fields = undo(response)
    staff_client.post(where, fields)
    assert Pause.objects.get().name == "acme/**"


def test_wrong_topic_is_answered_with_the_form(staff_client):
    response = staff_client.post("/offloading/queues/pauses/new/", {"name": "a/*"})
    assert response.status_code == 422 and "a/**" in response.content.decode()


def test_configuration_that_makes_queues_cannot_be_paused_itself(staff_client):
    put("made-{0}", "b/*")
    assert staff_client.get(f"{PAGE}{quote('made-{0}')}/pause/").status_code == 404
    assert staff_client.get(f"{PAGE}made-x/pause/").status_code == 200


# --- The notice on every page -------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [PAGE, "/offloading/jobs/", "/topology/", "/offloading/pauses/"])
def test_pause_is_said_on_every_page(reader_client, address):
    assert "is paused" not in text(reader_client, address)
    pause(reason="full disk")
    assert f"Queue {MAIN_QUEUE} is paused by ann: full disk ." in text(reader_client, address).replace(
        "disk.", "disk ."
    )
    pause("acme/**", kind=Pause.Kind.TOPIC)
    assert "2 queues and topics are paused." in text(reader_client, address)


def test_log_in_says_nothing_of_pauses(client):
    pause()
    assert "paused" not in text(client, "/login/")


# --- What stands behind it ----------------------------------------------------------------------------------------


def test_overview_of_a_queue_that_nobody_made_yet():
    put("made-{0}", "b/*")
    assert overview.one("made-later").is_made
    assert overview.one("made-{0}").makes_queues
    assert overview.one("nope") is None
