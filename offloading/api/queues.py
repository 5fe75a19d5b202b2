"""/api/v1/queues/ and /api/v1/topics/pauses/: how jobs are run, and what is paused."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from offloading import exceptions
from offloading.api import access, bodies
from offloading.api.bodies import Body, Choice, Instant, Number, Text, Truth, Whole
from offloading.api.endpoint import Endpoint
from offloading.jobs import configuration, overview, pauses, queues
from offloading.jobs.queues import QueueSettings
from offloading.models import Pause, QueueConfiguration, QueueType

_USUAL = QueueSettings("", ())
CONFIGURE = OpenApiExample(
    "Mail, at most four at once",
    value={"topics": ["acme/mail/*"], "max_parallel": 4, "retries": 5, "retry_delay_seconds": 10, "backoff_factor": 2},
    request_only=True,
)
PAUSE = OpenApiExample(
    "Until the evening",
    value={"reason": "The mail server is being moved", "until": "2030-01-31T18:00:00+01:00"},
    request_only=True,
)


class QueueSettingsBody(Body):
    """How the jobs of some topics are run. What is not given has its default."""

    topics = serializers.ListField(child=Text(), help_text="a/b that topic, a/. one level below, a/* all below, * all.")
    type = Choice(choices=QueueType.choices, default=_USUAL.type)
    max_parallel = Number(default=_USUAL.max_parallel, help_text="Below 1 a share of the processors, -1 all of them.")
    retries = Whole(default=_USUAL.retries, min_value=-1, help_text="-1 = for ever.")
    retry_delay_seconds = Number(default=_USUAL.retry_delay_seconds)
    backoff_factor = Number(default=_USUAL.backoff_factor)
    max_retry_delay_seconds = Number(default=_USUAL.max_retry_delay_seconds)
    jitter = Number(default=_USUAL.jitter, help_text="0.2 makes each delay up to 20 % shorter or longer.")
    retry_on_exception = Truth(default=_USUAL.retry_on_exception)
    time_limit_seconds = Number(default=_USUAL.time_limit_seconds, help_text="For one attempt; 0 = none.")
    priority = Choice(choices=QueueConfiguration.Priority.choices, default=_USUAL.priority)
    keep_jobs = Truth(default=_USUAL.keep_jobs)
    prefer_run_on_creation_instance = Truth(default=_USUAL.prefer_run_on_creation_instance)
    ranking = Whole(default=_USUAL.ranking, help_text="The highest is asked first.")

    class Meta:
        ref_name = "QueueSettings"


class PauseBody(Body):
    """Why something is paused and until when. Without `until`: until somebody resumes it."""

    reason = Text(required=False, max_length=pauses.REASON_LENGTH)
    until = Instant(required=False, allow_null=True)


class TopicPauseBody(PauseBody):
    """The same for a topic."""

    topic = Text(help_text="That topic, or a/** for all below a.")


class PauseSerializer(serializers.ModelSerializer[Pause]):
    """A pause; `until` null = until somebody resumes it."""

    class Meta:
        model = Pause
        ref_name = "Pause"
        fields = ("kind", "name", "reason", "paused_by", "paused_at", "until")
        read_only_fields = fields


class ResumedSerializer(serializers.Serializer[Any]):
    was_paused = serializers.BooleanField()

    class Meta:
        ref_name = "Resumed"


class QueueSerializer(serializers.Serializer[overview.QueueState]):
    """A queue: its settings, what waits and runs in it, its pause, and what it did in the last hour."""

    name = serializers.CharField()
    configuration = serializers.CharField(source="settings.name", help_text="The configuration that makes it.")
    settings = QueueSettingsBody()
    makes_queues = serializers.BooleanField(help_text="It is a configuration that makes queues: it has no jobs itself.")
    is_configured = serializers.BooleanField(help_text="false: it lives on by its jobs alone.")
    ready = serializers.IntegerField()
    delayed = serializers.IntegerField()
    active = serializers.IntegerField()
    oldest_at = serializers.DateTimeField(allow_null=True, help_text="Since when the first in line waits.")
    pause = PauseSerializer(allow_null=True)
    throughput = serializers.ListField(
        child=serializers.IntegerField(), help_text="Jobs processed in each of the last 60 minutes, the oldest first."
    )

    class Meta:
        ref_name = "Queue"


class QueuesSerializer(serializers.Serializer[Any]):
    queues = QueueSerializer(many=True)

    class Meta:
        ref_name = "Queues"


class QueueTopicSerializer(serializers.Serializer[Any]):
    topic = serializers.CharField()
    ready = serializers.IntegerField()
    delayed = serializers.IntegerField()
    active = serializers.IntegerField()
    pause = PauseSerializer(allow_null=True)

    class Meta:
        ref_name = "QueueTopic"


class QueueDetailSerializer(QueueSerializer):
    """A queue with the topics that have unfinished jobs in it."""

    topics = serializers.SerializerMethodField()

    class Meta:
        ref_name = "QueueDetail"

    @extend_schema_field(QueueTopicSerializer(many=True))
    def get_topics(self, queue: overview.QueueState) -> Any:
        return QueueTopicSerializer(overview.topics(queue.name), many=True).data


class PausesSerializer(serializers.Serializer[Any]):
    pauses = PauseSerializer(many=True)

    class Meta:
        ref_name = "Pauses"


class Queues(Endpoint):
    @extend_schema(operation_id="listQueues", summary="List the queues", responses=QueuesSerializer)
    def get(self, request: Request) -> Response:
        """Return all queues in the order in which their configurations are asked."""
        bodies.read_query(bodies.Nothing, request)
        return Response(QueuesSerializer({"queues": overview.read()}).data)


class OneQueue(Endpoint):
    @extend_schema(operation_id="getQueue", summary="Tell all of a queue", responses=QueueDetailSerializer)
    def get(self, request: Request, name: str) -> Response:
        """Return a queue or a configuration by its name, with the topics that have unfinished jobs in it."""
        return _answer(name)

    @extend_schema(
        operation_id="putQueue",
        summary="Configure a queue",
        request=QueueSettingsBody,
        responses={200: QueueDetailSerializer, 201: QueueDetailSerializer},
        examples=[CONFIGURE],
    )
    def put(self, request: Request, name: str) -> Response:
        """Store a configuration under this name, new (201) or in place of the old one (200). It applies at once and
        everywhere: waiting jobs move to the queue that is now theirs. Settings that are left out get their defaults,
        not their old values."""
        legal = queues.legal_name(name)
        if legal != name:
            raise exceptions.QueueInvalid({"name": f"{name!r} is no name of a queue: write it as {legal!r}."})
        given = bodies.read(QueueSettingsBody, request)
        is_new = all(each.name != name for each in configuration.current())
        settings = QueueSettings(name, **{**given, "topics": tuple(given["topics"])})
        configuration.put(settings, by=access.name_of(request))
        return _answer(name, 201 if is_new else 200)

    @extend_schema(operation_id="removeQueue", summary="Remove a queue", request=None, responses={204: None})
    def delete(self, request: Request, name: str) -> Response:
        """Remove a configuration; its waiting jobs move to the queue that is now theirs. The main queue gets its
        default settings back."""
        configuration.remove(name, by=access.name_of(request))
        return Response(status=204)


class QueuePause(Endpoint):
    @extend_schema(
        operation_id="pauseQueue",
        summary="Pause a queue",
        request=PauseBody,
        responses=PauseSerializer,
        examples=[PAUSE],
    )
    def post(self, request: Request, name: str) -> Response:
        """Start nothing more of this queue in the whole cluster; what runs goes on. Said again, the new reason and end
        take the place of the old."""
        given = bodies.read(PauseBody, request)
        try:
            return _paused(request, Pause.Kind.QUEUE, name, given)
        except exceptions.PauseInvalid as error:
            if "name" in error.problems:
                raise exceptions.QueueMissing(error.problems["name"]) from error
            raise


class QueueResume(Endpoint):
    @extend_schema(operation_id="resumeQueue", summary="Resume a queue", request=None, responses=ResumedSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Let a queue go on. One that is not paused stays as it is."""
        bodies.read(bodies.Nothing, request)
        return _resumed(request, Pause.Kind.QUEUE, name)


class TopicPauses(Endpoint):
    @extend_schema(operation_id="listTopicPauses", summary="List the paused topics", responses=PausesSerializer)
    def get(self, request: Request) -> Response:
        """Return the pauses of topics, the oldest first. Those of queues stand with the queues."""
        bodies.read_query(bodies.Nothing, request)
        rows = [row for row in pauses.active().rows if row.kind == Pause.Kind.TOPIC]
        return Response(PausesSerializer({"pauses": rows}).data)

    @extend_schema(
        operation_id="pauseTopic", summary="Pause a topic", request=TopicPauseBody, responses=PauseSerializer
    )
    def post(self, request: Request) -> Response:
        """Start nothing more of a topic, or of all below it, in the whole cluster; what runs goes on. Said again, the
        new reason and end take the place of the old."""
        given = bodies.read(TopicPauseBody, request)
        topic = given.pop("topic")
        try:
            return _paused(request, Pause.Kind.TOPIC, topic, given)
        except exceptions.PauseInvalid as error:
            found = {"topic" if name == "name" else name: problem for name, problem in error.problems.items()}
            raise exceptions.PauseInvalid(found) from error


class TopicPause(Endpoint):
    @extend_schema(
        operation_id="resumeTopic", summary="Resume a topic", request=None, responses={200: ResumedSerializer}
    )
    def delete(self, request: Request, topic: str) -> Response:
        """End the pause of this topic, named as it was paused: a/b, or a/**. One that is not paused stays as it is."""
        return _resumed(request, Pause.Kind.TOPIC, topic)


def _answer(name: str, status: int = 200) -> Response:
    found = overview.one(name)
    if found is None:
        known = ", ".join(each.name for each in configuration.current())
        raise exceptions.QueueMissing(f"There is no queue {name!r}. Configured are: {known}.")
    return Response(QueueDetailSerializer(found).data, status=status)


def _paused(request: Request, kind: str, name: str, given: Mapping[str, Any]) -> Response:
    row = pauses.pause(kind=kind, name=name, by=access.name_of(request), **given)
    return Response(PauseSerializer(row).data)


def _resumed(request: Request, kind: str, name: str) -> Response:
    was_paused = pauses.resume(kind=kind, name=name, by=access.name_of(request))
    return Response({"was_paused": was_paused})
