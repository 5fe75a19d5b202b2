"""`manage.py jobs find` and `show`, and the options by which the sub-commands that change jobs say which ones."""

import argparse
from typing import Any

from django.core.management.base import CommandError

from offloading.jobs import filters, ids, query, templates, why
from offloading.jobs.query import Filter
from offloading.management.jobs import printing
from offloading.models import Attempt, Job
from topology import services as topology

_HEADINGS = ("id", "state", "topic", "queue", "title", "added", "target")
_WORDS = "words in topic, title, message or payload, and qualifiers: topic:a/** -state:error property.to:ann"


def add(parsers: Any) -> None:
    """Add the sub-commands that look at jobs."""
    finding = parsers.add_parser("find", help="list jobs, the newest first")
    add_filter(finding, words=True)
    finding.add_argument("--limit", type=int, default=50, help="how many at most")
    finding.add_argument("--before", default="", metavar="CURSOR", help="go on where another answer ended")
    finding.add_argument("--seconds", type=float, default=10.0, help="how long to look through rows at most")
    finding.add_argument("--counts", action="store_true", help="only how many there are of each state")
    finding.add_argument("--json", action="store_true", help="print JSON")
    finding.set_defaults(run=_find)
    showing = parsers.add_parser("show", help="tell all of a job: its properties, its attempts, why it waits")
    showing.add_argument("id")
    showing.add_argument("--json", action="store_true", help="print JSON")
    showing.set_defaults(run=_show)


def add_filter(parser: argparse.ArgumentParser, *, words: bool = False) -> None:
    """Add the options that say which jobs."""
    if words:
        parser.add_argument("words", nargs="*", help=_WORDS)
    else:
        parser.add_argument("--words", nargs="+", default=[], help=_WORDS)
    states = ", ".join(sorted(map(str, filters.STATES)))
    parser.add_argument("--state", action="append", default=[], help=f"as often as wanted: {states}")
    parser.add_argument("--topic", default="", help="a topic, or a/** for all below a")
    parser.add_argument("--queue", default="")
    parser.add_argument("--target", default="", metavar="SLING_ID", help="the instance that they wait or ran for")
    parser.add_argument("--family", default="", help="of a failure: see `families`")
    parser.add_argument("--created-before", default="", metavar="TIME", help="as in 2030-01-31T18:00+01:00")


def read_filter(options: dict[str, Any]) -> Filter:
    """Return the filter that the options stand for. Raises QueryInvalid."""
    before = options["created_before"]
    return Filter(
        states=frozenset(state.upper().replace("-", "_") for state in options["state"]),
        topic=options["topic"],
        queue=options["queue"],
        target=options["target"],
        family=options["family"],
        words=" ".join(options["words"]),
        created_before=templates.instant("--created-before", before) if before else None,
    )


def _find(options: dict[str, Any], out: printing.Out) -> None:
    wanted = read_filter(options)
    if options["counts"]:
        _count(wanted, options, out)
        return
    page = query.search(
        wanted, before=options["before"], limit=max(options["limit"], 1), budget_seconds=options["seconds"]
    )
    if options["json"]:
        facts = {
            "jobs": [facts_of(job) for job in page.jobs],
            "is_complete": page.is_complete,
            "searched_until": page.searched_until,
            "older": page.older,
        }
        printing.as_json(out, facts)
        return
    if page.jobs:
        printing.as_columns(out, _HEADINGS, [_told(job) for job in page.jobs])
    if page.searched_until:
        out.write(f"Looked through the jobs down to {page.searched_until.isoformat()}.")
    if page.older:
        out.write(f"There may be more: --before {page.older}")
    elif not page.jobs:
        out.write("No job matches.")


def _count(wanted: Filter, options: dict[str, Any], out: printing.Out) -> None:
    counts = query.counts(wanted, budget_seconds=options["seconds"])
    if options["json"]:
        printing.as_json(out, {"by_state": counts.by_state, "at_least": sorted(map(str, counts.at_least))})
        return
    rows = [(state, f"{'at least ' if state in counts.at_least else ''}{n}") for state, n in counts.by_state.items()]
    printing.as_columns(out, ("state", "jobs"), rows)


def _show(options: dict[str, Any], out: printing.Out) -> None:
    key = ids.parse(options["id"])
    job = Job.objects.filter(pk=key).first() if key else None
    if job is None:
        raise CommandError(f"There is no job {options['id']}. `manage.py jobs find` lists those that there are.")
    attempts = list(job.attempts.order_by("fence", "started_at", "pk"))
    facts = facts_of(job) | {
        "properties": job.properties,
        "reasons": _reasons(job),
        "attempts": [_attempt(each) for each in attempts],
    }
    if options["json"]:
        printing.as_json(out, facts)
        return
    printing.as_columns(
        out, ("what", "is"), [(name, value) for name, value in facts.items() if value not in ("", None, [])]
    )


def _reasons(job: Job) -> list[str]:
    situation = why.situation_of(job, topology.current_view())
    return [each.text for each in why.waiting_reasons(job, situation)]


def facts_of(job: Job) -> dict[str, Any]:
    """Return what there is to say of a job besides its properties, for JSON."""
    return {
        "id": job.id,
        "state": job.state,
        "topic": job.topic,
        "queue": job.queue,
        "title": job.title,
        "name": job.name,
        "priority": job.priority,
        "target": job.target,
        "application": job.application,
        "origin": job.origin,
        "retry_count": job.retry_count,
        "progress_step": job.progress_step,
        "progress_steps": job.progress_steps,
        "result_message": job.result_message,
        "family": job.family,
        "created_at": job.created_at,
        "not_before": job.not_before,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "instance": attempt.instance_label,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
        "outcome": attempt.outcome,
        "message": attempt.message,
        "log": attempt.log,
    }


def _told(job: Job) -> list[object]:
    return [job.id, job.state, job.topic, job.queue, job.title, job.created_at.isoformat("T", "seconds"), job.target]
