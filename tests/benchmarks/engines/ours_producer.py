"""Adds to our engine."""

import uuid

import django

from tests.benchmarks.engines import producer

TOPIC = "bench/noop"


def main() -> None:
    django.setup()
    from offloading.jobs import configuration, ids, manager, pauses, queues
    from offloading.models import UNFINISHED, Job

    # Ids rise with time: what is beside the jobs of this producer is not counted, and costs nothing.
    first: uuid.UUID = ids.uuid7()

    def add_many(many: list[producer.Properties]) -> None:
        manager.add_jobs(manager.JobRequest(topic=TOPIC, properties=each) for each in many)

    def pause(queue: str, topic: str) -> None:
        configuration.put(queues.QueueSettings(name=queue, topics=(topic,)), by="bench")
        pauses.pause(kind="QUEUE", name=queue, by="bench")

    producer.serve(
        add=lambda properties: manager.add_job(TOPIC, properties),
        add_many=add_many,
        left=lambda: Job.objects.filter(id__gt=first, state__in=UNFINISHED).count(),
        pause=pause,
    )


if __name__ == "__main__":
    main()
