"""Adds a job for each page named as an argument, or for a book of as many pages as a number says; prints their ids."""

import sys

import django

if __name__ == "__main__":
    django.setup()
    from offloading.jobs import manager
    from tests.journeys.press.job_consumers import TOPIC

    for page in sys.argv[1:]:
        if page.isdigit():
            job = manager.add_job("press/book", {"pages": int(page)}, title="A book")
        else:
            job = manager.add_job(TOPIC, {"page": page, "copies": 2}, title="A page")
        print(job.id if job else "")  # noqa: T201  the answer
