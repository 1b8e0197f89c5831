"""A view as any Django team would write it: a row, then its message."""

import json

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from tests.bench.contestants.celery import submit


def live(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def jobs(request: HttpRequest) -> JsonResponse:
    job = submit(json.loads(request.body)["payload"])
    return JsonResponse({"id": str(job.id), "state": job.state}, status=202)


urlpatterns = [path("health/live", live), path("api/v1/jobs", jobs)]
