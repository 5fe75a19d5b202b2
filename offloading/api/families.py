"""/api/v1/failure-families/: failures that are alike, and what can be done to all jobs of one."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from offloading.api import access, bodies, jobs, problems
from offloading.api.bodies import Body, Choice
from offloading.api.endpoint import Endpoint
from offloading.api.job_serializers import JobSerializer
from offloading.jobs import families, remedies

MAX_LIMIT = 200


class FamilySerializer(serializers.Serializer[families.FamilyRow]):
    """Failures that are alike, and the jobs that stand in the history with one of them."""

    fingerprint = serializers.CharField(source="family.fingerprint")
    topic = serializers.CharField(source="family.topic")
    error = serializers.CharField(
        source="family.error", help_text="The exception; empty if the consumer reported the failure itself."
    )
    place = serializers.CharField(source="family.place", help_text="module:function:line, or empty.")
    message = serializers.CharField(source="family.message", help_text="That of the latest failure.")
    first_seen_at = serializers.DateTimeField(source="family.first_seen_at")
    last_seen_at = serializers.DateTimeField(source="family.last_seen_at")
    jobs = serializers.IntegerField(help_text="How many failed jobs it has now.")
    latest_at = serializers.DateTimeField(allow_null=True, help_text="When the latest of these ended.")
    latest_jobs = serializers.ListField(child=serializers.UUIDField(), source="sample")
    instances = serializers.ListField(child=serializers.CharField(), help_text="Where the latest few were tried.")

    class Meta:
        ref_name = "FailureFamily"


class FamiliesSerializer(serializers.Serializer[Any]):
    families = FamilySerializer(many=True)

    class Meta:
        ref_name = "FailureFamilies"


class FamilyParameters(Body):
    q = serializers.CharField(
        required=False, allow_blank=True, max_length=500, help_text="Words in topic, error, place or message."
    )
    order = Choice(
        required=False, choices=[each.value for each in families.Order], help_text="jobs: the most first (usual)."
    )
    limit = serializers.IntegerField(required=False, min_value=1, max_value=MAX_LIMIT, default=MAX_LIMIT)


class Families(Endpoint):
    @extend_schema(
        operation_id="listFailureFamilies",
        summary="List the failure families",
        parameters=[FamilyParameters],
        responses=FamiliesSerializer,
    )
    def get(self, request: Request) -> Response:
        """Return the families that have failed jobs now."""
        asked = bodies.read_query(FamilyParameters, request)
        order = families.Order(asked.get("order", families.Order.JOBS))
        found = families.overview(asked["limit"], words=asked.get("q", ""), order=order)
        return Response(FamiliesSerializer({"families": found}).data)


class OneFamily(Endpoint):
    @extend_schema(operation_id="getFailureFamily", summary="Tell of a failure family", responses=FamilySerializer)
    def get(self, request: Request, fingerprint: str) -> Response:
        """Return a family, also if it has no failed job now. Its jobs: GET /api/v1/jobs/?family=…"""
        return Response(FamilySerializer(_found(fingerprint)).data)


class FamilyRetryOne(Endpoint):
    @extend_schema(
        operation_id="retryOneOfFamily", summary="Retry one job of a family", request=None, responses=JobSerializer
    )
    def post(self, request: Request, fingerprint: str) -> Response:
        """Retry its latest job, to see whether it works now. 404 if none of its jobs can be retried here."""
        bodies.read(bodies.Nothing, request)
        _found(fingerprint)
        return Response(JobSerializer(remedies.retry_one(fingerprint, by=access.name_of(request))).data)


class FamilyRetryAll(Endpoint):
    @extend_schema(
        operation_id="retryAllOfFamily",
        summary="Retry all jobs of a family",
        request=None,
        responses={202: JobSerializer},
    )
    def post(self, request: Request, fingerprint: str) -> Response:
        """Have all its failed jobs retried. Returns the job that does it. 400 if it has none any more."""
        bodies.read(bodies.Nothing, request)
        _found(fingerprint)
        return jobs.under_way(remedies.retry_all(fingerprint, by=access.name_of(request)))


class FamilyRemove(Endpoint):
    @extend_schema(
        operation_id="removeAllOfFamily",
        summary="Remove all jobs of a family",
        request=None,
        responses={202: JobSerializer},
    )
    def post(self, request: Request, fingerprint: str) -> Response:
        """Have all its failed jobs removed from the history. Returns the job that does it. 400 if it has none any
        more."""
        bodies.read(bodies.Nothing, request)
        _found(fingerprint)
        return jobs.under_way(remedies.remove_all(fingerprint, by=access.name_of(request)))


def _found(fingerprint: str) -> families.FamilyRow:
    found = families.look(fingerprint)
    if found is None:
        text = f"There is no failure family {fingerprint!r}. Nothing failed like that lately."
        remedy = "Choose one of those that GET /api/v1/failure-families/ lists."
        wrong = problems.Wrong("", text, remedy)
        raise problems.Refusal(404, "family-missing", "There is no such failure family", text, [wrong])
    return found
