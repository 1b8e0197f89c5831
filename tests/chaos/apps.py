"""What the platform's processes load of us: tasks, places where a process may kill itself, a clock, a mutation."""

import os
from pathlib import Path

from django.apps import AppConfig


class ChaosConfig(AppConfig):
    name = "tests.chaos"

    def ready(self) -> None:
        from tasks import publisher
        from tests.chaos import clock, failpoints, mutations

        failpoints.install()
        if file := os.environ.get("CHAOS_CLOCK"):
            clock.install(Path(file))
        if mutation := os.environ.get("CHAOS_MUTATION"):
            mutations.MUTATIONS[mutation]()
        if os.environ.get("CHAOS_PUBLISH_ON_LOAD"):
            publisher.publish([])  # starts its thread
            publisher.flush()
