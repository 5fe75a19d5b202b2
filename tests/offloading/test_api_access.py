import inspect
import io
import uuid

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import Client
from django.urls import get_resolver
from rest_framework.authtoken.models import Token

from offloading import exceptions
from offloading.api import problems, urls
from offloading.jobs import overview
from offloading.models import Job
from tests.offloading import stored
from tests.offloading.api import wrong

CHANGES = [
    ("post", "jobs/"),
    ("post", "jobs/bulk/"),
    ("post", "jobs/actions/"),
    ("post", "jobs/statistics/reset/"),
    ("delete", "jobs/{id}/"),
    ("post", "jobs/{id}/retry/"),
    ("post", "jobs/{id}/stop/"),
    ("post", "jobs/{id}/move/"),
    ("put", "queues/mail/"),
    ("delete", "queues/mail/"),
    ("post", "queues/mail/pause/"),
    ("post", "queues/mail/resume/"),
    ("post", "topics/pauses/"),
    ("delete", "topics/pauses/acme/mail/"),
    ("post", "schedules/"),
    ("delete", "schedules/x/"),
    ("put", "schedules/x/times/"),
    ("post", "schedules/x/suspend/"),
    ("post", "schedules/x/resume/"),
    ("post", "schedules/x/run/"),
    ("post", "failure-families/x/retry-one/"),
    ("post", "failure-families/x/retry-all/"),
    ("post", "failure-families/x/remove/"),
]
LOOKS = ["jobs/", "jobs/statistics/", "queues/", "topics/pauses/", "schedules/", "failure-families/"]


def address(path):
    return f"/api/v1/{path.format(id=uuid.uuid4())}"


# --- Who ----------------------------------------------------------------------------------------------------------


def test_changes_above_are_all_there_are():
    found = set()
    for entry in urls.urlpatterns:
        view = entry.callback.view_class
        methods = {name for name in ("post", "put", "patch", "delete") if hasattr(view, name)}
        found |= {(method, entry.name) for method in methods}
    assert len(found) == len(CHANGES)
    resolve = get_resolver().resolve
    assert found == {(method, resolve(address(path)).url_name) for method, path in CHANGES}


@pytest.mark.parametrize("path", [*LOOKS, "jobs/{id}/", "nothing/", "/api/schema/"])
def test_anonymous_is_told_to_send_a_token(db, path):
    answer = Client().get(path if path.startswith("/") else address(path))
    assert "credentials" in wrong(answer, 401)[""]
    assert answer.headers["WWW-Authenticate"] == "Token"
    assert "apitoken" in answer.json()["errors"][0]["remedy"]


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_anonymous_changes_nothing(db, method, path):
    wrong(getattr(Client(), method)(address(path)), 401)


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_reader_changes_nothing(looker, method, path):
    send = {"post": lambda: looker.post(address(path), {}), "put": lambda: looker.put(address(path), {})}
    answer = send.get(method, lambda: looker.delete(address(path)))()
    assert "Only staff" in wrong(answer, 403)[""]
    assert not Job.objects.exists()


@pytest.mark.parametrize("path", LOOKS)
def test_reader_may_look(looker, path):
    answer = looker.get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("header", ["Token wrong", "Token", "Token a b", "Bearer x", "Basic eDp5"])
def test_wrong_token_is_refused(db, header):
    wrong(Client(headers={"Authorization": header}).get("/api/v1/jobs/"), 401)


def test_token_of_somebody_who_left_is_refused(staff, admin):
    admin.is_active = False
    admin.save()
    wrong(staff.get("jobs/"), 401)


def test_session_may_look(reader_client):
    assert reader_client.get("/api/v1/jobs/").status_code == 200


def test_session_changes_something_only_with_the_csrf_token(admin):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin)
    body = {"data": '{"topic": "acme/mail"}', "content_type": "application/json"}
    assert "CSRF" in wrong(client.post("/api/v1/jobs/", **body), 403)[""]
    client.get("/topology/")
    token = client.cookies[next(name for name in client.cookies if "csrf" in name)].value
    assert client.post("/api/v1/jobs/", headers={"X-CSRFToken": token}, **body).status_code == 201


# --- Tokens -------------------------------------------------------------------------------------------------------


def apitoken(*arguments):
    out, errors = io.StringIO(), io.StringIO()
    call_command("apitoken", *arguments, stdout=out, stderr=errors)
    return out.getvalue().strip()


def test_token_is_made_once_and_is_taken(reader):
    key = apitoken("reader")
    assert apitoken("reader") == key
    assert Client(headers={"Authorization": f"Token {key}"}).get("/api/v1/jobs/").status_code == 200


def test_new_token_takes_the_place_of_the_old_one(reader):
    old, new = apitoken("reader"), apitoken("reader", "--renew")
    assert old != new
    assert Token.objects.get().key == new


def test_revoked_token_is_refused(reader):
    key = apitoken("reader")
    assert apitoken("reader", "--revoke") == ""
    wrong(Client(headers={"Authorization": f"Token {key}"}).get("/api/v1/jobs/"), 401)


def test_token_is_for_somebody_who_may_log_in(reader):
    with pytest.raises(CommandError, match="createsuperuser"):
        apitoken("nobody")
    reader.is_active = False
    reader.save()
    with pytest.raises(CommandError, match="may not log in"):
        apitoken("reader")


# --- Problems -----------------------------------------------------------------------------------------------------


def engine_errors():
    found = (each for _, each in inspect.getmembers(exceptions, inspect.isclass))
    return [each for each in found if issubclass(each, exceptions.JobError)]


@pytest.mark.parametrize("error", engine_errors())
def test_every_error_of_the_engine_is_a_problem(error):
    given = {"name": "Do this."} if issubclass(error, exceptions.PropertiesWrong) else "Do this."
    answer = problems.handle(error(given), {})
    assert answer.status_code in (400, 404, 409)
    assert answer.data["type"] == f"urn:offloading:problem:{problems.KINDS[error].name}"
    assert "Do this." in str(answer.data["errors"])


def test_missing_things_are_404_and_wrong_moments_409():
    assert {each for each in engine_errors() if problems.KINDS[each].status == 404} == {
        exceptions.JobMissing,
        exceptions.QueueMissing,
        exceptions.ScheduleMissing,
    }
    assert exceptions.TransitionRefused in {each for each in engine_errors() if problems.KINDS[each].status == 409}


def test_what_nobody_thought_of_tells_nothing_of_the_inside(looker, monkeypatch):
    def fail():
        raise RuntimeError("secret")

    monkeypatch.setattr(overview, "read", fail)
    answer = looker.get("queues/")
    wrong(answer, 500)
    assert b"secret" not in answer.content


def test_database_that_does_not_answer_is_503(looker, monkeypatch):
    def fail():
        raise OperationalError("secret")

    monkeypatch.setattr(overview, "read", fail)
    answer = looker.get("queues/")
    wrong(answer, 503)
    assert answer.headers["Retry-After"] == "2"


def test_unknown_address_is_a_problem(staff):
    assert "/api/v1/job/" in wrong(staff.get("job/"), 404)[""]
    assert "slash" in staff.post("jobs", {}).json()["errors"][0]["remedy"]


def test_unknown_method_is_a_problem(staff):
    answer = staff.put("jobs/", {})
    wrong(answer, 405)
    assert "POST" in answer.headers["Allow"]


def test_other_types_of_content_are_refused(staff):
    wrong(staff.raw("jobs/", "topic=a", "application/x-www-form-urlencoded"), 415)
    wrong(staff.raw("jobs/", "--x--", "multipart/form-data; boundary=x"), 415)


def test_body_without_a_length_is_refused(admin):
    headers = {"Authorization": f"Token {Token.objects.create(user=admin).key}", "Transfer-Encoding": "chunked"}
    wrong(Client(headers=headers).post("/api/v1/jobs/", "{}", content_type="application/json"), 411)


def test_large_body_is_refused(staff):
    assert "2,097,152" in wrong(staff.raw("jobs/", " " * (2 * 1024 * 1024 + 1)), 413)[""]


def test_number_of_errors_is_bounded(staff):
    answer = staff.post("jobs/bulk/", {"jobs": [{}] * 5_000})
    assert len(wrong(answer)) == problems.MAX_ERRORS


# --- Hostile bodies -----------------------------------------------------------------------------------------------

DEEP = 100_000
HOSTILE = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"{",
    b"\xff\xfe",
    b"\x00",
    b"NaN",
    b'{"a": Infinity}',
    b"1e999",
    b"1" * 5_000,
    b"[" * DEEP,
    b'{"a":' * DEEP,
    b'{"topic": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    b'{"\\ud800": 1}',
    b'{"topic": "\\ud800", "name": "\\ud800", "reason": "\\ud800"}',
    b'{"topic": "\\u0000", "target": "\\u0000", "queue": "\\u0000"}',
    b'{"topic": "' + b"x" * 100_000 + b'"}',
    b'{"topic": "a/b", "priority": 1e999, "delay_seconds": 1e999, "retries": 1e308}',
    b'{"topic": "a/b", "delay_seconds": ' + b"9" * 400 + b"}",
    b'{"topic": "a/b", "not_before": "0001-01-01T00:00:00+23:59"}',
    b'{"topic": "a/b", "not_before": "2026-02-30T00:00:00Z", "until": "9999-12-31T23:59:59-23:59"}',
    b'{"topic": {"topic": {}}, "properties": "x", "jobs": {"0": {}}}',
    b'{"jobs": [null, [], 1, "x", {"topic": null}]}',
    b'{"action": ["retry"], "filter": [], "target": {}}',
    b'{"action": "retry", "filter": {"ids": [[]], "states": [{}], "words": 5, "created_before": []}}',
    b'{"action": "retry", "filter": {"words": "\\u0000", "queue": "\\u0000"}}',
    b'{"topics": [null, 1, {}], "max_parallel": 1e308, "type": [], "retries": 99999999999}',
    b'{"topics": ["*"], "max_parallel": -1e308, "jitter": -1, "ranking": -99999999999}',
    b'{"topic": "a/b", "schedules": [{"type": []}, {"type": "DAILY", "hour": 1e999, "minute": "x"}]}',
    b'{"topic": "a/b", "schedules": [{"type": "CRON", "expression": "* * * * * * * * *"}]}',
    b'{"topic": "a/b", "schedules": [{"type": "DATE", "at": "0001-01-01T00:00:00+23:59"}]}',
    b'{"topic": "a/b", "schedules": [{"type": "HOURLY", "minute": 1}], "time_zone": "../../etc/passwd"}',
    b'{"topic": "a/b", "schedules": {"type": "HOURLY"}, "time_zone": "\\u0000"}',
    b'{"__proto__": {}, "topic": "a/b", "is_staff": true}',
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_body_is_refused_with_a_problem(staff, number):
    job = stored.store()
    for method, path in CHANGES:
        if method != "post":
            continue
        answer = staff.raw(f"/api/v1/{path.format(id=job.pk)}", HOSTILE[number])
        is_empty_act = HOSTILE[number] == b""
        assert answer.status_code in range(400, 500) or is_empty_act, (path, answer.content)
        if answer.status_code >= 400:
            wrong(answer, answer.status_code)
    assert Job.objects.exclude(pk=job.pk).count() == 0


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_settings_are_refused_with_a_problem(admin, number):
    client = Client(headers={"Authorization": f"Token {Token.objects.create(user=admin).key}"})
    for path in ("queues/mail/", "schedules/x/times/"):
        answer = client.put(f"/api/v1/{path}", HOSTILE[number], content_type="application/json")
        wrong(answer, answer.status_code)
        assert answer.status_code < 500


@pytest.mark.parametrize(
    "name", ["%00", "%ED%A0%80", "..", "%3Cmain%20queue%3E", "x" * 300, "a%2Fb", "{0}", "%F0%9F%92%A3"]
)
@pytest.mark.parametrize(
    "path", ["queues/{}/", "schedules/{}/", "failure-families/{}/", "topics/pauses/{}/", "jobs/{}/"]
)
def test_hostile_address_is_answered(staff, path, name):
    assert staff.get(path.format(name)).status_code < 500
    assert staff.delete(path.format(name)).status_code < 500
    assert staff.post(f"{path.format(name)}pause/", {}).status_code < 500
