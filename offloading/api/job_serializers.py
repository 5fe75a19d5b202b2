"""Jobs in JSON: as they are answered, and as they are asked for."""

import json
from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions as rest
from rest_framework import serializers

from offloading import exceptions
from offloading.api import problems
from offloading.api.bodies import YEAR_SECONDS, Body, Choice, Instant, Number, Properties, Text, Truth, Whole
from offloading.jobs import bulk, filters, query, topics, why
from offloading.jobs import properties as job_properties
from offloading.jobs.filters import Filter
from offloading.models import Attempt, AttemptOutcome, Job, JobState
from topology import services as topology

MAX_JOBS = 10_000
MAX_LIMIT = 200
MAX_ATTEMPTS = 100
# Two years of waiting; beyond that it decides nothing.
_MAX_PRIORITY = 1_000_000


# --- Answered ---------------------------------------------------------------------------------------------------------


class ProgressSerializer(serializers.Serializer[Job]):
    """How far the running attempt says it is; `steps` null = it did not say."""

    steps = serializers.IntegerField(source="progress_steps", allow_null=True)
    step = serializers.IntegerField(source="progress_step")
    eta = serializers.DateTimeField(source="progress_eta", allow_null=True)

    class Meta:
        ref_name = "Progress"


class JobSerializer(serializers.ModelSerializer[Job]):
    """A job without its properties."""

    progress = ProgressSerializer(source="*")

    class Meta:
        model = Job
        ref_name = "Job"
        fields: tuple[str, ...] = (
            "id", "topic", "queue", "title", "name", "state", "target", "application", "origin", "fence", "priority",
            "not_before", "retries", "retry_delay_seconds", "time_limit_seconds", "retry_count", "crash_count",
            "stop_requested_by", "progress", "result_message", "family", "created_at", "queued_at", "started_at",
            "finished_at",
        )  # fmt: skip
        read_only_fields = fields


class FoundJobSerializer(JobSerializer):
    """A job of a list."""

    properties = serializers.SerializerMethodField(help_text="null unless they were asked for.")

    class Meta(JobSerializer.Meta):
        ref_name = "FoundJob"
        fields = (*JobSerializer.Meta.fields, "properties")
        read_only_fields = fields

    def get_properties(self, job: Job) -> dict[str, Any] | None:
        known: Mapping[Any, dict[str, Any]] | None = self.context.get("properties")
        return None if known is None else known.get(job.pk, {})


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    """One run of a job."""

    outcome = serializers.CharField(read_only=True, help_text=f"{', '.join(AttemptOutcome)}; empty while it runs.")

    class Meta:
        model = Attempt
        ref_name = "Attempt"
        fields = ("fence", "instance", "instance_label", "started_at", "ended_at", "outcome", "message", "log")
        read_only_fields = fields


class InstanceReasonSerializer(serializers.Serializer[Any]):
    """Why an instance does not take a job."""

    sling_id = serializers.CharField()
    instance_label = serializers.CharField()
    text = serializers.CharField()

    class Meta:
        ref_name = "InstanceReason"


class ReasonSerializer(serializers.Serializer[Any]):
    """Why a job waits; `at`: when that is over by itself, if it is known."""

    kind = serializers.ChoiceField(choices=[each.value for each in why.Kind])
    text = serializers.CharField()
    needs_somebody = serializers.BooleanField(source="kind.needs_somebody")
    at = serializers.DateTimeField(allow_null=True)
    job = serializers.UUIDField(source="job.pk", default=None, allow_null=True, help_text="The job it waits behind.")
    instances = InstanceReasonSerializer(many=True)

    class Meta:
        ref_name = "WaitingReason"


class JobDetailSerializer(JobSerializer):
    """A job with all that is known of it. Of its attempts the last 100, the oldest first."""

    attempts = serializers.SerializerMethodField()
    reasons = serializers.SerializerMethodField(help_text="Why it waits; empty for a job that does not.")

    class Meta(JobSerializer.Meta):
        ref_name = "JobDetail"
        fields = (*JobSerializer.Meta.fields, "properties", "attempts", "reasons")
        read_only_fields = fields

    @extend_schema_field(AttemptSerializer(many=True))
    def get_attempts(self, job: Job) -> Any:
        last = job.attempts.order_by("-fence", "-started_at", "-pk")[:MAX_ATTEMPTS]
        return AttemptSerializer(list(last)[::-1], many=True).data

    @extend_schema_field(ReasonSerializer(many=True))
    def get_reasons(self, job: Job) -> Any:
        if job.state != JobState.QUEUED:
            return []
        situation = why.situation_of(job, topology.current_view())
        return ReasonSerializer(why.waiting_reasons(job, situation), many=True).data


class JobPageSerializer(serializers.Serializer[Any]):
    """Jobs, and where there are more."""

    jobs = FoundJobSerializer(many=True)
    next = serializers.URLField(allow_null=True, help_text="The page after this one; null = there is none.")
    previous = serializers.URLField(allow_null=True, help_text="The page before this one, if that is known.")
    is_complete = serializers.BooleanField(
        help_text="false: the time of one request was used up before the page was full. `next` goes on there."
    )
    searched_until = serializers.DateTimeField(
        allow_null=True, help_text="If it is not complete: all jobs down to here were looked at."
    )

    class Meta:
        ref_name = "JobPage"


class AddedJobsSerializer(serializers.Serializer[Any]):
    """The ids of the new jobs, in the order in which they were asked for."""

    count = serializers.IntegerField()
    ids = serializers.ListField(child=serializers.UUIDField())

    class Meta:
        ref_name = "AddedJobs"


# --- Asked for --------------------------------------------------------------------------------------------------------


class NewJob(Body):
    """A job to be added. What is not given is as the job's queue says."""

    topic = Text(help_text="Names joined by slashes, as in acme/mail/send.")
    properties = Properties(required=False, help_text="Any JSON values, 1 MiB in all at most.")
    title = Text(required=False, max_length=255)
    name = Text(required=False, max_length=255, help_text="There is only one unfinished job of a name.")
    priority = Whole(
        required=False,
        min_value=-_MAX_PRIORITY,
        max_value=_MAX_PRIORITY,
        help_text="Each step overtakes jobs that wait up to a minute longer.",
    )
    delay_seconds = Number(required=False, min_value=0, max_value=10 * YEAR_SECONDS)
    not_before = Instant(required=False, allow_null=True, help_text="It starts then at the earliest.")
    retries = Whole(required=False, allow_null=True, min_value=-1, help_text="-1 = for ever; null = as its queue says.")
    retry_delay_seconds = Number(required=False, allow_null=True, min_value=0, max_value=YEAR_SECONDS)
    time_limit_seconds = Number(
        required=False, allow_null=True, min_value=0, max_value=YEAR_SECONDS, help_text="For one attempt; 0 = none."
    )

    def validate_topic(self, value: str) -> str:
        try:
            return topics.validate(value)
        except exceptions.TopicInvalid as error:
            raise rest.ValidationError(str(error), "topic") from error

    def validate_properties(self, value: dict[str, Any]) -> dict[str, Any]:
        try:
            return job_properties.checked(value)
        except exceptions.PropertiesInvalid as error:
            raise rest.ValidationError(str(error), "properties") from error

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("delay_seconds") and attrs.get("not_before"):
            raise rest.ValidationError({"not_before": ["It is given beside delay_seconds: leave one of them out."]})
        return attrs


class NewJobs(Body):
    """Many jobs to be added, all or none."""

    jobs = serializers.ListField(child=NewJob(), min_length=1, max_length=MAX_JOBS)


class Move(Body):
    """Where a job shall wait."""

    target = Text(max_length=36, help_text="The sling id of an instance.")


class FilterBody(Body):
    """Which jobs; all of it must be true of a job, and what is left out is whatever it is."""

    states = serializers.ListField(child=Choice(choices=sorted(filters.STATES)), required=False)
    topic = Text(required=False, help_text="A topic, a/* for one level below a, or a/** for all below it.")
    queue = Text(required=False)
    family = Text(required=False, help_text="The fingerprint of a failure family.")
    target = Text(required=False, help_text="The sling id of the instance that they wait or ran for.")
    words = Text(required=False, max_length=500, help_text="As in the search box.")
    ids = serializers.ListField(child=Text(), required=False, max_length=filters.MAX_IDS)
    created_before = Instant(required=False)

    class Meta:
        ref_name = "JobFilter"

    def validate(self, attrs: dict[str, Any]) -> Any:
        before = attrs.get("created_before")
        try:
            return Filter.from_json(attrs | ({"created_before": before.isoformat()} if before else {}))
        except exceptions.QueryInvalid as error:
            field, message = problems.named(error)
            raise rest.ValidationError({field or "non_field_errors": [message]}) from error


class BulkAct(Body):
    """What shall be done to all jobs of a filter."""

    action = Choice(choices=[each.value for each in bulk.Act])
    filter = FilterBody()
    all = Truth(required=False, help_text="true: really all jobs. Needed if the filter asks for nothing.")
    target = Text(required=False, max_length=36, help_text="move: a sling id; without, they are placed anew.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["filter"] == Filter() and not attrs.get("all"):
            raise rest.ValidationError({"filter": ['It means all jobs. Say so with "all": true, or say which.']})
        if attrs.get("target") and attrs["action"] != bulk.Act.MOVE:
            raise rest.ValidationError({"target": ["Only a move has a target: leave it out."]})
        return attrs


class FindParameters(Body):
    """How jobs are looked for. With `type` or `templates`: Sling's query; otherwise the search of the screen Jobs."""

    q = serializers.CharField(required=False, allow_blank=True, max_length=500, help_text="As in the search box.")
    state = serializers.ListField(
        child=Choice(choices=sorted(filters.STATES)), required=False, help_text="One or several, with commas."
    )
    topic = serializers.CharField(required=False, help_text="A topic; without `type` also a/* or a/**.")
    queue = serializers.CharField(required=False)
    family = serializers.CharField(required=False)
    target = serializers.CharField(required=False, help_text="A sling id.")
    type = Choice(
        required=False,
        choices=[each.value for each in query.QueryType],
        help_text="Sling's type of query, ALL = all unfinished ones. Unfinished jobs come oldest first.",
    )
    templates = serializers.CharField(
        required=False, help_text='A list of objects in JSON, as in [{"to": "ann@example.org", ">size": 100}].'
    )
    properties = serializers.BooleanField(required=False, help_text="Answer the properties of each job, too.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=MAX_LIMIT, default=50)
    before = serializers.CharField(required=False, help_text="A cursor: follow `next` and `previous`.")
    after = serializers.CharField(required=False, help_text="A cursor: follow `next` and `previous`.")

    def validate_templates(self, value: str) -> list[dict[str, Any]]:
        try:
            found = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise rest.ValidationError(f"This is no JSON: {error}") from error
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise rest.ValidationError("The templates are a list of objects.", "not_a_list")
        return found

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "type" not in attrs and "templates" not in attrs:
            return attrs
        wrong = [name for name in ("q", "state", "queue", "family", "target", "before") if name in attrs]
        if wrong:
            text = "It does not go with `type` and `templates`: leave it out, or use a template instead."
            raise rest.ValidationError({name: [text] for name in wrong})
        return attrs
