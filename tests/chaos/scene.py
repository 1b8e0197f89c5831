"""What a scenario's body can reach: processes, servers, load and proxy, all to be broken, and the verdict."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connection
from django_celery_results.models import TaskResult
from kombu import Connection

from compose.private import signals
from compose.private.cluster import Cluster
from compose.private.postgresql import PostgreSQL
from compose.private.rabbitmq import RabbitMQ
from project.celery import app as celery
from project.demo.catcher import Catcher
from tasks import publisher
from tasks.api import JobState
from tasks.models import Job, JobEvent
from tests.chaos import evidence, failpoints
from tests.chaos.load import LONGEST_ANSWER_SECONDS, Load
from tests.chaos.orders import Order, errand
from tests.chaos.processes import PlatformProcess, Web, Worker
from tests.chaos.proxy import Proxy
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage, make_vhost
from tests.chaos.verdict import Evidence, Figures, Miss, judge
from tests.waiting import wait_for

LONGEST_SECONDS = 150  # to come to rest after the load has ended
SILENCE_SECONDS = 25  # nothing happened for so long: nothing will


@dataclass
class Scene:
    """What a scenario's body can reach. ``moment`` and ``dice`` draw from the seed; the rest is for breaking."""

    stage: Stage
    scenario: Scenario
    dice: random.Random
    directory: Path
    environment: dict[str, str]
    addresses: dict[str, str]
    catcher: Catcher
    load: Load
    workers: list[Worker]
    webs: list[Web]
    watchers: list[PlatformProcess]
    proxy: Proxy
    strangers_expected: bool = False
    evidence_expected: bool = True
    _misses: list[Miss] = field(default_factory=list)
    _rested: bool = False

    @property
    def broker(self) -> RabbitMQ:
        return self.stage.servers.rabbitmq

    @property
    def database(self) -> PostgreSQL:
        return self.stage.servers.postgresql

    @property
    def cluster(self) -> Cluster:
        assert self.stage.cluster, "the scenario is registered with cluster=True"
        return self.stage.cluster

    @property
    def processes(self) -> list[PlatformProcess]:
        return [*self.workers, *self.webs, *self.watchers]

    def moment(self, low: float = 0.4, high: float = 1.6) -> None:
        """Let the load run on for a random while. Stopped when somebody asks for the end of it all."""
        signals.check()
        time.sleep(self.dice.uniform(low, high))

    def place(self, *orders: Order) -> list[UUID]:
        """More jobs beside the load's, accepted now."""
        return self.load.place(*orders)

    def busy_worker(self) -> Worker:
        """One of the workers, drawn among those that run jobs just now, and will for a second or two."""
        self.place(*(errand(seconds=self.dice.uniform(1.5, 3)) for _ in range(2 * len(self.workers) + 1)))
        busy: list[Worker] = []

        def some_are() -> bool:
            running = Job.objects.filter(state=JobState.RUNNING, task="chaos.errand", payload__seconds__gt=1)
            names = set(running.values_list("worker__name", flat=True))
            busy[:] = [worker for worker in self.workers if any(name.startswith(f"{worker.name}@") for name in names)]
            return bool(busy)

        wait_for(some_are, "a worker to be busy")
        return self.dice.choice(busy)

    def restart_the_dead(self) -> None:
        """Start again whoever has killed itself at a place of ours (failpoints.py)."""
        wait_for(lambda: any(process.ended_by_itself for process in self.processes), "its death")
        for process in self.processes:
            if process.ended_by_itself:
                process.start()

    def serve_again(self) -> None:
        """Wait until each web server has replaced a worker that killed itself; start those again that gave up."""
        wait_for(lambda: all(web.ended_by_itself or web.is_ready() for web in self.webs), "every web server")
        for process in self.processes:
            if process.ended_by_itself:
                process.start()

    def place_and_see_run(self, *, seconds: float = 60) -> None:
        """Five jobs more, which must run before anything else is done."""
        jobs = self.place(*[errand()] * 5)

        def have_ended() -> bool:
            return not Job.objects.filter(pk__in=jobs, finished_at=None).exists()

        wait_for(have_ended, "jobs to run in spite of it", seconds)

    def on_broker(self, act: Callable[[Any], object]) -> None:
        """Do something with a channel to the broker, past any proxy."""
        with Connection(self.addresses["BROKER_URL"]) as connection:
            act(connection.default_channel)

    def remote_control(self, command: str) -> None:
        """Send every worker one of Celery's control commands, past any proxy."""
        with Connection(self.addresses["BROKER_URL"]) as connection:
            celery.control.broadcast(command, connection=connection)

    def make_vhost_again(self) -> None:
        """A broker that lost its disk has forgotten its vhosts; whoever runs it makes them, as at its first start."""
        make_vhost(self.addresses)

    def kill_database_sessions(self) -> None:
        """All but the one that asks."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def worker(self, name: str, *options: str, **environment: str) -> Worker:
        """A further worker, not started yet."""
        worker = Worker(name, self.directory, {**self.environment, **environment}, options=options or ("-c", "2"))
        self.workers.append(worker)
        return worker

    def arm(self, name: str) -> None:
        """Let the next process that gets to the place ``name`` die there (failpoints.py)."""
        failpoints.arm(self.directory, name)

    def wait_until_struck(self, name: str) -> None:
        wait_for(lambda: failpoints.struck(self.directory, name), f"a process to {name.replace('-', ' ')}")

    def lost_attempts(self) -> int:
        """Attempts that were recorded as lost with their process."""
        return self.attempts_that_said('"WorkerLost"')

    def attempts_that_said(self, text: str) -> int:
        """Attempts with ``text`` in the record of how they ended."""
        return TaskResult.objects.filter(result__contains=text).count()

    def events(self, kind: str, job_id: UUID | None = None) -> list[JobEvent]:
        found = JobEvent.objects.filter(kind=kind)
        return list(found if job_id is None else found.filter(job_id=job_id))

    def rest(self) -> None:
        """End the load, and wait until every job has ended or nothing happens any more."""
        if self._rested:
            return
        self._rested = True
        self.load.stop()
        publisher.flush(20)
        deadline = time.monotonic() + LONGEST_SECONDS
        latest, changed_at = -1, time.monotonic()
        while evidence.unfinished() and time.monotonic() < min(deadline, changed_at + SILENCE_SECONDS):
            if (newest := JobEvent.objects.count()) != latest:
                latest, changed_at = newest, time.monotonic()
            signals.check()
            time.sleep(0.2)

    def demand(self, holds: bool, what: str, job_id: UUID | None = None) -> None:
        """Something that must hold beyond the arithmetic."""
        if not holds:
            self._misses.append(Miss(job_id, what))

    def gather(self) -> Evidence:
        found = evidence.gather(self.load.accepted, self.directory, self.catcher)
        found.strangers_expected, found.evidence_expected = self.strangers_expected, self.evidence_expected
        found.copies_expected = self.scenario.copies
        return found

    def verdict(self) -> tuple[Figures, list[Miss], Evidence]:
        """The arithmetic, what the scenario demands beyond it, and what holds for every scenario."""
        self.rest()
        for process in self.processes:
            self.demand(not process.ended_by_itself, f"{process.name} ended by itself with {process.exit_code}")
        for complaint in self.load.complaints:
            self.demand(False, complaint)
        slowest = self.load.slowest_answer_seconds
        self.demand(slowest < LONGEST_ANSWER_SECONDS / 2, f"an answer over HTTP took {slowest:.0f} s")
        found = self.gather()
        figures, misses = judge(found)
        return figures, [*misses, *self._misses], found
