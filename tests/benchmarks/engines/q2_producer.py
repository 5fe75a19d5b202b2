"""Adds to django-q2, and is the module of its task."""

import django

from tests.benchmarks.engines import producer, stamps


def nothing(properties: producer.Properties) -> None:
    stamps.note(properties.get("stamp"))


def main() -> None:
    django.setup()
    from django.db import transaction
    from django_q.brokers import get_broker
    from django_q.models import OrmQ
    from django_q.tasks import async_task

    broker = get_broker()

    def add(properties: producer.Properties) -> None:
        async_task("tests.benchmarks.engines.q2_producer.nothing", properties, broker=broker)

    def add_many(many: list[producer.Properties]) -> None:
        # It knows no bulk; one transaction is what a user would take.
        with transaction.atomic():
            for properties in many:
                add(properties)

    producer.serve(add=add, add_many=add_many, left=OrmQ.objects.count)


if __name__ == "__main__":
    main()
