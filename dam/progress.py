"""Where the work on assets stands right now: who does it, or who would and does not. Only reads.

An asset is worked on by the newest workflow that runs on its original, and that by one job at a time: the job it waits
for if it offloaded the work, else the one that runs its steps. Five queries and the topology, for any number of assets.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.template.defaultfilters import filesizeformat

from dam import structure
from offloading.jobs import ids, manager
from offloading.jobs.distribution import Reason
from offloading.models import Attempt, Job, JobState, Transfer
from topology import services as topology
from topology.snapshot import TopologyView
from workflow.models import Workflow, WorkflowState

ORPHANED = "Nothing processes it: no launcher has started a workflow."


@dataclass(frozen=True)
class Progress:
    """`text` is for people; `reasons` say, by instance, why it does not take the job; `job_id` leads to the job."""

    text: str
    is_moving: bool = False
    reasons: tuple[Reason, ...] = ()
    job_id: UUID | None = None
    has_workflow: bool = True


def of_assets(paths: Collection[str]) -> dict[str, Progress]:
    """Return how far the work on each of `paths` is; meant for assets that are neither processed nor failed."""
    if not paths:
        return {}
    workflows = _workflows(paths)
    jobs = Job.objects.in_bulk([job_id for workflow in workflows.values() if (job_id := _job_id(workflow))])
    look = _Look(jobs.values())
    return {path: look.at(jobs, workflows.get(path)) for path in paths}


class _Look:
    """One look at the jobs of many assets. Jobs that are alike share the reasons why nobody takes them."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        active = [job.pk for job in jobs if job.state == JobState.ACTIVE]
        self._attempts = {attempt.job_id: attempt for attempt in Attempt.objects.filter(job__in=active, ended_at=None)}
        under_way = Transfer.objects.filter(job__in=active).exclude(state=Transfer.State.DONE).order_by("id")
        self._transfers = {transfer.job_id: transfer for transfer in under_way}
        self._view: TopologyView | None = None
        self._reasons: dict[tuple[str, str, str], tuple[Reason, ...]] = {}

    def at(self, jobs: Mapping[UUID, Job], workflow: Workflow | None) -> Progress:
        if workflow is None:
            return Progress(ORPHANED, has_workflow=False)
        job = jobs.get(_job_id(workflow) or UUID(int=0))
        if job is None or job.state not in (JobState.QUEUED, JobState.ACTIVE):
            return Progress("Going on to the next step", is_moving=True)
        if job.state == JobState.ACTIVE:
            return Progress(self._activity(job), is_moving=True, job_id=job.pk)
        return self._waiting(job)

    def _activity(self, job: Job) -> str:
        attempt, transfer = self._attempts.get(job.pk), self._transfers.get(job.pk)
        label = attempt.instance_label if attempt else self._label(job.target)
        if transfer is None or transfer.state == Transfer.State.FENCED:
            return f"Processing on {label}"
        is_out = transfer.direction == Transfer.Direction.OUT
        way = f"Sending to {label}" if is_out else f"Coming back from {label}"
        if transfer.error:
            return f"{way}: {transfer.error}"
        if not transfer.bytes_total:
            return way
        return f"{way}: {filesizeformat(transfer.bytes_moved)} of {filesizeformat(transfer.bytes_total)}"

    def _waiting(self, job: Job) -> Progress:
        if not job.target:
            text = f"Waiting: no instance takes topic {job.topic}"
            return Progress(text, reasons=self._why(job), job_id=job.pk)
        turn = "the next attempt on" if job.retry_count or job.crash_count else "its turn on"
        return Progress(f"Waiting for {turn} {self._label(job.target)}", job_id=job.pk)

    def _why(self, job: Job) -> tuple[Reason, ...]:
        key = (job.topic, job.application, job.origin)
        if key not in self._reasons:
            self._reasons[key] = tuple(manager.explain(job, self._topology()))
        return self._reasons[key]

    def _label(self, sling_id: str) -> str:
        instance = self._topology().get(sling_id)
        return instance.label if instance else sling_id

    def _topology(self) -> TopologyView:
        if self._view is None:
            self._view = topology.current_view()
        return self._view


def _workflows(paths: Collection[str]) -> dict[str, Workflow]:
    """Return the newest running workflow on each asset; those that run under the job of another are left out."""
    originals = {structure.original(path): path for path in paths}
    running = Workflow.objects.filter(
        payload__in=[*originals, *paths], payload_root="", is_offloaded=False, state=WorkflowState.RUNNING
    )
    columns = running.only("payload", "external_id", "job_id").order_by("started_at", "id")
    return {originals.get(workflow.payload, workflow.payload): workflow for workflow in columns}


def _job_id(workflow: Workflow) -> UUID | None:
    return ids.parse(workflow.external_id) or workflow.job_id
