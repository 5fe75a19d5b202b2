"""`manage.py jobs drain`, `undrain` and `draining`."""

from typing import Any

from offloading import services
from offloading.management.jobs import printing
from offloading.models import TopicSettings
from topology import identity

BY = "manage.py"


def add(parsers: Any) -> None:
    """Add the sub-commands about drains."""
    for name, about, run in (
        ("drain", "let an instance finish what it runs and take nothing more", _drain),
        ("undrain", "let an instance take jobs again", _undrain),
    ):
        parser = parsers.add_parser(name, help=about)
        parser.add_argument("sling_id", nargs="?", default="", help="an instance of this installation; none: this one")
        parser.add_argument("--by", default=BY, help="who decided, for the record")
        parser.set_defaults(run=run)
    listing = parsers.add_parser("draining", help="list the instances of this installation that are draining")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)


def _drain(options: dict[str, Any], out: printing.Out) -> None:
    sling_id = options["sling_id"] or identity.sling_id()
    is_new = services.drain_instance(sling_id=sling_id, by=options["by"])
    out.write(
        f"{sling_id} takes no more jobs and finishes those that it runs." if is_new else f"{sling_id} drains already."
    )


def _undrain(options: dict[str, Any], out: printing.Out) -> None:
    sling_id = options["sling_id"] or identity.sling_id()
    was_draining = services.undrain_instance(sling_id=sling_id, by=options["by"])
    out.write(f"{sling_id} takes jobs again." if was_draining else f"{sling_id} was not draining.")


def _list(options: dict[str, Any], out: printing.Out) -> None:
    rows = services.draining()
    if options["json"]:
        printing.as_json(out, [_facts(row) for row in rows])
    elif rows:
        told = [(row.sling_id, row.changed_at.isoformat(timespec="seconds"), row.changed_by) for row in rows]
        printing.as_columns(out, ("instance", "changed", "by"), told)
    else:
        out.write("No instance is draining.")


def _facts(row: TopicSettings) -> dict[str, Any]:
    return {"sling_id": row.sling_id, "changed_at": row.changed_at, "changed_by": row.changed_by}
