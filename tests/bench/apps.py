"""What the platform's processes load of us: the task of the bench."""

from django.apps import AppConfig


class BenchConfig(AppConfig):
    name = "tests.bench"
