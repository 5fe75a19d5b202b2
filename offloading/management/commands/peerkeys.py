"""`manage.py peerkeys`: which keys of other installations are known, and who may sign requests to this one."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from offloading import models
from offloading.transport import keys


class Command(BaseCommand):
    help = "List the keys of instances of other installations, or approve or revoke one by its fingerprint."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", nargs="?", choices=["list", "approve", "revoke"], default="list")
        parser.add_argument("fingerprint", nargs="?", help="as the list shows it")
        parser.add_argument("--by", default="manage.py", help="who decided, for the record")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] != "list":
            self._decide(options)
        rows = models.PeerKey.objects.order_by("sling_id", "id")
        known = [_facts(row) for row in rows]
        if options["json"]:
            self.stdout.write(json.dumps(known, indent=2))
        for each in () if options["json"] else known:
            self.stdout.write("{fingerprint}  {sling_id}  {trust}  by {changed_by}".format(**each))
        if not known and not options["json"]:
            self.stdout.write("No keys of other installations are known yet. They come with the connectors.")

    def _decide(self, options: dict[str, Any]) -> None:
        if not options["fingerprint"]:
            raise CommandError("Name the key by its fingerprint: manage.py peerkeys list shows them.")
        decide = keys.approve if options["action"] == "approve" else keys.revoke
        try:
            decide(key_fingerprint=options["fingerprint"], by=options["by"])
        except keys.KeyUnknown as error:
            raise CommandError(str(error)) from error


def _facts(row: models.PeerKey) -> dict[str, str]:
    return {
        "fingerprint": keys.fingerprint(row.public_key),
        "sling_id": row.sling_id,
        "trust": row.trust,
        "changed_by": row.changed_by,
        "first_seen_at": row.first_seen_at.isoformat(),
    }
