"""`manage.py runinstance`: everything one instance needs, in the foreground."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from config import supervisor, web
from topology import identity

CANNOT_RUN = 2


class Command(BaseCommand):
    help = "Run this instance: web, workers and agent. Ctrl-C or SIGTERM stops it in order, a second one at once."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            home = identity.hold_home()
            listener = web.listen()
        except (identity.AlreadyRunning, web.PortTaken) as error:
            raise CommandError(str(error), returncode=CANNOT_RUN) from error
        self._require_migrations()
        with home, listener:
            sys.exit(supervisor.Supervisor(listener).run())

    def _require_migrations(self) -> None:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if missing:
            raise CommandError(
                f"The database lacks {len(missing)} migrations. Run `manage.py migrate` first.", returncode=CANNOT_RUN
            )
