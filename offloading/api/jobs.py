"""/api/v1/jobs/: finding jobs, adding them, and what can be done to one or to many."""

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from django.db import transaction
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from offloading import exceptions
from offloading.api import access, bodies, problems
from offloading.api import job_serializers as shapes
from offloading.api.endpoint import Endpoint
from offloading.jobs import bulk, configuration, manager, moves, query
from offloading.jobs.filters import Filter
from offloading.jobs.manager import JobRequest
from offloading.models import UNFINISHED, Job, QueueType

ADD = OpenApiExample(
    "A letter",
    value={
        "topic": "acme/mail/send",
        "properties": {"to": "ann@example.org"},
        "title": "Letter",
        "name": "letter-4711",
    },
    request_only=True,
)
ADD_MANY = OpenApiExample(
    "Two letters",
    value={
        "jobs": [
            {"topic": "acme/mail/send", "properties": {"to": "ann@example.org"}},
            {"topic": "acme/mail/send", "properties": {"to": "bob@example.org"}, "delay_seconds": 60},
        ]
    },
    request_only=True,
)
ACT = OpenApiExample(
    "Retry the letters that failed",
    value={"action": "retry", "filter": {"states": ["ERROR", "GIVEN_UP"], "topic": "acme/mail/**"}},
    request_only=True,
)


class Jobs(Endpoint):
    @extend_schema(
        operation_id="findJobs",
        summary="Find jobs",
        parameters=[shapes.FindParameters],
        responses=shapes.JobPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """Return a page of jobs: those that fit all parameters, the newest first. With `type` or `templates` it is
        Sling's query: `type` and `topic` are exact, finished jobs come with the last one to finish first, unfinished
        ones oldest first, and there is no previous page."""
        asked = bodies.read_query(shapes.FindParameters, request)
        page = _query(asked) if "type" in asked or "templates" in asked else _search(asked)
        jobs = page["jobs"]
        context: dict[str, Any] = {}
        if asked.get("properties"):
            rows = Job.objects.filter(pk__in=[job.pk for job in jobs])
            context["properties"] = dict(rows.values_list("pk", "properties"))
        return Response(
            page
            | {
                "jobs": shapes.FoundJobSerializer(jobs, many=True, context=context).data,
                "next": _link(request, page["next"]),
                "previous": _link(request, page["previous"]),
            }
        )

    @extend_schema(
        operation_id="addJob",
        summary="Add a job",
        request=shapes.NewJob,
        responses={201: shapes.JobSerializer},
        examples=[ADD],
    )
    def post(self, request: Request) -> Response:
        """Add a job; it is stored when this answers. A job of a topic that no instance takes waits for one. 409
        `name-taken` if an unfinished job has its name, with the id of that as `job`: with a name it is safe to send it
        again. 409 `job-refused` if the queue of the topic drops its jobs."""
        asked = JobRequest(**bodies.read(shapes.NewJob, request))
        _require_kept([asked])
        job = manager.add_job(**{name: getattr(asked, name) for name in JobRequest.__dataclass_fields__})
        if job is None:
            raise _name_taken(asked.name)
        return Response(shapes.JobSerializer(job).data, status=201, headers={"Location": _address(job)})


class JobsBulk(Endpoint):
    max_bytes = 64 * 1024 * 1024

    @extend_schema(
        operation_id="addJobs",
        summary="Add many jobs, all or none",
        request=shapes.NewJobs,
        responses={201: shapes.AddedJobsSerializer},
        examples=[ADD_MANY],
    )
    def post(self, request: Request) -> Response:
        """Add up to 10,000 jobs in one transaction. If one of them cannot be added, none is, and `errors` names each by
        its place in the list, as in `jobs.3.topic`. Names that are taken and queues that drop their jobs are errors,
        too, answered with 409."""
        asked = [JobRequest(**each) for each in bodies.read(shapes.NewJobs, request)["jobs"]]
        _require_kept(asked)
        with transaction.atomic():
            added = manager.add_jobs(asked)
            if len(added) < len(asked):
                transaction.set_rollback(True)
        if len(added) < len(asked):
            raise _names_taken(asked)
        return Response({"count": len(added), "ids": added}, status=201)


class JobActions(Endpoint):
    @extend_schema(
        operation_id="actOnJobs",
        summary="Retry, stop, remove or move all jobs of a filter",
        request=shapes.BulkAct,
        responses={202: shapes.JobSerializer},
        examples=[ACT],
    )
    def post(self, request: Request) -> Response:
        """Have something done to all jobs of a filter. Returns the job that does it: look at it for its progress. Jobs
        that are added afterwards are left alone. 400 if no job could be meant."""
        asked = bodies.read(shapes.BulkAct, request)
        wanted, by = asked["filter"], access.name_of(request)
        if asked["action"] == bulk.Act.MOVE:
            return under_way(bulk.move_matching(wanted, target=asked.get("target", ""), by=by))
        one: dict[str, Callable[..., Job]] = {
            bulk.Act.RETRY: bulk.retry_matching,
            bulk.Act.STOP: bulk.stop_matching,
            bulk.Act.REMOVE: bulk.remove_matching,
        }
        return under_way(one[asked["action"]](wanted, by=by))


class OneJob(Endpoint):
    @extend_schema(operation_id="getJob", summary="Tell all of a job", responses=shapes.JobDetailSerializer)
    def get(self, request: Request, job_id: uuid.UUID) -> Response:
        """Return a job with its properties, its attempts and their logs, how far it is, and why it waits."""
        return Response(shapes.JobDetailSerializer(_found(job_id)).data)

    @extend_schema(
        operation_id="removeJob", summary="Remove a job", request=None, responses={200: shapes.JobSerializer, 204: None}
    )
    def delete(self, request: Request, job_id: uuid.UUID) -> Response:
        """End an unfinished job as DROPPED and answer 200 with it; delete a finished one, a dropped one too, from the
        history and answer 204."""
        _found(job_id)
        manager.remove_job(job_id, by=access.name_of(request))
        job = manager.get_job(job_id)
        return Response(shapes.JobSerializer(job).data) if job else Response(status=204)


class JobRetry(Endpoint):
    @extend_schema(operation_id="retryJob", summary="Retry a job", request=None, responses=shapes.JobSerializer)
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """Run a finished job again from the beginning. 409 if it is not finished."""
        bodies.read(bodies.Nothing, request)
        return Response(shapes.JobSerializer(manager.retry_job(job_id, by=access.name_of(request))).data)


class JobStop(Endpoint):
    @extend_schema(operation_id="stopJob", summary="Stop a job", request=None, responses=shapes.JobSerializer)
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """End a waiting job as STOPPED; ask a running one to stop, which the answer shows as `stop_requested_by`. 409
        if it has ended."""
        bodies.read(bodies.Nothing, request)
        return Response(shapes.JobSerializer(manager.stop_job(job_id, by=access.name_of(request))).data)


class JobMove(Endpoint):
    @extend_schema(operation_id="moveJob", summary="Move a job", request=shapes.Move, responses=shapes.JobSerializer)
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """Let a waiting job wait at another instance. 409 if it does not wait or cannot go there."""
        target = bodies.read(shapes.Move, request)["target"]
        return Response(shapes.JobSerializer(moves.move_job(job_id, target=target, by=access.name_of(request))).data)


def under_way(job: Job) -> Response:
    """Answer with the job that does what was asked for."""
    return Response(shapes.JobSerializer(job).data, status=202, headers={"Location": _address(job)})


def _found(job_id: uuid.UUID) -> Job:
    job = manager.get_job(job_id)
    if job is None:
        raise exceptions.JobMissing(f"There is no job {job_id}. It may have been removed.")
    return job


def _address(job: Job) -> str:
    return reverse("api:job", args=[job.pk])


# --- Finding ----------------------------------------------------------------------------------------------------------


def _search(asked: dict[str, Any]) -> dict[str, Any]:
    if "before" in asked and "after" in asked:
        raise exceptions.QueryInvalid("before: it is given beside `after`. Leave one of them out.")
    wanted = Filter(
        states=frozenset(asked.get("state", ())),
        words=asked.get("q", ""),
        **{name: asked.get(name, "") for name in ("topic", "queue", "family", "target")},
    )
    page = query.search(wanted, before=asked.get("before", ""), after=asked.get("after", ""), limit=asked["limit"])
    return {
        "jobs": page.jobs,
        "next": {"before": page.older} if page.older else None,
        "previous": {"after": page.newer} if page.newer else None,
        "is_complete": page.is_complete,
        "searched_until": page.searched_until,
    }


def _query(asked: dict[str, Any]) -> dict[str, Any]:
    wanted = query.Query(
        type=query.QueryType(asked.get("type", query.QueryType.ALL)),
        topic=asked.get("topic"),
        templates=tuple(asked.get("templates", ())),
    )
    page = query.find_page(wanted, after=asked.get("after", ""), limit=asked["limit"])
    return {
        "jobs": page.jobs,
        "next": {"after": page.after} if page.after else None,
        "previous": None,
        "is_complete": True,
        "searched_until": None,
    }


def _link(request: Request, cursor: dict[str, str] | None) -> str | None:
    if cursor is None:
        return None
    kept = [(name, value) for name, values in request.query_params.lists() for value in values]
    kept = [(name, value) for name, value in kept if name not in ("before", "after")]
    return request.build_absolute_uri(f"{request.path}?{urlencode([*kept, *cursor.items()])}")


# --- Adding -----------------------------------------------------------------------------------------------------------


def _require_kept(asked: Sequence[JobRequest]) -> None:
    """Raise JobRefused if the queue of a topic drops its jobs: a job that is answered for is stored."""
    for topic in dict.fromkeys(each.topic for each in asked):
        queue = configuration.queue_of(topic)
        if queue.settings.type == QueueType.DROP:
            raise exceptions.JobRefused(f"Queue {queue.name} of topic {topic!r} drops its jobs: nothing was added.")


def _name_taken(name: str) -> problems.Refusal:
    holder = Job.objects.filter(name=name, state__in=UNFINISHED).values_list("pk", flat=True).first()
    text = f"An unfinished job has the name {name!r}."
    remedy = "Wait for its end, or remove it. If it is the one that you sent before, all is well."
    wrong = problems.Wrong("name", text, remedy)
    extra = {"job": str(holder) if holder else None}
    return problems.Refusal(409, "name-taken", "The name is taken", text, [wrong], extra)


def _names_taken(asked: Sequence[JobRequest]) -> problems.Refusal:
    names = [each.name for each in asked if each.name]
    taken = (
        set(Job.objects.filter(name__in=names, state__in=UNFINISHED).values_list("name", flat=True)) if names else set()
    )
    wrong = []
    seen: Counter[str] = Counter()
    for number, each in enumerate(asked):
        seen[each.name] += bool(each.name)
        if each.name in taken or seen[each.name] > 1:
            text = f"An unfinished job has the name {each.name!r}."
            text = text if each.name in taken else f"An earlier one of these jobs has the name {each.name!r}."
            wrong.append(problems.Wrong(f"jobs.{number}.name", text, "Leave this one out, or give it another name."))
    text = "At least one name is taken, so no job was added."
    return problems.Refusal(409, "name-taken", "A name is taken", text, wrong)
