"""URL root."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from project.http import api


def favicon(request: HttpRequest) -> HttpResponse:
    """Pages that name no icon (the API's docs) are asked for this address by every browser."""
    return redirect(static("tasks/favicon.svg"))


urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    path("health/", include("tasks.monitoring.views")),
    path("favicon.ico", favicon),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
