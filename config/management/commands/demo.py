"""`manage.py demo`: two joined installations on this machine, to try the product on."""

import signal
import time
from argparse import ArgumentParser
from pathlib import Path
from subprocess import Popen
from types import FrameType

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config import demo

WELCOME = """
Offloading is up: two installations, joined by a connector.

  author  {author_1} and {author_2}   two instances on one database
  worker  {worker}   one instance on a database of its own

Log in at {author_1} as {username} / {password}, then try:

  1. Topology: both clusters and all three instances, each with its properties.
  2. Offloading: disable com/adobe/granite/workflow/offloading on both author instances.
  3. Assets: drop some photos. The worker makes their renditions; each asset tells how.
  4. Offloading: enable it on an author instance again. New photos are processed there, and nothing is moved.

Logs are in {folder}. Ctrl-C stops everything; the next start goes on with the same data.
"""


class Command(BaseCommand):
    help = "Start the demo: an author cluster of two instances and a worker, joined by a connector."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--ports", type=int, nargs=3, default=[4502, 4503, 4512], metavar=("FIRST", "SECOND", "WORKER")
        )
        parser.add_argument(
            "--folder", type=Path, default=settings.BASE_DIR / "var" / "demo", help="where the demo keeps its data"
        )

    def handle(self, *args: object, **options: object) -> None:
        ports, folder = options["ports"], options["folder"]
        assert isinstance(ports, list) and isinstance(folder, Path)
        for ending in (signal.SIGTERM, signal.SIGINT):
            signal.signal(ending, interrupt)
        processes: list[Popen[bytes]] = []
        try:
            self.run(demo.instances(ports), folder.resolve(), processes)
        except demo.DemoFailed as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stdout.write("\nStopping …")
        finally:
            demo.stop(processes)
        self.stdout.write("All processes have ended.")

    def run(self, instances: list[demo.DemoInstance], folder: Path, processes: list[Popen[bytes]]) -> None:
        for instance in instances:
            demo.require_free(instance.port)
        shared_key = demo.read_or_make_key(folder / "connector.key")
        environments = {instance: instance.environment(folder, shared_key) for instance in instances}
        self.stdout.write(f"Preparing the databases in {folder} …")
        for environment in {item.installation: environments[item] for item in instances}.values():
            demo.prepare(environment)
        self.stdout.write("Starting three instances …")
        logs = {instance: folder / "logs" / f"{instance.name}.log" for instance in instances}
        for instance in instances:
            processes.append(demo.start(instance, environments[instance], logs[instance]))
        for instance, process in zip(instances, processes, strict=True):
            demo.wait_until_up(instance, process, logs[instance])
        self.welcome(instances, folder)
        self.watch(instances, processes, environments, logs)

    def welcome(self, instances: list[demo.DemoInstance], folder: Path) -> None:
        first, second, worker = (instance.endpoint for instance in instances)
        self.stdout.write(
            WELCOME.format(
                author_1=first,
                author_2=second,
                worker=worker,
                username=demo.USERNAME,
                password=demo.PASSWORD,
                folder=folder / "logs",
            )
        )

    def watch(
        self,
        instances: list[demo.DemoInstance],
        processes: list[Popen[bytes]],
        environments: dict[demo.DemoInstance, dict[str, str]],
        logs: dict[demo.DemoInstance, Path],
    ) -> None:
        """Stay until interrupted. Start again what ends, as a service manager would: killing is part of a demo."""
        while True:
            time.sleep(0.5)
            for index, instance in enumerate(instances):
                code = processes[index].poll()
                if code is None:
                    continue
                if code == demo.CANNOT_RUN:
                    raise demo.DemoFailed(
                        f"{instance.name} can't run. The end of its log:\n{demo.tail(logs[instance])}"
                    )
                self.stdout.write(f"{instance.name} has ended ({code}); starting it again.")
                processes[index] = demo.start(instance, environments[instance], logs[instance])


def interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
