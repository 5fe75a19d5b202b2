"""Adds to Celery, and is the module of its app: acknowledged late, no results, a large prefetch for short tasks."""

import os

from celery import Celery, group

from tests.benchmarks.engines import producer, stamps

app = Celery("bench", broker=os.environ["BENCH_REDIS"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=64,
    broker_connection_retry_on_startup=True,
)


@app.task(name="nothing")
def nothing(properties: producer.Properties) -> None:
    stamps.note(properties.get("stamp"))


def main() -> None:
    from redis import Redis

    redis = Redis.from_url(os.environ["BENCH_REDIS"])
    with app.producer_pool.acquire() as sender:
        producer.serve(
            add=lambda properties: nothing.apply_async((properties,), producer=sender),
            add_many=lambda many: group(nothing.s(each) for each in many).apply_async(producer=sender),
            left=lambda: redis.llen("celery") + redis.hlen("unacked"),
        )


if __name__ == "__main__":
    main()
