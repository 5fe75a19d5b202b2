"""/api/v1/schedules/: jobs that are added again and again."""

from typing import Any

from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import exceptions as rest
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from offloading import exceptions
from offloading.api import access, bodies
from offloading.api.bodies import Body, Choice, Properties, Text, Truth
from offloading.api.endpoint import Endpoint
from offloading.api.job_serializers import JobSerializer
from offloading.jobs import schedules as job_schedules
from offloading.jobs import scheduling
from offloading.jobs.schedules import Schedule
from offloading.models import ScheduledJob

RUNS_AHEAD = 10
MAX_LIMIT = 1_000
CREATE = OpenApiExample(
    "A newsletter, every Monday and Thursday morning",
    value={
        "topic": "acme/mail/newsletter",
        "schedules": [
            {"type": "WEEKLY", "day": 2, "hour": 8, "minute": 30},
            {"type": "WEEKLY", "day": 5, "hour": 8, "minute": 30},
        ],
        "time_zone": "Europe/Berlin",
    },
    request_only=True,
)


class ScheduleSerializer(serializers.Serializer[Any]):
    """One schedule: its type and the fields of that type. HOURLY: minute. DAILY: hour, minute. WEEKLY: day (1 = Sunday
    to 7 = Saturday), hour, minute. MONTHLY: day (1 to 28), hour, minute. YEARLY: month, day, hour, minute. DATE: at.
    CRON: expression."""

    type = serializers.ChoiceField(choices=[each.value for each in job_schedules.Type])
    minute = serializers.IntegerField(required=False)
    hour = serializers.IntegerField(required=False)
    day = serializers.IntegerField(required=False)
    month = serializers.IntegerField(required=False)
    at = serializers.DateTimeField(required=False)
    expression = serializers.CharField(required=False)

    class Meta:
        ref_name = "Schedule"

    def to_internal_value(self, data: Any) -> Schedule:
        try:
            return job_schedules.from_json(data)
        except exceptions.ScheduleInvalid as error:
            raise rest.ValidationError({"non_field_errors": [str(error)]}) from error

    def to_representation(self, instance: Any) -> Any:
        return instance  # as it is stored


class TimesBody(Body):
    """When a scheduled job runs, in `time_zone`."""

    schedules = serializers.ListField(child=ScheduleSerializer(), min_length=1, max_length=job_schedules.MAX_SCHEDULES)
    time_zone = Text(required=False, max_length=64, help_text="As in Europe/Berlin.")

    def validate_time_zone(self, value: str) -> str:
        try:
            return job_schedules.zone_of(value).key if value else value
        except exceptions.ScheduleInvalid as error:
            raise rest.ValidationError(str(error)) from error


class NewSchedule(TimesBody):
    """A job to be added again and again."""

    topic = Text(help_text="As in acme/mail/newsletter.")
    properties = Properties(required=False)
    title = Text(required=False, max_length=255)
    misfire = Choice(required=False, choices=ScheduledJob.Misfire.choices, help_text="ONCE if it is not given.")
    suspended = Truth(required=False)


class ScheduledJobSerializer(serializers.ModelSerializer[ScheduledJob]):
    """A scheduled job. `next_at` null = it does not run again: it is suspended, or `problem` says why."""

    schedules = ScheduleSerializer(many=True)
    properties = serializers.DictField()
    description = serializers.SerializerMethodField(help_text="When it runs, in words.")
    problem = serializers.SerializerMethodField(help_text="Why one that is not suspended does not run again.")

    class Meta:
        model = ScheduledJob
        ref_name = "ScheduledJob"
        fields: tuple[str, ...] = (
            "name", "topic", "title", "properties", "schedules", "time_zone", "misfire", "suspended_by", "suspended_at",
            "next_at", "last_due_at", "last_job", "fired_count", "created_by", "created_at", "description", "problem",
        )  # fmt: skip
        read_only_fields = fields

    def get_description(self, row: ScheduledJob) -> str:
        return scheduling.describe(row)

    def get_problem(self, row: ScheduledJob) -> str:
        return scheduling.problem(row)


class ScheduledJobDetailSerializer(ScheduledJobSerializer):
    """A scheduled job with its next ten times."""

    next_runs = serializers.SerializerMethodField()

    class Meta(ScheduledJobSerializer.Meta):
        ref_name = "ScheduledJobDetail"
        fields = (*ScheduledJobSerializer.Meta.fields, "next_runs")
        read_only_fields = fields

    def get_next_runs(self, row: ScheduledJob) -> list[str]:
        try:
            return [run.isoformat() for run in scheduling.next_runs(row, timezone.now(), RUNS_AHEAD)]
        except exceptions.ScheduleInvalid:
            return []


class ScheduledJobsSerializer(serializers.Serializer[Any]):
    schedules = ScheduledJobSerializer(many=True)
    is_complete = serializers.BooleanField(help_text="false: there are more than `limit`.")

    class Meta:
        ref_name = "ScheduledJobs"


class ScheduleParameters(Body):
    topic = serializers.CharField(required=False, help_text="That topic exactly.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=MAX_LIMIT, default=200)


class Schedules(Endpoint):
    @extend_schema(
        operation_id="listSchedules",
        summary="List the scheduled jobs",
        parameters=[ScheduleParameters],
        responses=ScheduledJobsSerializer,
    )
    def get(self, request: Request) -> Response:
        """Return the scheduled jobs, the next to run first; suspended ones are last."""
        asked = bodies.read_query(ScheduleParameters, request)
        rows = scheduling.find(asked.get("topic"), limit=asked["limit"] + 1)
        shown = rows[: asked["limit"]]
        return Response(ScheduledJobsSerializer({"schedules": shown, "is_complete": len(rows) == len(shown)}).data)

    @extend_schema(
        operation_id="scheduleJob",
        summary="Schedule a job",
        request=NewSchedule,
        responses={200: ScheduledJobDetailSerializer, 201: ScheduledJobDetailSerializer},
        examples=[CREATE],
    )
    def post(self, request: Request) -> Response:
        """Have a job added at each of these times. The same topic, properties, schedules and zone are the same
        scheduled job: said again, it takes over title and misfire policy, stays as it is otherwise, and 200 is
        answered."""
        given = bodies.read(NewSchedule, request)
        known = {row.name for row in scheduling.find(given["topic"])}
        row = scheduling.schedule_job(**given, by=access.name_of(request))
        address = reverse("api:schedule", args=[row.name])
        return _answer(row, 200 if row.name in known else 201, {"Location": address})


class OneSchedule(Endpoint):
    @extend_schema(
        operation_id="getSchedule", summary="Tell all of a scheduled job", responses=ScheduledJobDetailSerializer
    )
    def get(self, request: Request, name: str) -> Response:
        """Return a scheduled job with its next ten times."""
        return _answer(scheduling.get(name))

    @extend_schema(operation_id="unscheduleJob", summary="Remove a scheduled job", request=None, responses={204: None})
    def delete(self, request: Request, name: str) -> Response:
        """Remove a scheduled job; the jobs that it added stay."""
        scheduling.get(name)
        scheduling.unschedule(name=name, by=access.name_of(request))
        return Response(status=204)


class ScheduleTimes(Endpoint):
    @extend_schema(
        operation_id="rescheduleJob",
        summary="Give a scheduled job other times",
        request=TimesBody,
        responses=ScheduledJobDetailSerializer,
    )
    def put(self, request: Request, name: str) -> Response:
        """Replace its times; its name stays, and so does whether it is suspended. Without `time_zone` that stays."""
        given = bodies.read(TimesBody, request)
        return _answer(scheduling.reschedule(name=name, by=access.name_of(request), **given))


class ScheduleSuspend(Endpoint):
    @extend_schema(
        operation_id="suspendSchedule",
        summary="Suspend a scheduled job",
        request=None,
        responses=ScheduledJobDetailSerializer,
    )
    def post(self, request: Request, name: str) -> Response:
        """Let it rest until it is resumed. One that rests stays as it is."""
        bodies.read(bodies.Nothing, request)
        return _answer(scheduling.suspend(name=name, by=access.name_of(request)))


class ScheduleResume(Endpoint):
    @extend_schema(
        operation_id="resumeSchedule",
        summary="Resume a scheduled job",
        request=None,
        responses=ScheduledJobDetailSerializer,
    )
    def post(self, request: Request, name: str) -> Response:
        """Let it run again, from its next time on. One that runs stays as it is."""
        bodies.read(bodies.Nothing, request)
        return _answer(scheduling.resume(name=name, by=access.name_of(request)))


class ScheduleRun(Endpoint):
    @extend_schema(
        operation_id="runSchedule", summary="Run a scheduled job now", request=None, responses={201: JobSerializer}
    )
    def post(self, request: Request, name: str) -> Response:
        """Add its job at once, besides its times; also while it is suspended. 409 if the queue drops its jobs. Each
        call adds a job."""
        bodies.read(bodies.Nothing, request)
        job = scheduling.run_now(name=name, by=access.name_of(request))
        if job is None:
            raise exceptions.JobRefused("The queue of its topic drops its jobs: nothing was added.")
        headers = {"Location": reverse("api:job", args=[job.pk])}
        return Response(JobSerializer(job).data, status=201, headers=headers)


def _answer(row: ScheduledJob, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(ScheduledJobDetailSerializer(row).data, status=status, headers=headers)
