"""`manage.py cluster`: the workers alone, for a service manager that starts the processes of an instance by itself."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from offloading.jobs import processes, slots


class Command(BaseCommand):
    help = "Run only the workers of this instance, which its agent feeds. `runinstance` starts them by itself."

    def handle(self, *args: Any, **options: Any) -> None:
        processes.end_forks_with_parent()
        slots.Slots(settings.OFFLOADING_WORKERS).run()
