"""Sending jobs to instances of other clusters: claim, pack the input payload, bring it until the target has queued it.

After that the job stays ACTIVE here, held in the target's name, until the result comes (results.py) or the target
leaves the topology and recovery takes the job back.
"""

from collections.abc import Callable, Collection
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count

from content import blobs, bundles, paths
from content import services as content
from offloading import exceptions
from offloading.jobs import claims, configuration, outcomes, transitions
from offloading.jobs.queues import Queue
from offloading.models import Job, JobState, Transfer
from offloading.transport import client, courier, messages, payload, transfers
from topology import identity, snapshot
from topology import services as topology

PATH = "/bin/receive"
# How many jobs may be on their way to one peer: enough to keep the line busy, few enough to take back at once.
MOST_UNDER_WAY = 20


class Fenced(Exception):
    """The job is no longer held for this transfer. Says how that was noticed."""


def has_waiting() -> bool:
    """Say whether a job may be sent now to an instance of another cluster."""
    targets = claims.waiting_targets() - {identity.sling_id()}
    return bool(targets) and bool(targets - set(topology.alive().values_list("sling_id", flat=True)))


def take_jobs(view: snapshot.TopologyView, *, paused: Collection[str] = ()) -> int:
    """Claim waiting jobs for instances of other clusters and note a transfer for each; return how many.

    `paused` are sling ids that nothing is sent to.
    """
    under_way = _under_way()
    targets = {
        instance.sling_id: instance.label
        for instance in view.instances
        if not view.is_local_member(instance.sling_id)
        and instance.sling_id not in paused
        and under_way.get(instance.sling_id, 0) < MOST_UNDER_WAY
    }
    with transaction.atomic():
        claimed = claims.claim_for_transport(targets=targets, queue_of=_queue, limit=MOST_UNDER_WAY) if targets else []
        Transfer.objects.bulk_create(
            Transfer(
                job_id=claim.job_id,
                fence=claim.fence,
                peer=claim.target,
                peer_label=targets[claim.target],
                direction=Transfer.Direction.OUT,
                is_sender=True,
            )
            for claim in claimed
        )
    return len(claimed)


def _queue(name: str) -> Queue:
    return Queue(name, configuration.named(name))


def _under_way() -> dict[str, int]:
    going = Transfer.objects.filter(is_sender=True, direction=Transfer.Direction.OUT, state__in=transfers.OPEN)
    return dict(going.values_list("peer").annotate(Count("id")))


def send(transfer: Transfer, view: snapshot.TopologyView, go_on: Callable[[], None]) -> None:
    """Bring a held transfer to its target. Raises `Fenced`, and what `courier.run` raises.

    `go_on` is called before each step and raises if this process shall stop.
    """
    _require_fence(transfer)
    peer = view.get(transfer.peer)
    if peer is None:
        raise client.PeerUnreachable(f"{transfer.peer_label} is not in the topology. The job is taken back soon.")
    if not transfer.manifest and not _pack(transfer, peer.cluster_id):
        return

    def check() -> None:
        go_on()
        _require_fence(transfer)

    errand = courier.Errand(transfer, peer, PATH, lambda moved: _offer(transfer, view, moved).to_json(), check)
    try:
        answer = courier.run(errand)
    except blobs.BlobMissing as error:
        _give_back(transfer, f"The payload was changed while it was being sent: {error}")
        return
    except client.PeerRefused as refusal:
        if not refusal.is_lasting:
            raise
        _end(transfer, f"{refusal}")
        return
    if answer.state == "queued":
        transfers.finish(transfer)
    else:
        _give_back(transfer, f"{peer.label} knows this job under a higher fence: {answer.document.get('reason', '')}")


def _require_fence(transfer: Transfer) -> None:
    run = claims.remote_run(transfer.peer)
    if not Job.objects.filter(id=transfer.job_id, fence=transfer.fence, state=JobState.ACTIVE, claimed_by=run).exists():
        raise Fenced("The job was taken back, stopped or removed before the target had it")


def _offer(transfer: Transfer, view: snapshot.TopologyView, moved: messages.Moved) -> messages.Offer:
    job = transfer.job
    queue_settings = configuration.queue_of(job.topic).settings
    return messages.Offer(
        job_id=job.id,
        fence=transfer.fence,
        topic=job.topic,
        title=job.title,
        properties=job.properties,
        retries=queue_settings.retries if job.retries is None else job.retries,
        retry_delay_seconds=_bounded(
            queue_settings.retry_delay_seconds if job.retry_delay_seconds is None else job.retry_delay_seconds
        ),
        time_limit_seconds=None if job.time_limit_seconds is None else _bounded(job.time_limit_seconds),
        priority=job.priority,
        origin=messages.Origin(identity.sling_id(), view.local_cluster.id, settings.OFFLOADING_ENDPOINT),
        entries=transfer.manifest["entries"],
        outputs=payload.outputs(job.properties),
        moved=moved,
    )


def _bounded(seconds: float) -> float:
    """Return a time that a receiver takes: it knows none before now, and none after more than a year."""
    return min(max(seconds, 0.0), messages.LONGEST_SECONDS)


def _pack(transfer: Transfer, cluster_id: str) -> bool:
    """Note the manifest of the input payload and where it goes; False if it cannot be packed and the job was ended."""
    job = transfer.job
    try:
        payload.outputs(job.properties)
        entries: list[dict[str, Any]] = bundles.describe(payload.inputs(job.properties))
        for entry in entries:
            paths.validate(payload.root(job.id) + entry["path"])
    except (paths.PathInvalid, content.NodeMissing) as error:
        _end(transfer, f"The job cannot be sent to {transfer.peer_label}: {error}")
        return False
    transfers.expect(transfer, entries, cluster_id=cluster_id)
    return True


def _end(transfer: Transfer, reason: str) -> None:
    """Trying again would change nothing: the job ends as an error."""
    try:
        with transaction.atomic():
            transfers.park(transfer, reason)
            outcomes.error(job_id=transfer.job_id, fence=transfer.fence, message=reason)
    except exceptions.StaleFence as error:
        raise Fenced(str(error)) from error


def _give_back(transfer: Transfer, reason: str) -> None:
    """Have the job placed anew, under a new fence."""
    try:
        with transaction.atomic():
            transfers.fence(transfer, reason)
            transitions.finish_remote(
                job_id=transfer.job_id, fence=transfer.fence, outcome_state=JobState.DROPPED, message=reason
            )
    except exceptions.StaleFence as error:
        raise Fenced(str(error)) from error
