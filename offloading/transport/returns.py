"""Bringing the result of a copy home, at the target: noted when the copy ends, sent until the origin has settled it.

The result goes to any instance of the origin's cluster that the topology shows. Until that one answered, payload and
result stay here; afterwards copies.py clears them away.
"""

import logging
import uuid
from collections.abc import Callable
from typing import Any

from django.db import transaction

from content import blobs, bundles, paths
from content import services as content
from offloading.jobs import states
from offloading.jobs.signals import JobChange
from offloading.models import Attempt, Job, JobState, Transfer
from offloading.transport import client, copies, courier, messages, payload, transfers
from topology import snapshot, wakeup

log = logging.getLogger(__name__)

PATH = "/bin/receive/results"


def on_jobs_changed(*, changes: tuple[JobChange, ...], **facts: Any) -> None:
    """Note, in the transaction that ends a copy, that its result must go home (receiver of `jobs_changed`)."""
    for change in changes:
        if change.origin and change.state in states.FINAL:
            _note_end(change.job_id)


def _note_end(job_id: uuid.UUID) -> None:
    fence = Job.objects.filter(id=job_id).exclude(origin="").values_list("origin_fence", flat=True).first()
    if fence is None:
        return
    arrival = _arrival(job_id, fence)
    Transfer.objects.get_or_create(
        job_id=job_id,
        fence=fence,
        direction=Transfer.Direction.BACK,
        is_sender=True,
        defaults={"peer": arrival.peer, "peer_label": arrival.peer_label},
    )
    wakeup.notify("transport")


def send(transfer: Transfer, view: snapshot.TopologyView, go_on: Callable[[], None]) -> None:
    """Bring a held result home. Raises what `courier.run` raises.

    `go_on` is called before each step and raises if this process shall stop.
    """
    arrival = _arrival(transfer.job_id, transfer.fence)
    peer = _way_home(arrival.manifest["origin"], view, transfer.tries)
    if not transfer.manifest:
        _pack(transfer, arrival.manifest["outputs"])
    errand = courier.Errand(transfer, peer, PATH, lambda moved: _result(transfer, moved).to_json(), go_on)
    try:
        answer = courier.run(errand)
    except blobs.BlobMissing as error:
        # Gone from our own disk: the origin must not wait for it.
        message = f"The result is lost: {error}"
        transfers.expect(transfer, [], state=JobState.ERROR, message=message)
        raise courier.NotAccepted(message) from error
    except client.PeerRefused as refusal:
        if not refusal.is_lasting:
            raise
        transfers.park(transfer, str(refusal))
        return
    with transaction.atomic():
        if answer.state == "applied":
            transfers.finish(transfer)
        else:
            transfers.fence(transfer, str(answer.document.get("reason", "The origin no longer waits for it.")))
        copies.clear(transfer.job_id, origin_fence=transfer.fence)


def _arrival(job_id: uuid.UUID, fence: int) -> Transfer:
    """Return what was noted when the copy came."""
    return Transfer.objects.get(job_id=job_id, fence=fence, direction=Transfer.Direction.OUT, is_sender=False)


def _way_home(origin: dict[str, str], view: snapshot.TopologyView, tries: int) -> snapshot.InstanceDescription:
    """Return the instance to tell: the one that sent the job, or, try after try, each of its cluster."""
    members = [each for cluster in view.clusters if cluster.id == origin["cluster_id"] for each in cluster.instances]
    members.sort(key=lambda each: (each.sling_id != origin["sling_id"], each.sling_id))
    if not members:
        raise client.PeerUnreachable(
            f"No instance of the origin's cluster ({origin['endpoint']}) is in the topology. The result is kept."
        )
    return members[max(tries - 1, 0) % len(members)]


def _pack(transfer: Transfer, outputs: list[str]) -> None:
    """Note how the copy ended and the manifest of its output payload, once: every try tells the same.

    Only success has an output. A success whose output is not there is told as the error that it is.
    """
    job = transfer.job
    state, message, entries = job.state, job.result_message, list[dict[str, Any]]()
    if state == JobState.SUCCEEDED:
        try:
            entries = bundles.describe(outputs, root=payload.root(job.id)) if outputs else []
        except (content.NodeMissing, paths.PathInvalid) as error:
            state, message = JobState.ERROR, f"The job succeeded, but its output is not there: {error}"
    transfers.expect(transfer, entries, state=state, message=message)


def _result(transfer: Transfer, moved: messages.Moved) -> messages.Result:
    attempts = Attempt.objects.filter(job_id=transfer.job_id).order_by("fence", "id")
    return messages.Result(
        job_id=transfer.job_id,
        fence=transfer.fence,
        state=transfer.manifest["state"],
        message=transfer.manifest["message"],
        attempts=tuple(_report(attempt) for attempt in attempts),
        entries=transfer.manifest["entries"],
        moved=moved,
    )


def _report(attempt: Attempt) -> messages.AttemptReport:
    return messages.AttemptReport(
        instance=attempt.instance,
        instance_label=attempt.instance_label,
        fence=attempt.fence,
        started_at=attempt.started_at.isoformat(),
        ended_at=attempt.ended_at.isoformat() if attempt.ended_at else None,
        outcome=attempt.outcome,
        message=attempt.message,
        log=attempt.log,
    )
