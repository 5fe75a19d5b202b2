"""The Offloading Browser's address for programs, as clients of Granite know it: `.list.json` and `.config.html`.

Shapes and names are theirs. A session is needed, and to change something its CSRF token as X-CSRFToken.
"""

from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_GET, require_POST

from offloading import exceptions, services
from offloading.views.instances import FIELD


@require_GET
def topics(request: HttpRequest) -> JsonResponse:
    """List the topics with their instances."""
    blocks = services.topic_table()
    return JsonResponse({"topics": [{"topic": block.topic, "instances": _instances(block)} for block in blocks]})


@require_POST
def configure(request: HttpRequest) -> HttpResponse:
    """Carry out `config:<topic>` = enable, disable or exclusive on the instance `slingID`; seen later in the list."""
    if not request.user.is_staff:
        return HttpResponse("Only staff may switch topics.", status=403, content_type="text/plain")
    actions = {name.removeprefix(FIELD): request.POST[name] for name in request.POST if name.startswith(FIELD)}
    if not actions:
        return HttpResponse(f"Nothing to do: send {FIELD}<topic>.", status=400, content_type="text/plain")
    try:
        services.configure_instance(
            sling_id=request.POST.get("slingID", ""), actions=actions, by=request.user.get_username()
        )
    except (exceptions.InstanceUnknown, exceptions.SwitchInvalid) as error:
        return HttpResponse(str(error), status=400, content_type="text/plain")
    return HttpResponse("Accepted; the list shows it once the instance has confirmed.", content_type="text/plain")


def _instances(block: services.TopicBlock) -> list[dict[str, object]]:
    return [
        {
            "slingID": row.instance.sling_id,
            "ip": urlsplit(row.instance.endpoint).hostname or "",
            "port": str(urlsplit(row.instance.endpoint).port or ""),
            "cluster": row.instance.cluster_id,
            "topicEnabled": row.is_enabled,
        }
        for row in block.rows
    ]
