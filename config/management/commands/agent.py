"""`manage.py agent`: the agent alone, for a service manager that starts the processes of an instance by itself."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config import agent
from topology import identity


class Command(BaseCommand):
    help = "Run only the agent of this instance. `runinstance` starts it by itself."

    def handle(self, *args: Any, **options: Any) -> None:
        if not identity.runtime_id():
            raise CommandError(
                "Name this run by OFFLOADING_RUNTIME_ID, a new one at each start, or use `runinstance`.",
                returncode=agent.CANNOT_RUN,
            )
        sys.exit(agent.run())
