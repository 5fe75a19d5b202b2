"""What stands in the OpenAPI document with every operation: the problems, and that unknown fields are refused.

`make openapi` writes the document.
"""

from typing import Any

from drf_spectacular.openapi import AutoSchema

from offloading.api import bodies, problems


class Schema(AutoSchema):
    """Operations that can each be refused with a problem."""

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        answers: dict[str, Any] = super()._get_response_bodies(direction)
        problem = self._get_response_for_code(  # type: ignore[no-untyped-call]
            problems.ProblemSerializer, "default", [problems.MEDIA_TYPE], direction
        )
        return {**answers, "default": {**problem, "description": "What is wrong, and what to do about it."}}

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> dict[str, Any]:
        found: dict[str, Any] = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        return found | {"additionalProperties": False} if isinstance(serializer, bodies.Body) else found
