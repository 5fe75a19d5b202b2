"""Copies of jobs from other installations, at the target: taken in once for each fence, cleared away when settled.

A copy is an ordinary job row with `origin` set; the job engine runs it like any other. Its payload lies below its own
node in the tree until the origin has acknowledged the result; then only the row with its history stays.
"""

import json
import logging
import uuid
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from content import blobs, bundles, paths
from content import services as content
from offloading import exceptions
from offloading.jobs import additions, configuration, signals, topics, transitions
from offloading.jobs.additions import Addition, JobRequest
from offloading.jobs.signals import JobChange
from offloading.models import AttemptOutcome, Job, JobState, Transfer
from offloading.transport import manifest, messages, payload, signing
from topology import identity, snapshot, wakeup
from topology import services as topology

log = logging.getLogger(__name__)

BY = "offloading-service"
# What launchers know as a change of ours: the arrival of a payload starts nothing.
USER_DATA = "changedByWorkflowProcess"


class TooLate(Exception):
    """A copy with a higher fence is here already."""


# --- Taking in -------------------------------------------------------------------------------------------------------


def accept(offer: messages.Offer, *, caller: str) -> messages.Lacking | None:
    """Take a job in: return what is missing for that, or None once it is queued here.

    Answering the same offer again changes nothing. Raises `TooLate`, `signing.Refused`, `messages.MessageInvalid`.
    """
    view = topology.current_view()
    _check(offer, caller)
    if _is_known(offer, caller, view):
        return None
    sizes = manifest.sizes(offer.entries)
    if lacking := lacking_of(sizes):
        return lacking
    try:
        with transaction.atomic():
            _take_in(offer, caller, view)
    except blobs.BlobMissing:
        return lacking_of(sizes)
    except IntegrityError:
        # The same offer came twice at once, and the other one was quicker.
        if not _is_known(offer, caller, view):
            raise
    return None


def lacking_of(sizes: dict[str, int]) -> messages.Lacking | None:
    """Return which of these blobs are not here, and how much of each is; None if all are."""
    missing = blobs.missing(sizes)
    if not missing:
        return None
    partials = tuple(messages.Partial(digest, sizes[digest], blobs.partial_size(digest)) for digest in missing)
    return messages.Lacking(partials, settings.OFFLOADING_TRANSPORT_BLOCK_BYTES)


def _check(offer: messages.Offer, caller: str) -> None:
    if offer.origin.sling_id != caller:
        raise signing.Refused("not-the-origin", "An instance offers its own jobs", "Send it yourself.", status=403)
    root = payload.root(offer.job_id)
    try:
        topics.validate(offer.topic)
        for entry in offer.entries:
            paths.validate(root + entry["path"])
    except (exceptions.TopicInvalid, paths.PathInvalid) as error:
        raise messages.MessageInvalid(str(error)) from error


def _is_known(offer: messages.Offer, caller: str, view: snapshot.TopologyView) -> bool:
    """Say whether the copy is here under this fence. Raises if what is here leaves no room for the offer."""
    job = Job.objects.filter(id=offer.job_id).first()
    if job is None:
        return False
    if not job.origin:
        raise signing.Refused("not-a-copy", "This instance made a job with that id", "Offer another one.", status=403)
    if not _is_same_origin(job, caller, view):
        raise signing.Refused("not-the-origin", "The job came from another cluster", "Offer another.", status=403)
    if (job.origin_fence or 0) > offer.fence:
        raise TooLate(f"The job is here under fence {job.origin_fence}, this offer has {offer.fence}")
    return job.origin_fence == offer.fence


def _is_same_origin(job: Job, caller: str, view: snapshot.TopologyView) -> bool:
    if job.origin == caller:
        return True
    cluster = view.cluster_of(caller)
    came = job.transfers.filter(direction=Transfer.Direction.OUT, is_sender=False).order_by("-fence").first()
    return cluster is not None and came is not None and came.manifest["origin"]["cluster_id"] == cluster.id


def _take_in(offer: messages.Offer, caller: str, view: snapshot.TopologyView) -> None:
    old = Job.objects.select_for_update().filter(id=offer.job_id).first()
    if old is not None:
        _set_aside(old, offer)
    bundles.import_entries(offer.entries, root=payload.root(offer.job_id), by=BY, user_data=USER_DATA)
    if old is not None:
        _renew(old, offer, caller)
    else:
        additions.insert([_addition(offer, caller)], view)
    _note_arrival(offer, caller, view)
    log.info("job taken in", extra={"job": offer.job_id, "fence": offer.fence, "origin": caller, "topic": offer.topic})


def _note_arrival(offer: messages.Offer, caller: str, view: snapshot.TopologyView) -> None:
    sizes = manifest.sizes(offer.entries)
    cluster = view.cluster_of(caller)
    origin = offer.origin.to_json() | ({"cluster_id": cluster.id} if cluster else {})
    Transfer.objects.create(
        job_id=offer.job_id,
        fence=offer.fence,
        peer=caller,
        peer_label=identity.endpoint_label(offer.origin.endpoint),
        direction=Transfer.Direction.OUT,
        is_sender=False,
        state=Transfer.State.DONE,
        manifest={"entries": offer.entries, "outputs": list(offer.outputs), "origin": origin},
        blobs_total=len(sizes),
        bytes_total=sum(sizes.values()),
        blobs_moved=offer.moved.blobs,
        bytes_moved=offer.moved.bytes,
        tries=1,
        finished_at=Now(),
    )


def _addition(offer: messages.Offer, caller: str) -> Addition:
    return Addition(
        request=JobRequest(
            topic=offer.topic,
            title=offer.title,
            priority=offer.priority,
            retries=offer.retries,
            retry_delay_seconds=offer.retry_delay_seconds,
            time_limit_seconds=offer.time_limit_seconds,
        ),
        job_id=offer.job_id,
        queue=configuration.queue_of(offer.topic),
        properties=json.dumps(offer.properties, ensure_ascii=False),
        target=identity.sling_id(),
        application=caller,
        origin=caller,
        origin_fence=offer.fence,
        fence=offer.fence,
    )


def _columns(offer: messages.Offer, caller: str) -> dict[str, Any]:
    return {
        "topic": offer.topic,
        "queue": configuration.queue_of(offer.topic).name,
        "title": offer.title,
        "properties": offer.properties,
        "application": caller,
        "target": identity.sling_id(),
        "origin": caller,
        "origin_fence": offer.fence,
        "retries": offer.retries,
        "retry_delay_seconds": offer.retry_delay_seconds,
        "time_limit_seconds": offer.time_limit_seconds,
        "priority": offer.priority,
    }


def _set_aside(old: Job, offer: messages.Offer) -> None:
    """Make room for a newer offer of a job that was here before: what the former copy still does is too late."""
    if (old.origin_fence or 0) >= offer.fence:
        raise IntegrityError("the same offer was taken in meanwhile")
    reason = f"The origin sent the job again under fence {offer.fence}"
    old.attempts.filter(outcome="").update(outcome=AttemptOutcome.FENCED, ended_at=Now(), message=reason)
    waiting = old.transfers.filter(is_sender=True).exclude(state__in=(Transfer.State.DONE, Transfer.State.FENCED))
    waiting.update(state=Transfer.State.FENCED, claimed_by="", error=reason, next_try_at=None, finished_at=Now())
    _remove_payload(offer.job_id)


def _renew(old: Job, offer: messages.Offer, caller: str) -> None:
    Job.objects.filter(id=old.id).update(
        **_columns(offer, caller),
        state=JobState.QUEUED,
        fence=max(old.fence + 1, offer.fence),
        claimed_by="",
        not_before=None,
        retry_count=0,
        crash_count=0,
        result_message="",
        stop_requested_by="",
        family="",
        queued_at=Now(),
        rank_at=transitions.rank(offer.priority),
        started_at=None,
        finished_at=None,
    )
    signals.tell(JobChange(old.id, offer.topic, JobState.QUEUED, old.state, old.queue, caller, identity.sling_id()))
    wakeup.notify("jobs", identity.sling_id())


# --- Clearing away ---------------------------------------------------------------------------------------------------


def clear(job_id: uuid.UUID, *, origin_fence: int) -> None:
    """Remove what came with a settled copy and what it made, to be called in a transaction; topic and history stay."""
    settled = Job.objects.filter(id=job_id, origin_fence=origin_fence).exclude(origin="")
    if settled.update(properties={}):
        digests = _remove_payload(job_id)
        for transfer in Transfer.objects.filter(job_id=job_id, fence=origin_fence):
            digests |= manifest.sizes(transfer.manifest.get("entries", ())).keys()
        blobs.remove_unreferenced(digests)


def _remove_payload(job_id: uuid.UUID) -> set[str]:
    """Remove the payload's nodes; return the digests of the blobs that they held."""
    root = payload.root(job_id)
    held = {ref.digest for node in content.read_subtree(root) for ref in node.binaries.values()}
    if content.get(root) is not None:
        content.remove_node(path=root, by=BY, user_data=USER_DATA)
    return held
