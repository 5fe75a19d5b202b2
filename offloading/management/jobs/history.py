"""`manage.py jobs families`, `retry-family` and `clean-up`."""

from typing import Any

from offloading import exceptions
from offloading.jobs import families, history, remedies
from offloading.jobs.families import FamilyRow
from offloading.management.jobs import printing

BY = "manage.py"
_HEADINGS = ("fingerprint", "jobs", "first seen", "last", "topic", "failure", "place", "on")


def add(parsers: Any) -> None:
    """Add the sub-commands about failures and about the history."""
    listing = parsers.add_parser(
        "families", help="list the failures that jobs stand here with, the most frequent first"
    )
    listing.add_argument("words", nargs="*", help="show only those with all of these in topic, error, place or message")
    listing.add_argument("--latest", action="store_true", help="the latest first")
    listing.add_argument("--limit", type=int, default=50)
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_families)
    retrying = parsers.add_parser("retry-family", help="retry all failed jobs of a family, or one of them to see")
    retrying.add_argument("fingerprint", help="its first digits are enough")
    retrying.add_argument("--one", action="store_true", help="only the latest job")
    retrying.add_argument("--by", default=BY, help="who decided, for the record")
    retrying.add_argument("--json", action="store_true", help="print JSON")
    retrying.set_defaults(run=_retry)
    cleaning = parsers.add_parser("clean-up", help="delete the finished jobs whose time in the history is over, now")
    cleaning.add_argument("--limit-seconds", type=float, default=3_600.0, help="for how long at most")
    cleaning.add_argument("--json", action="store_true", help="print JSON")
    cleaning.set_defaults(run=_clean_up)


def _families(options: dict[str, Any], out: printing.Out) -> None:
    order = families.Order.LATEST if options["latest"] else families.Order.JOBS
    found = families.overview(max(options["limit"], 0), words=" ".join(options["words"]), order=order)
    if options["json"]:
        printing.as_json(out, [_as_object(row) for row in found])
        return
    printing.as_columns(out, _HEADINGS, [_as_cells(row) for row in found])


def _as_object(row: FamilyRow) -> dict[str, Any]:
    family = row.family
    return {
        "fingerprint": family.fingerprint,
        "jobs": row.jobs,
        "topic": family.topic,
        "error": family.error,
        "place": family.place,
        "message": family.message,
        "first_seen_at": family.first_seen_at,
        "last_seen_at": family.last_seen_at,
        "instances": row.instances,
        "latest_jobs": row.sample,
    }


def _as_cells(row: FamilyRow) -> tuple[object, ...]:
    family = row.family
    lines = family.message.strip().splitlines() or [""]
    # An exception's message ends with what it says, a consumer's begins with it.
    said = lines[-1] if family.error else lines[0]
    times = (f"{at:%Y-%m-%d %H:%M}" for at in (family.first_seen_at, family.last_seen_at))
    return (family.fingerprint, row.jobs, *times, family.topic, said[:80], family.place, ",".join(row.instances))


def _retry(options: dict[str, Any], out: printing.Out) -> None:
    fingerprint = _fingerprint(options["fingerprint"])
    retry = remedies.retry_one if options["one"] else remedies.retry_all
    job = retry(fingerprint, by=options["by"])
    if options["json"]:
        printing.as_json(out, {"fingerprint": fingerprint, "job": job.id})
        return
    said = "The latest job is queued again" if options["one"] else "All its jobs will be queued again by the job"
    out.write(f"{said}: {job.id}")


def _fingerprint(digits: str) -> str:
    """Return the one fingerprint that begins so."""
    found = families.beginning_with(digits)
    if len(found) == 1:
        return found[0]
    if not found:
        raise exceptions.JobMissing(f"There is no failure family {digits!r}. `manage.py jobs families` lists them.")
    raise exceptions.JobMissing(f"{digits!r} is the beginning of several fingerprints. Give more digits.")


def _clean_up(options: dict[str, Any], out: printing.Out) -> None:
    jobs = history.clean_up(limit_seconds=options["limit_seconds"])
    if options["json"]:
        printing.as_json(out, {"jobs": jobs})
        return
    out.write(f"{jobs} finished job{'' if jobs == 1 else 's'} deleted.")
