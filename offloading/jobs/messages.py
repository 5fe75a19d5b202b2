"""What a dispatcher and a worker write to each other about one job: the claim there, its ending back.

`number` is the dispatcher's own for this job in this slot: one int says which job is meant.
"""

import uuid

from offloading.jobs import link
from offloading.jobs.claims import Claim
from offloading.jobs.families import Failure
from offloading.jobs.outcomes import Ending, Kind


def from_claim(number: int, claim: Claim, time_limit_seconds: float) -> link.Message:
    return {
        "number": number,
        "id": claim.job_id.hex,
        "fence": claim.fence,
        "topic": claim.topic,
        "properties": claim.properties,
        "origin": claim.origin,
        "retries": claim.retry_count,
        "limit": time_limit_seconds,
    }


def claim(message: link.Message) -> Claim:
    return Claim(
        job_id=uuid.UUID(message["id"]),
        topic=message["topic"],
        fence=message["fence"],
        target="",
        properties=message["properties"],
        origin=message["origin"],
        retry_count=message["retries"],
    )


def from_ending(number: int, ending: Ending) -> link.Message:
    """Write an ending with what differs from a plain success: most are one."""
    message: link.Message = {"done": number, "kind": ending.kind, "seconds": ending.seconds}
    if ending.message:
        message["message"] = ending.message
    if ending.log:
        message["log"] = ending.log
    if ending.retry_delay_seconds is not None:
        message["delay"] = ending.retry_delay_seconds
    if ending.failure is not None:
        message["failure"] = [ending.failure.error, ending.failure.place]
    return message


def ending(message: link.Message, claim: Claim) -> Ending:
    """Read how the attempt at `claim` ended."""
    return Ending(
        job_id=claim.job_id,
        fence=claim.fence,
        kind=Kind(message["kind"]),
        message=message.get("message", ""),
        log=message.get("log", ""),
        retry_delay_seconds=message.get("delay"),
        seconds=message["seconds"],
        failure=Failure(*message["failure"]) if "failure" in message else None,
    )
