"""`manage.py jobs`: what the screens can do with jobs and queues, for scripts. Its nouns are in management/jobs."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from offloading import exceptions
from offloading.management.jobs import act, drain, find, history, queues, schedules, statistics

NOUNS = (find, act, queues, schedules, statistics, history, drain)


class Command(BaseCommand):
    help = "Look at jobs and queues and change them."

    def add_arguments(self, parser: CommandParser) -> None:
        parsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        for noun in NOUNS:
            noun.add(parsers)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            options["run"](options, self.stdout)
        except exceptions.JobError as error:
            raise CommandError(str(error)) from error
