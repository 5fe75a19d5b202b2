"""What all addresses of the API share."""

from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from offloading.api import bodies, problems


class Endpoint(APIView):
    """An address of the API. `max_bytes` is the largest body that it takes."""

    max_bytes = bodies.MAX_BYTES

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if any("\0" in str(value) for value in kwargs.values()):
            raise NotFound("There is nothing at an address with a NUL character.")
        if request.headers.get("Transfer-Encoding"):
            text = "The length of the body is not told."
            raise problems.Refusal(411, "length-required", "Length required", text)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        answer: Response = super().finalize_response(request, response, *args, **kwargs)
        answer.headers["Cache-Control"] = "no-store"
        return answer


class Nowhere(Endpoint):
    """Any other address below /api/v1/."""

    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        raise NotFound(f"There is nothing at {request.path}.")
