"""Taking waiting jobs: QUEUED to ACTIVE, with a fence above every one before, and an attempt that carries it.

Two sides claim: an instance what is meant for itself, under the name of its run; the transport what is meant for an
instance of another installation. Both take the jobs of one queue at a time, in the order that the queue's type says.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from offloading.jobs import pauses, signals, statements, statistics
from offloading.jobs.pauses import Pauses
from offloading.jobs.queues import Queue
from offloading.jobs.signals import JobChange
from offloading.models import Job, JobState, QueueType
from topology import identity, wakeup

_REMOTE = "remote:"
# Larger properties are read by who needs them.
INLINE_BYTES = 32 * 1024
# Topics of a round robin that are looked at in one go.
_TOPICS_A_ROUND = 50
_READY = "state = 'QUEUED' AND not_before IS NULL AND target = %s"


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that is held now: whatever is written about it must carry this fence.

    `properties` are JSON as text, or None if they are long. `retries` and `time_limit_seconds` are the job's own.
    """

    job_id: uuid.UUID
    topic: str
    fence: int
    target: str
    queue: str = ""
    properties: str | None = None
    origin: str = ""
    retry_count: int = 0
    crash_count: int = 0
    time_limit_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """Who claims: a run, and the instance that it is a run of."""

    run_id: str
    instance: str
    label: str


def takes_everything(_topic: str) -> bool:
    return True


# --- Looking ------------------------------------------------------------------------------------------------------


def ready_queues(target: str) -> list[str]:
    """Return the queues in which something waits for `target`. Costs the same however much that is."""
    first = f"SELECT MIN(queue) FROM offloading_job WHERE {_READY}"
    rows = statements.run(
        f"WITH RECURSIVE found(queue) AS ({first} UNION ALL SELECT ({first} AND queue > found.queue) FROM found "
        "WHERE found.queue IS NOT NULL) SELECT queue FROM found WHERE queue IS NOT NULL",
        [target, target],
    )
    return [row[0] for row in rows]


def has_suspects(target: str) -> bool:
    """Say whether a job waits for `target` whose former attempts killed their worker."""
    return bool(statements.run(f"SELECT 1 FROM offloading_job WHERE {_READY} AND crash_count > 0 LIMIT 1", [target]))


def waiting_targets() -> set[str]:
    """Return for whom something waits that may start now, or could if it was promoted. Costs the same however much."""
    ready = "state = 'QUEUED' AND not_before IS NULL"
    delayed = "state = 'QUEUED' AND not_before IS NOT NULL"
    first = {where: f"SELECT MIN(target) FROM offloading_job WHERE {where} AND target > " for where in (ready, delayed)}
    found = [
        f"{name}(target) AS ({first[where]}'' UNION ALL SELECT ({first[where]}{name}.target) FROM {name} "
        f"WHERE {name}.target IS NOT NULL)"
        for name, where in (("fresh", ready), ("later", delayed))
    ]
    rows = statements.run(
        f"WITH RECURSIVE {', '.join(found)} SELECT target FROM fresh WHERE target IS NOT NULL "
        "UNION SELECT target FROM later WHERE (SELECT MIN(not_before) FROM offloading_job "
        f"WHERE {delayed} AND target = later.target) <= {statements.now()}",
        [],
    )
    return {row[0] for row in rows}


def seconds_to_next_due(target: str) -> float | None:
    """Return in how many seconds the next of the jobs that wait for a time is due; None if none waits for one."""
    statement = (
        f"SELECT -({statements.seconds_since('MIN(not_before)')}) FROM offloading_job "
        "WHERE state = 'QUEUED' AND not_before IS NOT NULL AND target = %s"
    )
    return statements.run(statement, [target])[0][0]  # type: ignore[no-any-return]


def promote(target: str) -> None:
    """Let the jobs take their places whose time has come; what somebody else is changing just now, the next time."""
    due = f"state = 'QUEUED' AND not_before <= {statements.now()} AND target = %s"
    statements.run(
        "UPDATE offloading_job SET not_before = NULL "
        f"WHERE id IN (SELECT id FROM offloading_job WHERE {due} {statements.skip_locked()})",
        [target],
    )


def held_by(run_id: str) -> list[Claim]:
    """Return what a run holds."""
    held = Job.objects.filter(state=JobState.ACTIVE, claimed_by=run_id)
    return [Claim(*row) for row in held.values_list("id", "topic", "fence", "target", "queue")]


def going_on(run_id: str) -> set[tuple[uuid.UUID, int]]:
    """Return which jobs, with their fences, a run holds and nobody asked to stop."""
    held = Job.objects.filter(state=JobState.ACTIVE, claimed_by=run_id, stop_requested_by="")
    return set(held.values_list("id", "fence"))


def remote_run(target: str) -> str:
    """Return the `claimed_by` of a job that was handed to an instance of another cluster."""
    return _REMOTE + target


def remote_target(claimed_by: str) -> str:
    """Return the instance of another cluster that holds a job, or "" if a run of this cluster does."""
    return claimed_by.removeprefix(_REMOTE) if claimed_by.startswith(_REMOTE) else ""


# --- Taking -------------------------------------------------------------------------------------------------------


def claim(
    *,
    target: str,
    queue: Queue,
    limit: int,
    holder: Holder,
    takes: Callable[[str], bool] = takes_everything,
    with_suspects: bool = True,
) -> list[Claim]:
    """Claim up to `limit` jobs of `queue` that wait for `target`, in their order; in the caller's transaction or one
    of its own. Jobs whose topics the instance no longer takes lose their target instead.

    Without `with_suspects`, jobs whose former attempts killed their worker are passed over.
    """
    paused = pauses.active()
    if limit < 1 or queue.name in paused.queues or queue.settings.type in (QueueType.DROP, QueueType.IGNORE):
        return []
    with transaction.atomic():
        taken = _take(*_candidates(target, queue, limit, paused), holder, with_suspects)
        refused = [each for each in taken if not takes(each.topic)]
        if refused:
            _send_away(refused)
            taken = [each for each in taken if takes(each.topic)]
        _tell(taken)
    return taken


def claim_for_transport(
    *, targets: Mapping[str, str], queue_of: Callable[[str], Queue], limit: int = 20
) -> list[Claim]:
    """Claim up to `limit` jobs for instances of other clusters; `targets` maps their sling ids to their labels."""
    claimed: list[Claim] = []
    for target, label in targets.items():
        promote(target)
        for name in ready_queues(target):
            holder = Holder(remote_run(target), target, label)
            claimed += claim(target=target, queue=queue_of(name), limit=limit - len(claimed), holder=holder)
    return claimed


def unclaim(claims: Iterable[Claim]) -> list[Claim]:
    """Put back what was claimed and never begun, as if it had not been: only the fence shows it.

    Returns what is held still because somebody asked it to stop: it must not wait again.
    """
    with transaction.atomic():
        held = list(claims)
        rows, parameters = statements.table(
            {"uuid": statements.keys(each.job_id for each in held), "bigint": [each.fence for each in held]}
        )
        back = statements.run(
            f"WITH held(id, fence) AS ({rows}) UPDATE offloading_job SET state = 'QUEUED', claimed_by = '', "
            "started_at = NULL, fence = offloading_job.fence + 1 FROM held WHERE offloading_job.id = held.id "
            f"AND offloading_job.fence = held.fence AND {statements.ROW_IS_ACTIVE} AND stop_requested_by = '' "
            "RETURNING offloading_job.id, topic, offloading_job.fence, queue, origin, target",
            parameters,
        )
        ids = {statements.to_uuid(row[0]) for row in back}
        stopping = _stopping([each for each in held if each.job_id not in ids])
        if not back:
            return stopping
        _forget_attempts([row[0] for row in back], [row[2] - 1 for row in back])
        signals.tell(
            *(
                JobChange(statements.to_uuid(job_id), topic, JobState.QUEUED, JobState.ACTIVE, queue, origin, target)
                for job_id, topic, _fence, queue, origin, target in back
            )
        )
    return stopping


def _stopping(held: Sequence[Claim]) -> list[Claim]:
    """Return those that are held still, and that somebody asked to stop."""
    if not held:
        return []
    asked = Job.objects.filter(id__in=[each.job_id for each in held], state=JobState.ACTIVE)
    fences = dict(asked.exclude(stop_requested_by="").values_list("id", "fence"))
    return [each for each in held if fences.get(each.job_id) == each.fence]


# --- How ----------------------------------------------------------------------------------------------------------


def _candidates(target: str, queue: Queue, limit: int, paused: Pauses) -> tuple[str, list[Any]]:
    """Return a SELECT for the ids to take, and its parameters."""
    if queue.settings.type == QueueType.ORDERED:
        return _by_id(target, _head(target, queue.name, paused))
    if queue.settings.type == QueueType.TOPIC_ROUND_ROBIN:
        return _by_id(target, _one_of_each_topic(target, queue.name, limit, paused))
    without, names = _without_topics(paused)
    return (
        f"SELECT id FROM offloading_job WHERE {_READY} AND queue = %s{without} "
        f"ORDER BY rank_at, id LIMIT %s {statements.skip_locked()}",
        [target, queue.name, *names, limit],
    )


def _by_id(target: str, ids: Sequence[Any]) -> tuple[str, list[Any]]:
    places = ", ".join(["%s"] * len(ids)) or "NULL"
    return f"SELECT id FROM offloading_job WHERE {_READY} AND id IN ({places}) {statements.skip_locked()}", [
        target,
        *ids,
    ]


def _head(target: str, queue: str, paused: Pauses) -> list[Any]:
    """Return the next job of an ordered queue, if it may run now, and here."""
    found = _first_of(target, queue, paused)
    if not found or not statements.is_postgresql():
        return found
    # Two instances must not each see a queue in which nothing runs: only who has the lock believes what it sees. Nobody
    # waits for it: there are other queues, whose locks the others may want, and the next look is soon.
    key = f"offloading queue {queue}"
    ((is_mine,),) = statements.run("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [key])
    return _first_of(target, queue, paused) if is_mine else []


def _first_of(target: str, queue: str, paused: Pauses) -> list[Any]:
    """Look at the head of an ordered queue.

    Only the very first that is unfinished may run, wherever the others are: one that waits for its retry holds the rest
    up. One that was added for a later time has not entered the queue before that time.
    """
    if statements.run("SELECT 1 FROM offloading_job WHERE state = 'ACTIVE' AND queue = %s LIMIT 1", [queue]):
        return []
    first = statements.run(
        "SELECT id, target, not_before, topic FROM offloading_job WHERE state IN ('QUEUED', 'ACTIVE') AND queue = %s "
        "AND (not_before IS NULL OR fence > 0) ORDER BY rank_at, id LIMIT 1",
        [queue],
    )
    return [
        job_id
        for job_id, its_target, not_before, topic in first
        if its_target == target and not_before is None and not paused.holding(queue, topic)
    ]


def _one_of_each_topic(target: str, queue: str, limit: int, paused: Pauses) -> list[Any]:
    """Return ids, one of each topic in turn; the round goes on, by name, after the topic that was served last."""
    ready = f"{_READY} AND queue = %s"
    first = f"SELECT MIN(topic) FROM offloading_job WHERE {ready}"
    topics = statements.run(
        f"WITH RECURSIVE found(topic) AS ({first} UNION ALL SELECT ({first} AND topic > found.topic) FROM found "
        "WHERE found.topic IS NOT NULL) SELECT topic FROM found WHERE topic IS NOT NULL",
        [target, queue, target, queue],
    )
    names = [name for (name,) in topics if not paused.holding(queue, name)]
    served = _served.get(queue, "")
    turn = sorted(names, key=lambda name: (name <= served, name))[:_TOPICS_A_ROUND]
    lanes = [
        statements.run(
            f"SELECT id, topic FROM offloading_job WHERE {ready} AND topic = %s ORDER BY rank_at, id LIMIT %s",
            [target, queue, name, -(-limit // max(len(turn), 1))],
        )
        for name in turn
    ]
    rounds = [lane[number] for number in range(limit) for lane in lanes if number < len(lane)][:limit]
    if rounds:
        _served[queue] = rounds[-1][1]
    return [job_id for job_id, _topic in rounds]


# The topic that each queue served last in this process.
_served: dict[str, str] = {}


def _without_topics(paused: Pauses) -> tuple[str, list[Any]]:
    exact = sorted(name for name in paused.topics if not name.endswith("/**"))
    deep = sorted(name.removesuffix("**") for name in paused.topics if name.endswith("/**"))
    text = f" AND topic NOT IN ({', '.join(['%s'] * len(exact))})" if exact else ""
    # Not LIKE: an underscore in a topic would stand for anything.
    text += "".join(" AND SUBSTR(topic, 1, %s) <> %s" for _ in deep)
    return text, [*exact, *(part for prefix in deep for part in (len(prefix), prefix))]


def _take(candidates: str, parameters: list[Any], holder: Holder, with_suspects: bool) -> list[Claim]:
    """Take what the SELECT `candidates` names, write an attempt for each, and count them as started."""
    suspects = "" if with_suspects else " AND crash_count = 0"
    length = "OCTET_LENGTH(properties::text)" if statements.is_postgresql() else "LENGTH(properties)"
    taking = (
        f"WITH due AS MATERIALIZED ({candidates}) UPDATE offloading_job SET state = 'ACTIVE', fence = fence + 1, "
        f"claimed_by = %s, started_at = {statements.now()}, finished_at = NULL, family = '', "
        "progress_steps = NULL, progress_step = 0, progress_eta = NULL "
        f"FROM due WHERE offloading_job.id = due.id AND state = 'QUEUED'{suspects} "
        f"RETURNING offloading_job.id, topic, fence, target, queue, "
        f"CASE WHEN {length} <= {INLINE_BYTES} THEN properties END, origin, retry_count, crash_count, "
        f"time_limit_seconds, {statements.rank('rank_at')} AS rank, {statements.seconds_since('queued_at')} AS waited"
    )
    take = _take_at_once if statements.is_postgresql() else _take_in_turn
    rows = take(taking, [*parameters, holder.run_id], holder)
    by_rank = sorted((row[10], statements.to_uuid(row[0]), row) for row in rows)
    return [Claim(job_id, *row[1:10]) for _rank, job_id, row in by_rank]


_ATTEMPT = "INSERT INTO offloading_attempt (job_id, fence, instance, instance_label, started_at, outcome, message, log)"


def _take_at_once(taking: str, parameters: list[Any], holder: Holder) -> list[tuple[Any, ...]]:
    """Do it in one statement: each way to a PostgreSQL server and back is time that the jobs wait."""
    return statements.run(
        f"WITH taken AS ({taking}), "
        f"attempts AS ({_ATTEMPT} SELECT id, fence, %s, %s, {statements.now()}, '', '', '' FROM taken), "
        f"tally AS ({statistics.count_started('taken')}) SELECT * FROM taken",
        [*parameters, holder.instance, holder.label[:255], identity.sling_id()],
    )


def _take_in_turn(taking: str, parameters: list[Any], holder: Holder) -> list[tuple[Any, ...]]:
    """Do it one after the other: SQLite can write in one way only in a statement."""
    taken = statements.run(taking, parameters)
    if not taken:
        return []
    rows, places = statements.table({"uuid": [row[0] for row in taken], "bigint": [row[2] for row in taken]})
    statements.run(
        f"WITH taken(id, fence) AS ({rows}) {_ATTEMPT} "
        f"SELECT id, fence, %s, %s, {statements.now()}, '', '', '' FROM taken",
        [*places, holder.instance, holder.label[:255]],
    )
    waits = ((row[4], row[1], max(row[11], 0.0)) for row in taken)
    statistics.count(
        statistics.Entry(queue, topic, started=number, waiting_ms=waited)
        for queue, topic, number, waited in statistics.by_topic(waits)
    )
    return taken


def _send_away(claims: Sequence[Claim]) -> None:
    """Take the target from jobs that the instance turned out not to take: `placement` finds them another."""
    keys = statements.keys(each.job_id for each in claims)
    places = ", ".join(["%s"] * len(keys))
    statements.run(
        "UPDATE offloading_job SET state = 'QUEUED', claimed_by = '', started_at = NULL, target = '' "
        f"WHERE id IN ({places}) AND state = 'ACTIVE'",
        keys,
    )
    _forget_attempts(keys, [each.fence for each in claims])
    wakeup.notify("placement")


def _forget_attempts(keys: Sequence[Any], fences: Sequence[int]) -> None:
    """Remove attempts in which nothing was begun."""
    rows, parameters = statements.table({"uuid": keys, "bigint": fences})
    statements.run(
        # Named by their own ids: SQLite would look for pairs in every attempt there is.
        f"WITH back(id, fence) AS ({rows}) DELETE FROM offloading_attempt WHERE id IN (SELECT attempt.id FROM back "
        "CROSS JOIN offloading_attempt attempt WHERE attempt.job_id = back.id AND attempt.fence = back.fence "
        "AND attempt.outcome = '')",
        parameters,
    )


def _tell(taken: Sequence[Claim]) -> None:
    signals.tell(
        *(
            JobChange(each.job_id, each.topic, JobState.ACTIVE, JobState.QUEUED, each.queue, each.origin, each.target)
            for each in taken
        )
    )
