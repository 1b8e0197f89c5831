"""/health/…: answered without a session, since monitors have none."""

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tasks.monitoring.health import queue_health, readiness


@never_cache
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """This process answers. Asks nothing else: one broken neighbour must not restart every process."""
    return JsonResponse({"status": "OK"})


@never_cache
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """Work sent here is accepted and kept; 503 when it is not."""
    found = readiness()
    return JsonResponse(
        {"status": "OK" if found.ready else "Error", "checks": found.checks}, status=200 if found.ready else 503
    )


@never_cache
@require_safe
def queue(request: HttpRequest) -> JsonResponse:
    """503 when work piles up, or nobody can tell."""
    health = queue_health()
    body = {
        "status": health.status,
        "message": health.message,
        "messageCount": health.message_count,
        "threshold": settings.TASKS_HEALTH_MAX_MESSAGES,
        "queues": health.depths,
        "paused": sorted(health.paused),
    }
    return JsonResponse(body, status=200 if health.status == "OK" else 503)


urlpatterns = [path("live", live), path("ready", ready), path("queue", queue)]
