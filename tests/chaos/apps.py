"""What the platform's processes load of us: tasks, places where a process may kill itself, and at most one mutation."""

import os

from django.apps import AppConfig


class ChaosConfig(AppConfig):
    name = "tests.chaos"

    def ready(self) -> None:
        from tests.chaos import failpoints, mutations

        failpoints.install()
        if mutation := os.environ.get("CHAOS_MUTATION"):
            mutations.MUTATIONS[mutation]()
