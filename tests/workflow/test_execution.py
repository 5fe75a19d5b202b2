import pytest
from django.db import OperationalError

from content import services as content
from offloading.jobs import execution as jobs
from offloading.jobs import manager, recovery
from offloading.models import Attempt, Job
from tests.workflow import steps
from workflow import engine, processes, signals
from workflow.models import HistoryItem, Workflow


@pytest.fixture
def start(instance, payload, install):
    """Install a model of the given steps and start it on the payload."""

    def start(*given, **facts):
        return engine.start_workflow(model_path=install(*given), payload=payload, initiator="anna", **facts)

    return start


@pytest.fixture
def news():
    """Collect the news of workflows, each as (state, failure)."""
    collected = []

    def collect(*, state, failure_message, **_facts):
        collected.append((state, failure_message))

    signals.workflow_changed.connect(collect, weak=False, dispatch_uid="test")
    yield collected
    signals.workflow_changed.disconnect(dispatch_uid="test")


def history(workflow):
    items = HistoryItem.objects.filter(workflow=workflow).order_by("id")
    return [(item.title, item.action, item.ended_at is not None) for item in items]


def test_steps_run_in_sequence_and_everything_is_written(start, instance, process, payload, news):
    workflow = start(
        process(steps.write("one"), "test.one", "First"), process(steps.write("two"), "test.two", "Second")
    )
    assert instance.work() == 1
    workflow.refresh_from_db()
    assert (workflow.state, workflow.current_node, workflow.failure_message) == ("COMPLETED", "", "")
    assert workflow.ended_at is not None
    assert [view.name for view in content.children(payload)] == ["one", "two"]
    assert history(workflow) == [
        ("Start", "WorkflowStarted", True),
        ("First", "NodeTransition", True),
        ("Second", "NodeTransition", True),
        ("End", "WorkflowCompleted", True),
    ]
    assert news[-1] == ("COMPLETED", "")
    job = Job.objects.get(pk=workflow.job_id)
    assert (job.state, job.topic) == ("SUCCEEDED", "com/adobe/granite/workflow/job")


def test_attempt_log_lists_the_steps_and_their_time(start, instance, process):
    start(process(lambda item, session, args: item.log("a line of its own"), title="Look"))
    instance.work()
    log = Attempt.objects.get().log.splitlines()
    assert log[0] == "a line of its own"
    assert log[1].startswith("Look: 0.0") and log[1].endswith(" s")


def test_what_a_step_says_about_the_instance_reaches_later_steps(start, instance, process):
    seen = []
    workflow = start(
        process(lambda item, session, args: item.metadata.update(width=30), "test.one"),
        process(lambda item, session, args: seen.append((item.metadata["width"], args["box"])), "test.two", box="9"),
        metadata={"from": "test"},
    )
    instance.work()
    workflow.refresh_from_db()
    assert seen == [(30, "9")]
    assert workflow.metadata == {"from": "test", "width": 30}


def test_gate_keeper_ends_the_workflow_as_completed(start, instance, process, payload):
    def leave(item, session, args):
        raise processes.EndWorkflow("Restored from a version: nothing to do.")

    workflow = start(process(leave, "test.gate", "Gate"), process(steps.write("never"), "test.never"))
    instance.work()
    workflow.refresh_from_db()
    assert workflow.state == "COMPLETED"
    assert content.children(payload) == []
    assert HistoryItem.objects.get(title="Gate").comment == "Restored from a version: nothing to do."


def test_running_step_is_seen_from_outside(start, instance, process):
    seen = []

    def look(item, session, args):
        seen.append((Workflow.objects.get().current_node, *history(Workflow.objects.get())[1:]))

    start(process(look, title="Look"))
    instance.work()
    assert seen == [("node1", ("Look", "NodeTransition", False))]


def test_temporary_failure_is_retried_and_starts_over(start, instance, process, payload):
    tries = []

    def flaky(item, session, args):
        tries.append([view.name for view in session.children(payload)])
        if len(tries) < 3:
            raise processes.WorkflowException("busy")

    workflow = start(process(steps.write("one"), "test.one", "First"), process(flaky, "test.two", "Second"))
    assert instance.work() == 3
    workflow.refresh_from_db()
    assert (workflow.state, workflow.failure_message) == ("COMPLETED", "")
    assert tries == [["one"]] * 3
    assert [item[:2] for item in history(workflow)[1:4]] == [
        ("First", "NodeTransition"),
        ("Second", "JobFailed"),
        ("First", "NodeTransition"),
    ]


def test_failure_that_lasts_is_given_up_and_leaves_the_instance_running(start, instance, process, payload, news):
    def fail(item, session, args):
        raise processes.WorkflowException("still busy")

    workflow = start(process(steps.write("one"), "test.one", "First"), process(fail, "test.two", "Second"))
    assert instance.work() == 1 + engine.RETRIES
    workflow.refresh_from_db()
    assert (workflow.state, workflow.is_retryable) == ("RUNNING", True)
    assert workflow.failure_message.startswith("still busy (")
    assert content.children(payload) == []
    assert news[-1] == ("RUNNING", workflow.failure_message)
    assert Job.objects.get().state == "GIVEN_UP"


def test_permanent_failure_is_not_retried(start, instance, process, payload):
    def fail(item, session, args):
        raise processes.ProcessFailed("a.jpg is no picture. Upload another file.")

    workflow = start(process(steps.write("one"), "test.one"), process(fail, "test.two", "Second"))
    assert instance.work() == 1
    workflow.refresh_from_db()
    assert history(workflow)[2:] == [("Second", "JobFailed", True)]
    assert workflow.failure_message.startswith("a.jpg is no picture. Upload another file. (")
    assert (workflow.state, Job.objects.get().state) == ("RUNNING", "ERROR")
    assert content.children(payload) == []


@pytest.mark.filterwarnings("ignore")
def test_unforeseen_exception_is_a_failure_too(start, instance, process):
    workflow = start(process(lambda item, session, args: 1 / 0, title="Divide"))
    assert instance.work() == 1
    workflow.refresh_from_db()
    assert "ZeroDivisionError" in workflow.failure_message
    assert HistoryItem.objects.get(title="Divide").action == "JobFailed"


def test_absent_database_is_no_failure_of_the_step(start, instance, process):
    tries = []

    def away(item, session, args):
        tries.append(1)
        if len(tries) == 1:
            raise OperationalError("server closed the connection")

    workflow = start(process(away))
    assert instance.work() == 2
    workflow.refresh_from_db()
    assert workflow.state == "COMPLETED"
    assert HistoryItem.objects.filter(comment="This attempt was cut off.").count() == 1


def test_process_that_is_not_registered_is_named_with_those_that_are(start, instance, process, payload):
    gone = process(steps.write("x"), "test.gone")
    processes.process_steps._entries.pop("test.gone")
    process(steps.write("x"), "test.here")
    workflow = start(gone)
    instance.work()
    workflow.refresh_from_db()
    assert "no process 'test.gone'. It has:" in workflow.failure_message
    assert "test.here" in workflow.failure_message


def test_crashed_attempt_leaves_no_content_and_the_next_one_begins_again(start, instance, process, payload):
    crashes = []

    def crash(item, session, args):
        if not crashes:
            crashes.append(1)
            raise KeyboardInterrupt  # as far as the engine is concerned, the process is gone

    workflow = start(process(steps.write("one"), "test.one", "First"), process(crash, "test.two", "Second"))
    claim = instance.claim()
    with pytest.raises(KeyboardInterrupt):
        jobs.run(claim)
    assert content.children(payload) == []
    recovery.crashed(job_id=claim.job_id, fence=claim.fence)
    assert instance.work() == 1
    workflow.refresh_from_db()
    assert workflow.state == "COMPLETED"
    assert [view.name for view in content.children(payload)] == ["one"]
    assert ("Second", "JobFailed", True) in history(workflow)
    assert Attempt.objects.filter(job_id=workflow.job_id).count() == 2


def test_worker_that_dies_three_times_leaves_a_failure_to_retry(start, instance, process):
    workflow = start(process(steps.write("one"), title="First"))
    for _ in range(3):
        claim = instance.claim()
        recovery.crashed(job_id=claim.job_id, fence=claim.fence)
    assert instance.claim() is None
    workflow.refresh_from_db()
    assert "died" in workflow.failure_message
    engine.retry_workflow(workflow_id=workflow.id, by="anna")
    instance.work()
    workflow.refresh_from_db()
    assert (workflow.state, workflow.failure_message) == ("COMPLETED", "")


def test_late_attempt_writes_nothing(start, instance, process, payload):
    def lose(item, session, args):
        job = Job.objects.get()
        recovery.lost(job_id=job.id, fence=job.fence)

    workflow = start(process(steps.write("late"), "test.one"), process(lose, "test.two"))
    claim = instance.claim()
    jobs.run(claim)
    workflow.refresh_from_db()
    assert (workflow.state, workflow.failure_message) == ("RUNNING", "")
    assert content.children(payload) == []


def test_retry_begins_where_the_job_began(start, instance, process, payload):
    is_broken = [True]

    def fail(item, session, args):
        if is_broken:
            raise processes.ProcessFailed("broken")

    workflow = start(process(steps.write("one"), "test.one"), process(fail, "test.two"))
    instance.work()
    is_broken.clear()
    engine.retry_workflow(workflow_id=workflow.id, by="anna")
    assert instance.work() == 1
    workflow.refresh_from_db()
    assert workflow.state == "COMPLETED"
    assert [view.name for view in content.children(payload)] == ["one"]
    assert HistoryItem.objects.get(action="Retried").user == "anna"


def test_retry_of_a_workflow_that_has_not_failed_is_refused(start, instance, process):
    workflow = start(process(steps.write("one")))
    with pytest.raises(engine.ActionRefused, match="is running. It has not failed"):
        engine.retry_workflow(workflow_id=workflow.id, by="anna")


def test_terminated_workflow_never_runs(start, instance, process, payload, news):
    workflow = start(process(steps.write("one")))
    engine.terminate_workflow(workflow_id=workflow.id, by="anna", comment="wrong picture")
    assert instance.work() == 0
    workflow.refresh_from_db()
    assert (workflow.state, workflow.failure_message) == ("ABORTED", "")
    assert Job.objects.get().state == "STOPPED"
    assert news[-1] == ("ABORTED", "")
    with pytest.raises(engine.ActionRefused, match="Only a running workflow"):
        engine.terminate_workflow(workflow_id=workflow.id, by="anna")


def test_workflow_terminated_while_it_runs_writes_nothing(start, instance, process, payload):
    def terminate(item, session, args):
        engine.terminate_workflow(workflow_id=item.workflow_id, by="anna")

    workflow = start(process(steps.write("one"), "test.one"), process(terminate, "test.two"))
    instance.work()
    workflow.refresh_from_db()
    assert workflow.state == "ABORTED"
    assert content.children(payload) == []


def test_payload_removed_meanwhile_is_a_failure_that_says_so(start, instance, process, payload):
    def remove(item, session, args):
        session.set_properties(payload, {"seen": 1})
        if content.get(payload):
            content.remove_node(path=payload, by="bert")

    workflow = start(process(remove))
    instance.work()
    workflow.refresh_from_db()
    assert payload in workflow.failure_message
    assert "no node at" in workflow.failure_message
    assert Workflow.objects.get().is_retryable


def test_running_instance_keeps_the_model_it_was_started_with(start, instance, install, process, payload):
    workflow = start(process(steps.write("old"), "test.old"))
    install(process(steps.write("new"), "test.new"))
    instance.work()
    assert [view.name for view in content.children(payload)] == ["old"]
    assert workflow.definition["version"] == "1.0"


def test_job_of_another_installation_is_refused(instance):
    job = manager.add_job(engine.TOPIC, {"workflow.id": "0f8fad5b-d9cb-469f-a165-70867728950e"})
    instance.work()
    job.refresh_from_db()
    assert job.state == "ERROR"
    assert "This installation has no workflow 0f8fad5b" in job.result_message


def test_start_counts_only_with_its_transaction(start, instance, process):
    assert start(process(steps.write("one"))).job_id is not None
    assert Workflow.objects.count() == Job.objects.count() == 1
