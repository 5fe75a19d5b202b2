"""`manage.py jobs add`, `retry`, `stop`, `remove` and `move`: for jobs named by id, or for all that a filter means."""

import argparse
import json
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError

from offloading import exceptions
from offloading.jobs import bulk, ids, manager, moves
from offloading.jobs.query import Filter
from offloading.management.jobs import find, printing
from offloading.models import Job

BY = "manage.py"
_ABOUT = {
    "retry": "run finished jobs again",
    "stop": "stop unfinished jobs",
    "remove": "end unfinished jobs, and delete finished ones for good",
    "move": "let waiting jobs wait at another instance",
}


def add(parsers: Any) -> None:
    """Add the sub-commands that change jobs."""
    _add_adding(parsers.add_parser("add", help="add a job"))
    for name, about in _ABOUT.items():
        parser = parsers.add_parser(name, help=f"{about}: those of these ids, or all that the options say")
        parser.add_argument("ids", nargs="*", metavar="ID")
        find.add_filter(parser)
        parser.add_argument("--all", action="store_true", help="really all jobs, if no other option says which")
        if name == "move":
            parser.add_argument("--to", default="", metavar="SLING_ID", help="none: wherever they are placed anew")
        parser.add_argument("--by", default=BY, help="who decided, for the record")
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=_act, act=name)


def _add_adding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic")
    parser.add_argument("--property", action="append", default=[], metavar="NAME=TEXT", help="as often as wanted")
    parser.add_argument("--json-properties", default="{}", metavar="JSON", help="an object, for what is not a text")
    parser.add_argument("--title", default="")
    parser.add_argument("--name", default="", help="there is only one unfinished job of a name")
    parser.add_argument("--priority", type=int, default=0)
    parser.add_argument("--delay-seconds", type=float, default=0.0)
    parser.add_argument("--retries", type=int, help="-1: for ever; none: as its queue says")
    parser.add_argument("--retry-delay-seconds", type=float)
    parser.add_argument("--time-limit-seconds", type=float)
    parser.add_argument("--json", action="store_true", help="print the job as JSON")
    parser.set_defaults(run=_add)


def _add(options: dict[str, Any], out: printing.Out) -> None:
    names = ("title", "name", "priority", "delay_seconds", "retries", "retry_delay_seconds", "time_limit_seconds")
    job = manager.add_job(options["topic"], _properties(options), **{name: options[name] for name in names})
    if job is None:
        raise CommandError("No job was added: an unfinished job has that name, or the queue of the topic drops jobs.")
    if options["json"]:
        printing.as_json(out, find.facts_of(job))
    else:
        out.write(str(job.id))


def _properties(options: dict[str, Any]) -> dict[str, Any]:
    try:
        properties = json.loads(options["json_properties"])
    except ValueError as error:
        raise CommandError(f"--json-properties: this is no JSON: {error}") from error
    if not isinstance(properties, dict):
        raise CommandError("--json-properties: give an object, as in '{\"size\": 5}'.")
    for text in options["property"]:
        name, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"--property: {text!r} has no value. Write NAME=TEXT.")
        properties[name] = value
    return properties


def _act(options: dict[str, Any], out: printing.Out) -> None:
    wanted = find.read_filter(options)
    if options["ids"] and (options["all"] or wanted != Filter()):
        raise CommandError("Name the jobs by their ids, or say by options which ones. Not both.")
    if options["ids"]:
        _act_on_each(options, out)
        return
    if wanted == Filter() and not options["all"]:
        raise CommandError(f"Say which jobs to {options['act']}: ids, options such as --state, or --all.")
    order = _order(options, wanted)
    if options["json"]:
        printing.as_json(out, find.facts_of(order))
    else:
        out.write(f"{order.title}: job {order.id} does it. `manage.py jobs show {order.id}` tells how far it is.")


def _order(options: dict[str, Any], wanted: Filter) -> Job:
    if options["act"] == "move":
        return bulk.move_matching(wanted, target=options["to"], by=options["by"])
    give: dict[str, Callable[..., Job]] = {
        "retry": bulk.retry_matching,
        "stop": bulk.stop_matching,
        "remove": bulk.remove_matching,
    }
    return give[options["act"]](wanted, by=options["by"])


def _act_on_each(options: dict[str, Any], out: printing.Out) -> None:
    """Do it to each of the named jobs at once; those that cannot be are told, and end the command with 1."""
    unknown = [text for text in options["ids"] if ids.parse(text) is None]
    if unknown:
        raise CommandError(f"{unknown[0]!r} is no id of a job. `manage.py jobs find` shows them.")
    if options["act"] == "move" and not options["to"]:
        raise CommandError("--to: say to which instance. Without it only jobs that options name can be placed anew.")
    results = {job_id: _act_on_one(options, job_id) for job_id in options["ids"]}
    if options["json"]:
        printing.as_json(out, results)
    else:
        done = sum(not refusal for refusal in results.values())
        out.write(f"{done} of {len(results)} job{'' if len(results) == 1 else 's'}: {options['act']} done.")
    refusals = [f"{job_id}: {refusal}" for job_id, refusal in results.items() if refusal]
    if refusals:
        raise CommandError("\n".join(refusals))


def _act_on_one(options: dict[str, Any], job_id: str) -> str:
    """Return why it could not be done, "" if it was."""
    one: dict[str, Callable[[], object]] = {
        "retry": lambda: manager.retry_job(job_id, by=options["by"]),
        "stop": lambda: manager.stop_job(job_id, by=options["by"]),
        "remove": lambda: manager.remove_job(job_id, by=options["by"]),
        "move": lambda: moves.move_job(job_id, target=options["to"], by=options["by"]),
    }
    try:
        one[options["act"]]()
    except exceptions.JobError as error:
        return str(error)
    return ""
