"""Nothing but the row's app and one view."""

from tests.bench.contestants.settings import *  # noqa: F403  that is the point

ROOT_URLCONF = "project.urls"
ALLOWED_HOSTS = ["127.0.0.1"]
