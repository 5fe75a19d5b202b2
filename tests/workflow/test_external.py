"""External steps: waiting, the poller, and jobs that tell of their end by themselves."""

import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from content import bundles
from content import services as content
from offloading.jobs import ids, manager
from offloading.models import Job
from offloading.transport import copies, messages
from tests.workflow import steps
from topology.models import View
from workflow import engine, offloaded, poller, processes
from workflow.models import HistoryItem, Workflow

INNER = "/etc/workflow/models/inner/jcr:content/model"


@pytest.fixture
def start(instance, payload, install):
    def start(*given):
        workflow = engine.start_workflow(model_path=install(*given), payload=payload, initiator="anna")
        instance.work()
        workflow.refresh_from_db()
        return workflow

    return start


def poll_now(**facts):
    Workflow.objects.filter(next_poll_at__isnull=False).update(next_poll_at=Now(), **facts)
    poller.poll()


def names(path):
    return [view.name for view in content.children(path)]


# --- polled -----------------------------------------------------------------------------------------------------------


def test_workflow_waits_and_goes_on_when_the_step_has_finished(start, instance, process, external, payload):
    elsewhere = steps.Elsewhere()
    workflow = start(
        process(steps.write("before"), "test.before"),
        external(elsewhere),
        process(steps.write("after"), "test.after"),
    )
    assert (workflow.state, workflow.external_id, workflow.current_node) == ("RUNNING", "42", "node2")
    assert Job.objects.get().state == "SUCCEEDED"
    assert names(payload) == ["before"]
    poll_now()
    assert (elsewhere.asked, instance.work()) == (1, 0)
    elsewhere.answer = True
    poll_now()
    assert instance.work() == 1
    workflow.refresh_from_db()
    assert (workflow.state, workflow.external_id) == ("COMPLETED", "")
    assert names(payload) == ["after", "before", "result"]
    assert (elsewhere.started, elsewhere.results) == (1, ["42"])
    waited = HistoryItem.objects.get(title="Elsewhere")
    assert (waited.action, waited.ended_at is not None) == ("NodeTransition", True)


def test_job_that_started_an_external_step_cannot_start_it_again(start, instance, process, external, payload):
    elsewhere = steps.Elsewhere()
    workflow = start(process(steps.write("before"), "test.before"), external(elsewhere))
    manager.retry_job(workflow.job_id, "anna")
    assert instance.work() == 1
    assert elsewhere.started == 1
    assert Job.objects.get().state == "ERROR"
    workflow.refresh_from_db()
    assert (workflow.external_id, workflow.failure_message) == ("42", "")
    elsewhere.answer = True
    poll_now()
    instance.work()
    workflow.refresh_from_db()
    assert workflow.state == "COMPLETED"


def test_question_is_not_asked_before_its_time(start, external):
    elsewhere = steps.Elsewhere()
    start(external(elsewhere, period=60))
    poller.poll()
    assert elsewhere.asked == 0


def test_only_the_leader_asks(start, external):
    elsewhere = steps.Elsewhere()
    start(external(elsewhere))
    View.objects.update(leader="somebody-else")
    poll_now()
    assert elsewhere.asked == 0


def test_two_leaders_never_advance_twice(start, external):
    workflow = start(external(steps.Elsewhere()))
    assert engine.go_on(workflow=workflow) is True
    assert engine.go_on(workflow=workflow) is False
    assert Job.objects.filter(state="QUEUED").count() == 1


def test_step_with_nothing_to_do_is_passed_over(start, instance, process, external, payload):
    workflow = start(
        process(steps.write("before"), "test.before"),
        external(steps.Elsewhere(external_id=None)),
        process(steps.write("after"), "test.after"),
    )
    assert workflow.state == "COMPLETED"
    assert names(payload) == ["after", "before"]


def test_step_with_nothing_to_do_at_the_end_completes(start, external):
    assert start(external(steps.Elsewhere(external_id=None))).state == "COMPLETED"


def test_failure_of_the_step_is_shown_and_retry_starts_it_anew(start, instance, external):
    elsewhere = steps.Elsewhere()
    workflow = start(external(elsewhere))
    elsewhere.answer = processes.ProcessFailed("The other side broke. Mend it.")
    poll_now()
    workflow.refresh_from_db()
    assert (workflow.failure_message, workflow.is_retryable) == ("The other side broke. Mend it.", True)
    poll_now()
    assert elsewhere.asked == 1
    elsewhere.answer = True
    engine.retry_workflow(workflow_id=workflow.id, by="anna")
    instance.work()
    assert (elsewhere.started, elsewhere.abandoned) == (2, ["42"])
    poll_now()
    instance.work()
    workflow.refresh_from_db()
    assert (workflow.state, workflow.failure_message) == ("COMPLETED", "")


@pytest.mark.parametrize("trouble", [processes.WorkflowException("not reachable"), ValueError("odd")])
def test_question_that_cannot_be_answered_is_asked_again(start, instance, external, trouble, caplog):
    elsewhere = steps.Elsewhere()
    workflow = start(external(elsewhere))
    elsewhere.answer = trouble
    poll_now()
    workflow.refresh_from_db()
    assert workflow.failure_message == ""
    elsewhere.answer = True
    poll_now()
    instance.work()
    workflow.refresh_from_db()
    assert workflow.state == "COMPLETED"


def test_one_bad_answer_does_not_keep_others_waiting(start, install, external, payload):
    bad, good = steps.Elsewhere("bad"), steps.Elsewhere("good")
    start(external(bad, "test.bad"))
    engine_start = engine.start_workflow(
        model_path=install(external(good, "test.good"), path="/etc/workflow/models/good/jcr:content/model"),
        payload=payload,
        initiator="anna",
    )
    assert engine_start.state == "RUNNING"
    bad.answer = ValueError("odd")
    poll_now()
    assert bad.asked == 1


def test_step_that_takes_too_long_fails(start, external):
    workflow = start(external(steps.Elsewhere(), timeout=60))
    poll_now(external_until=Now() - timedelta(seconds=1))
    workflow.refresh_from_db()
    assert "has not finished within 60 s" in workflow.failure_message


def test_late_result_after_the_timeout_still_counts(start, instance, external):
    elsewhere = steps.Elsewhere()
    workflow = start(external(elsewhere, timeout=60))
    poll_now(external_until=Now() - timedelta(seconds=1))
    workflow.refresh_from_db()
    assert engine.go_on(workflow=workflow)
    instance.work()
    workflow.refresh_from_db()
    assert (workflow.state, workflow.failure_message) == ("COMPLETED", "")


def test_step_may_be_left_behind_on_timeout(start, instance, process, external, payload):
    elsewhere = steps.Elsewhere()
    workflow = start(external(elsewhere, advanceOnTimeout=True), process(steps.write("after")))
    poll_now(external_until=Now() - timedelta(seconds=1))
    instance.work()
    workflow.refresh_from_db()
    assert (workflow.state, elsewhere.results, names(payload)) == ("COMPLETED", [], ["after"])
    assert HistoryItem.objects.get(title="Elsewhere").action == "ProcessTimeout"


def test_failing_result_is_retried_without_starting_anew(start, instance, external, payload):
    elsewhere = steps.Elsewhere()
    tries = []

    def handle_result(external_id, item, session, args):
        tries.append(external_id)
        if len(tries) == 1:
            raise processes.ProcessFailed("result is damaged")

    elsewhere.handle_result = handle_result
    workflow = start(external(elsewhere))
    elsewhere.answer = True
    poll_now()
    instance.work()
    workflow.refresh_from_db()
    assert workflow.failure_message.startswith("result is damaged")
    engine.retry_workflow(workflow_id=workflow.id, by="anna")
    instance.work()
    workflow.refresh_from_db()
    assert (workflow.state, tries, elsewhere.started) == ("COMPLETED", ["42", "42"], 1)


def test_failure_to_start_leaves_nothing_started(start, instance, external, payload):
    class Half(steps.Elsewhere):
        def execute(self, item, session, args):
            manager.add_job("test/topic")
            raise processes.ProcessFailed("no room")

    workflow = start(external(Half()))
    assert workflow.failure_message.startswith("no room")
    assert not Job.objects.filter(topic="test/topic").exists()


def test_terminating_stops_what_goes_on_elsewhere(start, external):
    elsewhere = steps.Elsewhere()
    workflow = start(external(elsewhere))
    engine.terminate_workflow(workflow_id=workflow.id, by="anna")
    elsewhere.answer = True
    poll_now()
    workflow.refresh_from_db()
    assert (workflow.state, elsewhere.abandoned) == ("ABORTED", ["42"])


# --- offloaded, in this cluster ---------------------------------------------------------------------------------------


@pytest.fixture
def offload(instance, payload, install, external):
    """Start a workflow that offloads a model of the given steps, and run the job that starts the offloading."""

    def offload(*inner, **arguments):
        install(*inner, path=INNER)
        step = external(
            steps.Offload(),
            title="Offload it",
            jobTopic=engine.OFFLOADING_TOPIC,
            workflowModel=INNER,
            **{
                f"offloading{way}Include{what}": "true"
                for way in ("Input", "Output")
                for what in ("WorkflowPayload", "WorkflowModel")
            },
            **arguments,
        )
        workflow = engine.start_workflow(model_path=install(step), payload=payload, initiator="anna")
        instance.work(1)
        workflow.refresh_from_db()
        return workflow

    return offload


def test_offloading_step_adds_the_job_of_the_talk(offload, process, payload):
    workflow = offload(process(steps.write("inner")))
    job = manager.get_job(workflow.external_id)
    assert (job.topic, job.state) == ("com/adobe/granite/workflow/offloading", "QUEUED")
    assert job.properties == {
        "offloading.workflow.model": INNER,
        "offloading.workflow.payload": payload,
        "offloading.input.payload": f"{payload},{INNER}",
        "offloading.output.payload": f"{payload},{INNER}",
        "initiator": "anna",
    }


def test_offloaded_workflow_runs_under_its_job_and_ends_it(offload, instance, process, payload):
    workflow = offload(process(steps.write("inner"), title="Inner"))
    assert instance.work(1) == 1
    inner = Workflow.objects.get(is_offloaded=True)
    assert (inner.state, str(inner.job_id), inner.initiator) == ("COMPLETED", workflow.external_id, "anna")
    assert names(payload) == ["inner"]
    assert instance.work() == 1  # no poll in between: the job's end has scheduled it
    workflow.refresh_from_db()
    assert (workflow.state, names(payload)) == ("COMPLETED", ["inner", "offloaded"])
    assert re.fullmatch(r"Inner: \d+\.\d+ s\n", manager.get_job(inner.job_id).attempts.get().log)


def test_failed_offloaded_job_fails_the_workflow_at_once(offload, instance, process):
    broken = [True]

    def fail(item, session, args):
        if broken:
            raise processes.ProcessFailed("a.jpg is no picture.")

    workflow = offload(process(fail))
    assert instance.work() == 1
    workflow.refresh_from_db()
    assert workflow.is_retryable
    assert workflow.failure_message == "a.jpg is no picture. (here:1)"
    inner = Workflow.objects.get(is_offloaded=True)
    assert (inner.state, inner.is_retryable) == ("ABORTED", False)
    broken.clear()
    first_job = workflow.external_id
    engine.retry_workflow(workflow_id=workflow.id, by="anna")
    instance.work()
    workflow.refresh_from_db()
    assert workflow.state == "COMPLETED"
    assert Workflow.objects.filter(is_offloaded=True).count() == 2
    assert manager.get_job(first_job).state == "ERROR"


def test_offloaded_job_that_is_retried_by_itself_lets_the_workflow_go_on(offload, instance, process):
    broken = [True]

    def fail(item, session, args):
        if broken:
            raise processes.ProcessFailed("no")

    workflow = offload(process(fail))
    instance.work()
    broken.clear()
    manager.retry_job(workflow.external_id, "anna")
    instance.work()
    workflow.refresh_from_db()
    assert (workflow.state, workflow.failure_message) == ("COMPLETED", "")
    assert Workflow.objects.get(is_offloaded=True).state == "COMPLETED"


def test_second_attempt_resumes_the_same_offloaded_workflow(offload, instance, process, payload):
    tries = []

    def flaky(item, session, args):
        tries.append(item.workflow_id)
        if len(tries) == 1:
            raise processes.WorkflowException("busy")

    offload(process(steps.write("inner"), "test.inner"), process(flaky, "test.flaky"))
    instance.work()
    assert len(set(tries)) == 1
    inner = Workflow.objects.get(is_offloaded=True)
    assert inner.state == "COMPLETED"
    assert [item.title for item in inner.history.order_by("id")].count("Start") == 1
    assert names(payload) == ["inner", "offloaded"]


def test_stopped_job_fails_the_workflow_that_waits(offload, instance, process):
    workflow = offload(process(steps.write("inner")))
    manager.stop_job(workflow.external_id, "operator")
    workflow.refresh_from_db()
    assert workflow.failure_message == "Stopped by operator"


def test_lost_job_is_a_failure_and_never_success(offload, instance, process):
    workflow = offload(process(steps.write("inner")))
    Job.objects.filter(pk=workflow.external_id).delete()
    poll_now()
    workflow.refresh_from_db()
    assert f"The job {workflow.external_id} of this step is gone" in workflow.failure_message
    assert workflow.state == "RUNNING"


def test_terminating_the_workflow_stops_its_offloaded_job(offload, instance, process, payload):
    workflow = offload(process(steps.write("inner")))
    engine.terminate_workflow(workflow_id=workflow.id, by="anna")
    assert manager.get_job(workflow.external_id).state == "STOPPED"
    workflow.refresh_from_db()
    assert (workflow.state, workflow.failure_message, instance.work()) == ("ABORTED", "", 0)


def test_external_step_inside_an_offloaded_workflow_is_refused(offload, instance, external):
    workflow = offload(external(steps.Elsewhere(), "test.inner", title="Too far"))
    instance.work()
    workflow.refresh_from_db()
    assert "'Too far'" in workflow.failure_message
    assert "cannot run inside an offloaded workflow" in workflow.failure_message


# --- a copy from another installation ---------------------------------------------------------------------------------


@pytest.fixture
def copy(instance):
    """Let a job arrive from another installation, with the given nodes of this one as what came with it."""

    def copy(model, payload, shipped=()):
        offer = messages.Offer(
            job_id=ids.uuid7(),
            fence=1,
            topic=engine.OFFLOADING_TOPIC,
            title="",
            properties={offloaded.MODEL: model, offloaded.PAYLOAD: payload, "initiator": "anna"},
            retries=3,
            retry_delay_seconds=2.0,
            time_limit_seconds=None,
            priority=0,
            origin=messages.Origin(sling_id="far", cluster_id="far-cluster", endpoint="http://far:4502/"),
            entries=bundles.describe(list(shipped)),
            outputs=(payload,),
        )
        assert copies.accept(offer, caller="far") is None
        return Job.objects.get(pk=offer.job_id)

    return copy


def test_copy_works_on_its_payload_alone(instance, install, process, payload, copy):
    job = copy(install(process(steps.write("made")), path=INNER), payload, shipped=[payload])
    instance.work()
    job.refresh_from_db()
    assert job.state == "SUCCEEDED", job.result_message
    root = f"/var/offloading/{job.id}"
    assert (names(root + payload), names(payload)) == (["made"], [])
    workflow = Workflow.objects.get()
    assert (workflow.payload, workflow.payload_root, workflow.state) == (payload, root, "COMPLETED")


def test_copy_prefers_the_model_that_came_with_it(instance, install, process, payload, copy):
    model = install(process(steps.write("shipped"), "test.shipped"), path=INNER)
    job = copy(model, payload, shipped=[payload, model])
    install(process(steps.write("local"), "test.local"), path=INNER)
    instance.work()
    assert names(f"/var/offloading/{job.id}{payload}") == ["shipped"]


def test_model_that_is_nowhere_is_named(instance, payload, copy):
    job = copy("/etc/workflow/models/none/jcr:content/model", payload, shipped=[payload])
    instance.work()
    job.refresh_from_db()
    assert job.state == "ERROR"
    assert "models/none/jcr:content/model is neither in the payload nor on this instance" in job.result_message


def test_payload_that_did_not_come_is_named(instance, install, process, payload, copy):
    job = copy(install(process(steps.write("made")), path=INNER), payload)
    instance.work()
    job.refresh_from_db()
    assert f"The payload {payload} did not come with the job" in job.result_message


@pytest.mark.parametrize("lacking", [offloaded.MODEL, offloaded.PAYLOAD])
def test_job_that_says_too_little_is_refused(instance, payload, lacking):
    said = {offloaded.MODEL: INNER, offloaded.PAYLOAD: payload}
    del said[lacking]
    job = manager.add_job(engine.OFFLOADING_TOPIC, said)
    instance.work()
    job.refresh_from_db()
    assert f"The job has no property {lacking}" in job.result_message
