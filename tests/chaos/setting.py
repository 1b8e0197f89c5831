"""Set the scene: a database, a vhost and processes of its own for one scenario, and all of it gone afterwards."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connections
from PIL import Image

from project.demo.catcher import Catcher
from tasks.models import ApiToken
from tests.chaos import evidence
from tests.chaos.load import Load
from tests.chaos.orders import picture, report
from tests.chaos.processes import Flower, Web, Worker, free_port
from tests.chaos.proxy import Proxy
from tests.chaos.scenario import Scenario
from tests.chaos.scene import Scene
from tests.chaos.stage import Stage, use_broker, use_database

ENVIRONMENT = {
    "EXTRA_APPS": "tests.probes,project.demo,tests.chaos",
    "RELAY_GRACE_SECONDS": "2",
    "WORKER_STALE_SECONDS": "5",
    "BROKER_HEARTBEAT_SECONDS": "4",
    "POISON_LIMIT": "50",  # innocent jobs are hit often; the scenario about poison sets its own
}


@contextmanager
def played(stage: Stage, scenario: Scenario, seed: int, mutation: str) -> Iterator[Scene]:
    """The scene with its processes ready and its load running; all ended afterwards, whatever happens."""
    directory = stage.directory / scenario.name
    directory.mkdir(parents=True, exist_ok=True)
    with (
        stage.broker_set(scenario.broker_settings),
        stage.addresses(scenario.name, cluster=scenario.cluster) as addresses,
        Catcher() as catcher,
    ):
        use_database(addresses["DATABASE_URL"])
        use_broker(addresses)
        proxy = Proxy(_address(addresses["BROKER_URL"]))
        environment = {
            **os.environ,
            **ENVIRONMENT,
            **addresses,
            "EMAIL_URL": catcher.url,
            "CHAOS_DIRECTORY": str(directory),
            "CHAOS_MUTATION": mutation,
            **scenario.environment,
        }
        if scenario.proxied:
            environment["BROKER_URL"] = _through(addresses["BROKER_URL"], proxy)
        options = ("-c", "2", "--pool", scenario.pool)
        numbers = range(1, scenario.workers + 1)
        workers = [Worker(f"worker-{n}", directory, environment, options=options) for n in numbers]
        webs = [Web(f"web-{n}", directory, environment, port=free_port()) for n in range(1, scenario.webs + 1)]
        _, token = ApiToken.issue("chaos", ["jobs:write"], rate_per_minute=0)
        load = Load([web.url for web in webs], token, f"{seed} {scenario.name}")
        dice = random.Random(f"{seed} {scenario.name}")
        watchers = [Flower(directory, environment, port=free_port())] if scenario.flower else []
        scene = Scene(
            stage, scenario, dice, directory, environment, addresses, catcher, load, workers, webs, watchers, proxy
        )
        try:
            if scenario.seasoned:
                stage.season()
            for process in scene.processes:
                process.launch()
            for process in scene.processes:
                process.wait_until_ready()
            if webs:
                load.place(report(), picture(_small_picture()))
            load.start()
            yield scene
        finally:
            load.stop()
            for process in scene.processes:
                process.ask_to_end()
            for process in scene.processes:
                process.end()
            stage.mend()
            evidence.delete_files()
            connections.close_all()
            use_broker(addresses)  # a fresh publisher: the old one may hold what it could not send
            proxy.close()


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 5672


def _through(url: str, proxy: Proxy) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}").geturl()


def _small_picture() -> str:
    """Name of a stored picture that takes no time to convert."""
    name = "chaos/small.png"
    if not default_storage.exists(name):
        content = ContentFile(b"")
        Image.new("RGB", (320, 200), (90, 140, 235)).save(content.file, "PNG")
        default_storage.save(name, content)
    return name
