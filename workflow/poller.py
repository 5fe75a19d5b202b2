"""Ask external steps whether they have finished. Runs in the agent of every instance; only the leader's does anything.

What a job does is told by the job (waiting.py); this finds what nobody tells: external steps of other kinds, jobs that
are gone, and steps that take too long. A guarded update takes each question, so two agents that both hold themselves
for the leader still never advance an instance twice.
"""

import logging
import threading
from datetime import timedelta

from django.db.models.functions import Now

from topology import loops
from topology import services as topology
from workflow import definition, engine, processes
from workflow.models import Workflow, WorkflowState

log = logging.getLogger(__name__)

ROUND_SECONDS = 1.0
# A round looks at so many at most; the next round is a second away.
ROUND_SIZE = 500


def run(stop: threading.Event) -> None:
    """Poll until `stop` is set."""
    outage = loops.Outage("workflow poller")
    while not stop.is_set():
        outage.attempt(poll)
        stop.wait(ROUND_SECONDS)


def poll() -> None:
    """Ask every external step whose time has come, if this instance leads the cluster."""
    waiting = Workflow.objects.filter(state=WorkflowState.RUNNING, next_poll_at__lte=Now()).exclude(external_id="")
    due = list(waiting.order_by("next_poll_at", "id")[:ROUND_SIZE])
    if not due or not topology.current_view().local.is_leader:
        return
    for workflow in due:
        _ask_safely(workflow)


def _ask_safely(workflow: Workflow) -> None:
    """Ask about one instance; what goes wrong with it must not keep the others waiting."""
    try:
        step = definition.from_json(workflow.definition).step(workflow.current_node)
        if _take(workflow, step):
            _ask(workflow, step)
    except (processes.ProcessFailed, definition.ModelInvalid) as error:
        engine.fail(workflow=workflow, message=str(error))
    except processes.WorkflowException as error:
        log.info("external step could not be asked", extra={"workflow": workflow.id, "reason": str(error)})
    except Exception:
        log.exception("external step broke when asked", extra={"workflow": workflow.id})


def _take(workflow: Workflow, step: definition.Step) -> bool:
    """Take this question, and set the time of the next one. False if another agent was quicker."""
    mine = Workflow.objects.filter(
        pk=workflow.pk, state=WorkflowState.RUNNING, external_id=workflow.external_id, next_poll_at__lte=Now()
    )
    return bool(mine.update(next_poll_at=Now() + timedelta(seconds=step.period_seconds)))


def _ask(workflow: Workflow, step: definition.Step) -> None:
    process = processes.external_steps.find(step.process)
    item = engine.work_item(workflow, step, dict(workflow.metadata), processes.no_log)
    is_overdue = Workflow.objects.filter(pk=workflow.pk, external_until__lte=Now()).exists()
    if process.has_finished(workflow.external_id, item, engine.session_of(workflow), step.metadata):
        engine.go_on(workflow=workflow)
    elif is_overdue and step.advances_on_timeout:
        engine.advance_on_timeout(workflow=workflow)
    elif is_overdue:
        engine.fail(
            workflow=workflow,
            message=f"{step.title} has not finished within {step.timeout_seconds} s. It may still go on: look at what "
            "it started, or retry to start it anew.",
        )
