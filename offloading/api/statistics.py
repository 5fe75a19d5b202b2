"""/api/v1/jobs/statistics/: what happened to jobs, under Sling's names."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from offloading import exceptions
from offloading.api import access, bodies
from offloading.api.bodies import Body, Text
from offloading.api.endpoint import Endpoint
from offloading.jobs import metrics, statistics

_COUNTS = (
    "numberOfFinishedJobs",
    "numberOfFailedJobs",
    "numberOfCancelledJobs",
    "numberOfProcessedJobs",
    "lastActivatedJobTime",
    "lastFinishedJobTime",
    "averageWaitingTime",
    "averageProcessingTime",
)
_NOW = ("startTime", "numberOfJobs", "numberOfActiveJobs", "numberOfQueuedJobs")


class CountsSerializer(serializers.Serializer[Any]):
    """What became of the jobs of a topic since the last reset. Times are milliseconds since 1970, -1 = never."""

    name = serializers.CharField()

    class Meta:
        ref_name = "JobCounts"

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), **{name: serializers.IntegerField() for name in _COUNTS}}


class QueueStatisticsSerializer(CountsSerializer):
    """The same with what waits and runs now; `name` "" = everything."""

    class Meta:
        ref_name = "JobStatistics"

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), **{name: serializers.IntegerField() for name in _NOW}}


class StatisticsSerializer(serializers.Serializer[Any]):
    """The statistics of the cluster or of one instance. `gauges` has those of Sling by their names."""

    everything = QueueStatisticsSerializer()
    queues = QueueStatisticsSerializer(many=True)
    topics = CountsSerializer(many=True)
    gauges = serializers.DictField(child=serializers.IntegerField())

    class Meta:
        ref_name = "Statistics"


class StatisticsParameters(Body):
    instance = serializers.CharField(required=False, max_length=36, help_text="A sling id: that instance alone.")


class ResetBody(Body):
    """What begins anew: a queue, or everything."""

    queue = Text(required=False, help_text="Without: all queues and topics.")


class Statistics(Endpoint):
    @extend_schema(
        operation_id="getStatistics",
        summary="Tell what happened to jobs",
        parameters=[StatisticsParameters],
        responses=StatisticsSerializer,
    )
    def get(self, request: Request) -> Response:
        """Return the statistics since the last reset: of everything, of each queue and of each topic."""
        instance = bodies.read_query(StatisticsParameters, request).get("instance", "")
        return Response(
            {
                "everything": statistics.of_everything(instance=instance).as_json(),
                "queues": [each.as_json() for each in statistics.of_queues(instance=instance)],
                "topics": [each.as_json() for each in statistics.of_topics(instance=instance)],
                "gauges": metrics.inventory(instance=instance),
            }
        )


class StatisticsReset(Endpoint):
    @extend_schema(operation_id="resetStatistics", summary="Begin anew", request=ResetBody, responses={204: None})
    def post(self, request: Request) -> Response:
        """Let the statistics of a queue begin anew, or all of them. Nothing is deleted, what waits and runs stays."""
        queue = bodies.read(ResetBody, request).get("queue", "")
        if queue and queue not in {each.name for each in statistics.of_queues()}:
            raise exceptions.QueueMissing(f"Queue {queue!r} has no statistics.")
        statistics.reset(queue, by=access.name_of(request))
        return Response(status=204)
