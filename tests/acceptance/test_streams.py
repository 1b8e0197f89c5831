"""Jobs followed by HTTP through the load balancer of production: two API servers, one for streams, and their deaths."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from django.utils import timezone

from compose.private.nginx import balancer
from tasks import brokers
from tasks.following import TOLD
from tasks.models import ApiToken, Job, JobEvent
from tasks.states import JobState
from tasks.transitions import change
from tests.acceptance.site import Server, answers
from tests.acceptance.sse import EventSource
from tests.chaos.proxy import Proxy
from tests.unit.tasks.factories import make_job
from tests.waiting import closed_port, wait_for


class Site:
    """nginx in front of api-1, api-2 and stream-1."""

    def __init__(self, environment: dict[str, str], directory: Path):
        self.servers = {
            name: Server(name, what, environment, directory)
            for name, what in (("api-1", "web"), ("api-2", "web"), ("stream-1", "streams"))
        }
        port = closed_port()
        self.url = f"http://127.0.0.1:{port}"
        ports = {name: server.port for name, server in self.servers.items()}
        self._balancer = balancer(directory / "nginx", port, ports)
        self._balancer.start()

    def wait_until_ready(self) -> None:
        for url in (self.url, *(server.url for server in self.servers.values())):
            wait_for(lambda url=url: answers(url), url)

    def kill(self, name: str) -> None:
        """kill -9 of the server and all its workers."""
        self.servers[name].process.kill()

    def start(self, name: str) -> None:
        self.servers[name].process.start()
        wait_for(lambda: answers(self.servers[name].url), name)

    def end(self) -> None:
        for process in (self._balancer, *(server.process for server in self.servers.values())):
            process.kill()


@pytest.fixture(scope="module")
def token(committed) -> Iterator[str]:
    token, text = ApiToken.issue("streams", ["jobs:read", "jobs:read_all", "jobs:write"])
    yield text
    token.delete()


@pytest.fixture
def site(platform, tmp_path) -> Iterator[Site]:
    brokers.connect().apply_topology()
    running = Site(platform, tmp_path)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.end()


@pytest.fixture
def follow(token) -> Iterator[Callable[[str, Job], EventSource]]:
    sources: list[EventSource] = []

    def start(url: str, job: Job) -> EventSource:
        source = EventSource(f"{url}/api/v1/jobs/{job.pk}/stream", token)
        sources.append(source)
        wait_for(lambda: source.events, "the first event")
        return source

    yield start
    for source in sources:
        source.close()


def begun() -> Job:
    """A queued job of which no message was sent, so that only the test changes it."""
    job = make_job()
    JobEvent.objects.create(job=job, kind="queued")
    return job


def make_an_attempt(job: Job, *, pause_seconds: float = 0.0) -> None:
    """One that fails and is queued again: three events, and two pieces of progress."""
    assert change(job.pk, source=JobState.QUEUED, target=JobState.RUNNING, burn=True)
    for done in (1, 2):
        Job.objects.filter(pk=job.pk).update(progress_done=done, progress_total=2)
        time.sleep(pause_seconds)
    assert change(job.pk, source=JobState.RUNNING, target=JobState.RETRYING, due_at=timezone.now())
    assert change(job.pk, source=JobState.RETRYING, target=JobState.QUEUED, due_at=None)
    Job.objects.filter(pk=job.pk).update(progress_done=0, progress_total=None)


def succeed(job: Job) -> None:
    change(job.pk, source=JobState.QUEUED, target=JobState.RUNNING, burn=True)
    assert change(job.pk, source=JobState.RUNNING, target=JobState.SUCCEEDED, result={"a": 1})


def heard(source: EventSource) -> list[int]:
    """The ids of the events that were told, in the order in which they were."""
    return [int(id.split("-")[0]) for id in source.ids("state")]


def happened(job: Job) -> list[int]:
    return list(job.events.filter(kind__in=TOLD).order_by("id").values_list("id", flat=True))


def test_a_follower_misses_nothing_and_hears_nothing_twice_whatever_is_killed(site, follow):
    job = begun()
    source = follow(site.url, job)
    for number in range(30):
        match number:
            case 5:
                site.kill("stream-1")
            case 12:
                site.kill("api-1")
            case 18:
                threading.Thread(target=site.start, args=["stream-1"]).start()
        make_an_attempt(job, pause_seconds=0.2)
    succeed(job)
    wait_for(lambda: source.is_over, "the client to be told that there is no more", 30)
    assert source.status == 204
    assert heard(source) == happened(job), "each once, in order"
    everything = [event.id for event in source.events]
    assert len(set(everything)) == len(everything)
    assert source.ids("progress")
    assert source.events[-1].data["job"]["result"] == {"a": 1}
    assert source.connections > 3, "it was cut off, served by polling, and by a stream again"


def test_who_prefers_to_wait_is_answered_with_the_outcome(site, start_worker, token):
    start_worker()  # for this test alone: it would take the jobs of the others, which no worker runs, for lost
    headers = {"Authorization": f"Bearer {token}", "Prefer": "wait=10"}
    body = {"task": "probe.nap", "payload": {"seconds": 0.3}}
    response = httpx.post(f"{site.url}/api/v1/jobs", json=body, headers=headers, timeout=15)
    assert (response.status_code, response.json()["state"]) == (200, "succeeded")
    assert 0.3 < response.elapsed.total_seconds() < 5
    assert response.headers["Preference-Applied"] == "wait=10"


def test_those_who_wait_leave_threads_for_the_others(start_server, token):
    web = start_server("web")
    brokers.connect().apply_topology()
    headers = {"Authorization": f"Bearer {token}", "Prefer": "wait=4"}
    body = {"task": "probe.nap", "payload": {"seconds": 1.5}}
    applied: list[bool] = []

    def post() -> None:
        response = httpx.post(f"{web.url}/api/v1/jobs", json=body, headers=headers, timeout=15)
        assert response.status_code in (200, 202)
        applied.append("Preference-Applied" in response.headers)

    posts = [threading.Thread(target=post) for _ in range(7)]
    for thread in posts:
        thread.start()
    wait_for(lambda: len(applied) == 5, "those beyond MAX_WAITING_REQUESTS", 1.4)
    assert not any(applied)
    assert answers(web.url)
    for thread in posts:
        thread.join()
    assert sum(applied) == 2


def test_a_stop_ends_streams_at_once_and_says_when_to_come_again(start_server, follow):
    server, job = start_server("streams"), begun()
    source = follow(server.url, job)
    began = time.monotonic()
    server.process.ask_to_stop()
    wait_for(lambda: not server.process.is_alive(), "the server to end")
    assert (server.process.exit_code, time.monotonic() - began < 5) == (0, True)
    assert not any("incomplete" in lost for lost in source.lost), "the stream was ended, not cut off"


def test_streams_outlive_an_outage_of_the_database(platform, start_server, follow):
    address = urlsplit(platform["DATABASE_URL"])
    if address.scheme == "sqlite":
        pytest.skip("SQLite can not be away")
    proxy = Proxy((str(address.hostname), int(address.port or 5432)))
    netloc = address.netloc.replace(f":{address.port}", f":{proxy.port}")
    server, job = start_server("streams", DATABASE_URL=address._replace(netloc=netloc).geturl()), begun()
    try:
        source = follow(server.url, job)
        proxy.refuse()
        make_an_attempt(job)
        wait_for(lambda: "can not be reached" in server.process.log.read_text(), "the outage to be noticed")
        proxy.resume()
        succeed(job)
        wait_for(lambda: source.is_over, "the end of the job to be told")
    finally:
        proxy.close()
    assert heard(source) == happened(job)
    assert source.connections == 1, "the stream that it began with lasted"


def test_a_caller_has_so_many_streams_and_no_more(start_server, follow, token):
    server, jobs = start_server("streams"), [begun() for _ in range(4)]
    sources = [follow(server.url, job) for job in jobs[:3]]
    url, headers = f"{server.url}/api/v1/jobs/{jobs[3].pk}/stream", {"Authorization": f"Bearer {token}"}
    refused = httpx.get(url, headers=headers)
    assert (refused.status_code, refused.json()["type"]) == (429, "/api/v1/problems/too-many-streams")
    assert int(refused.headers["Retry-After"]) > 0
    succeed(jobs[0])
    wait_for(lambda: sources[0].is_over, "a stream to end")
    follow(server.url, jobs[3])


def test_a_client_that_hangs_up_is_noticed(start_server, token):
    server, job = start_server("streams"), begun()
    headers = {"Authorization": f"Bearer {token}"}
    for _ in range(10):  # three at once would be the most
        with httpx.stream("GET", f"{server.url}/api/v1/jobs/{job.pk}/stream", headers=headers) as response:
            wait_for(lambda: response.status_code in (200, 429), "an answer")
            assert next(response.iter_text()).startswith("retry")
        time.sleep(0.1)


def test_a_job_is_told_to_many_at_once(start_server, follow):
    server, job = start_server("streams"), begun()
    sources = [follow(server.url, job) for _ in range(3)]
    make_an_attempt(job, pause_seconds=0.3)
    succeed(job)
    wait_for(lambda: all(source.is_over for source in sources), "all to be told the end")
    assert [heard(source) for source in sources] == [happened(job)] * 3
