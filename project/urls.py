"""URL root."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from project.http import api

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    path("health/", include("tasks.monitoring.views")),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
