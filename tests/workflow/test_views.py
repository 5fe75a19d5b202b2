import uuid

import pytest
from django.urls import reverse

from offloading.models import Job
from tests.workflow import steps
from workflow import engine, listing, processes
from workflow.models import Workflow

LIST = "/workflow/"


@pytest.fixture
def broken():
    """While this holds something, the step of `failed` fails."""
    return [True]


@pytest.fixture
def failed(instance, payload, install, process, broken):
    """A workflow that failed."""

    def fail(item, session, args):
        if broken:
            raise processes.ProcessFailed("<b>a.jpg</b> is no picture.")

    workflow = engine.start_workflow(
        model_path=install(process(fail, title="Make thumbnails")), payload=payload, initiator="anna"
    )
    instance.work()
    workflow.refresh_from_db()
    return workflow


@pytest.fixture
def waiting(instance, payload, install, external):
    """A workflow whose offloaded job has not begun."""
    step = external(steps.Offload(), jobTopic=engine.OFFLOADING_TOPIC, workflowModel="/model", title="Offload it")
    workflow = engine.start_workflow(model_path=install(step), payload=payload, initiator="anna")
    instance.work(1)
    return workflow


def text(response):
    return " ".join(response.content.decode().replace("<wbr>", "").split())


def retry(workflow):
    return reverse("workflow:workflow-retry", args=[workflow.id])


def terminate(workflow):
    return reverse("workflow:workflow-terminate", args=[workflow.id])


def test_empty_list_says_what_will_appear(reader_client):
    assert "One starts when a launcher sees" in text(reader_client.get(LIST))


def test_list_shows_state_payload_cause_and_the_actions(staff_client, failed):
    shown = text(staff_client.get(LIST))
    for part in ("Failed", failed.payload, "&lt;b&gt;a.jpg&lt;/b&gt; is no picture.", "Make thumbnails", retry(failed)):
        assert part in shown


def test_list_shows_where_a_workflow_is(staff_client, waiting):
    shown = text(staff_client.get(LIST))
    assert "Offload it" in shown
    assert "waits for an instance" in shown


def test_place_is_the_instance_that_runs_the_job(waiting, instance):
    claim = instance.claim()
    row = listing.rows([Workflow.objects.get(pk=waiting.pk)])[0]
    assert (row.step, row.place, row.job.pk) == ("Offload it", "here:1", claim.job_id)


@pytest.mark.parametrize("state, is_there", [("failed", True), ("running", False), ("completed", False), ("", True)])
def test_list_is_filtered_by_state(staff_client, failed, state, is_there):
    assert (failed.payload in text(staff_client.get(LIST, {"state": state}))) is is_there


def test_list_is_searched_by_payload(staff_client, failed):
    assert str(failed.id) in text(staff_client.get(LIST, {"payload": "PHOTO"}))
    assert "Nothing matches" in text(staff_client.get(LIST, {"payload": "elsewhere"}))


def test_search_for_what_no_text_can_hold_finds_nothing_special(staff_client, failed):
    assert staff_client.get(LIST, {"payload": "photo\0"}).status_code == 200


def test_pages_follow_each_other_and_back(db, monkeypatch):
    monkeypatch.setattr(listing, "PAGE_SIZE", 2)
    for number in range(5):
        Workflow.objects.create(
            model_path="/m", model_title="M", definition={}, payload=f"/{number}", initiator="a", state="COMPLETED"
        )
    seen, mark = [], ""
    while True:
        page = listing.page(before=mark)
        seen.append([row.workflow.payload for row in page.rows])
        if page.older is None:
            break
        mark = str(page.older)
    assert [len(rows) for rows in seen] == [2, 2, 1]
    assert len({payload for rows in seen for payload in rows}) == 5
    back = listing.page(after=str(page.newer))
    assert [row.workflow.payload for row in back.rows] == seen[1]
    assert listing.page(after=str(back.newer)).newer is None


def test_queries_do_not_grow_with_the_rows(staff_client, failed, django_assert_max_num_queries):
    for _ in range(3):
        Workflow.objects.get(pk=failed.pk)
        Workflow.objects.filter(pk=failed.pk).first()
        copy = Workflow.objects.get(pk=failed.pk)
        copy.pk = uuid.uuid4()
        copy.save(force_insert=True)
    with django_assert_max_num_queries(8):
        staff_client.get(LIST)


def test_detail_tells_the_history(reader_client, failed):
    shown = text(reader_client.get(reverse("workflow:workflow-detail", args=[failed.id])))
    for part in ("Make thumbnails", "test.process", "is no picture.", failed.model_path, "127.0.0.1:4502"):
        assert part in shown


def test_unknown_workflow_is_404(staff_client, db):
    address = reverse("workflow:workflow-detail", args=[uuid.uuid4()])
    assert staff_client.get(address).status_code == 404
    assert staff_client.post(address + "retry/").status_code == 404


def test_fragment_and_page_agree(staff_client, failed):
    page = text(staff_client.get(LIST))
    fragment = text(staff_client.get(LIST, headers={"HX-Request": "true"}))
    assert "<html" not in fragment
    assert fragment.partition("<tbody>")[2].partition("</tbody>")[0].count(str(failed.id)) > 0
    assert str(failed.id) in page


def test_retry_lets_it_go_on(staff_client, failed, instance, broken):
    broken.clear()
    response = staff_client.post(retry(failed), {"next": LIST}, follow=True)
    assert response.redirect_chain == [(LIST, 302)]
    assert "Test model runs again on /content/photo." in text(response)
    instance.work()
    failed.refresh_from_db()
    assert failed.state == "COMPLETED"


def test_second_retry_is_refused_in_words(staff_client, failed):
    staff_client.post(retry(failed))
    assert "nothing to retry" in text(staff_client.post(retry(failed), follow=True))
    assert Job.objects.filter(state="QUEUED").count() == 1


def test_terminate_ends_it(staff_client, failed):
    assert "is terminated" in text(staff_client.post(terminate(failed), follow=True))
    failed.refresh_from_db()
    assert failed.state == "ABORTED"


def test_reader_may_look_and_no_more(reader_client, failed):
    shown = text(reader_client.get(LIST))
    assert 'disabled title="Only staff may retry a workflow"' in shown
    for address in (retry(failed), terminate(failed)):
        assert reader_client.post(address).status_code == 403
    failed.refresh_from_db()
    assert failed.is_retryable


def test_actions_take_posts_only(staff_client, failed):
    for address in (retry(failed), terminate(failed)):
        assert staff_client.get(address).status_code == 405


def test_way_back_never_leads_to_another_site(staff_client, failed):
    response = staff_client.post(retry(failed), {"next": "https://evil.example/"})
    assert response.url == reverse("workflow:workflow-detail", args=[failed.id])


def test_stranger_is_sent_to_the_log_in(client, db):
    assert client.get(LIST).url.startswith("/login/")
