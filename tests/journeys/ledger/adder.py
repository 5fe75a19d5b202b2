"""Adds a job for each line it reads, `topic seconds`, and answers with the job's id and the time of the commit.

A process that stays, as loading the project takes longer than all the rest.
"""

import sys
import time

import django

if __name__ == "__main__":
    django.setup()
    from offloading.jobs import manager

    for line in sys.stdin:
        topic, seconds = line.split()
        job = manager.add_job(topic, {"seconds": float(seconds)})
        print(job.id.hex, time.time(), flush=True)  # noqa: T201  the answer
