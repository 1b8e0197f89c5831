"""Producers in JavaScript, with the clients that people use, and what comes of their messages at the receiving end."""

import subprocess
import sys
import uuid

import pytest
from aiosmtpd.controller import Controller
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from media.models import Image
from reports.models import Report
from tasks.models import Job
from tests.acceptance.conftest import ROOT
from tests.acceptance.seeing import ended
from tests.javascript.running import node
from tests.kafka_cluster import kafka_cluster, new_name
from tests.unit.media.pictures import encoded, four_corners
from tests.waiting import closed_port, wait_for


class Inbox:
    """A mail server that keeps what it is given."""

    def __init__(self) -> None:
        self.received: list[str] = []

    async def handle_DATA(self, server, session, envelope) -> str:
        self.received.append(envelope.content.decode())
        return "250 kept"


@pytest.fixture
def mail():
    inbox, port = Inbox(), closed_port()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield inbox, f"smtp://127.0.0.1:{port}"
    controller.stop()


@pytest.fixture
def picture():
    name = default_storage.save(f"uploads/{uuid.uuid4().hex}.png", ContentFile(encoded(four_corners(), "png")))
    yield name
    default_storage.delete(name)


def envelopes(mark: str, picture: str) -> dict[str, dict]:
    """By the word of its exchange, one envelope of each kind."""
    return {
        "email": {
            "type": "email",
            "id": f"{mark}-email",
            "data": {"to": ["ada@example.org"], "subject": f"Hello {mark}", "text": "from JavaScript"},
        },
        "report": {"type": "report", "id": f"{mark}-report", "data": {"dataset": "job-activity", "formats": ["pdf"]}},
        "image": {"type": "image", "id": f"{mark}-image", "data": {"source": picture}},
    }


def assert_arrived(mark: str, inbox: Inbox) -> None:
    jobs = Job.objects.filter(idempotency_key__startswith=mark)
    wait_for(lambda: jobs.count() == 3, "the jobs of three envelopes")
    assert ended(*jobs) == ["succeeded"] * 3
    assert [mark in message for message in inbox.received] == [True], "the mail has arrived, once"
    of = {job.task: job for job in jobs}
    report = Report.objects.get(job_id=of["report.render"].pk)
    with report.file.open() as file:
        assert file.read(5) == b"%PDF-"
    variants = Image.objects.get(job_id=of["image.process"].pk).variants.all()
    assert {(variant.name, variant.format) for variant in variants} >= {("thumb", "webp"), ("thumb", "jpeg")}
    assert all(default_storage.exists(variant.file.name) for variant in variants)


def test_amqplib_publishes_and_all_of_it_arrives(platform, start_worker, mail, picture):
    inbox, url = mail
    start_worker("-c", "2", EMAIL_URL=url)
    mark = uuid.uuid4().hex
    lines = [
        {"exchange": f"{kind}-exchange", "routingKey": kind, "envelope": envelope}
        for kind, envelope in envelopes(mark, picture).items()
    ]
    node("amqp.js", lines, BROKER_URL=platform["BROKER_URL"])
    assert_arrived(mark, inbox)


def test_kafkajs_publishes_and_all_of_it_arrives(platform, start_worker, mail, picture):
    inbox, url = mail
    start_worker("-c", "2", EMAIL_URL=url)
    mark = uuid.uuid4().hex
    topics = {kind: new_name(f"{kind}s") for kind in ("email", "report", "image")}
    with kafka_cluster() as servers:
        lines = [
            {"topic": topics[kind], "key": "customer-1", "envelope": envelope}
            for kind, envelope in envelopes(mark, picture).items()
        ]
        node("kafka.js", lines, KAFKA_BOOTSTRAP_SERVERS=servers)
        values = {"KAFKA_BOOTSTRAP_SERVERS": servers, "KAFKA_TOPICS": ",".join(topics.values())}
        command = [sys.executable, "manage.py", "bridge", "kafka"]
        bridge = subprocess.Popen(command, cwd=ROOT, env={**platform, **values, "KAFKA_GROUP": new_name("group")})
        try:
            assert_arrived(mark, inbox)
        finally:
            bridge.terminate()
            bridge.wait(30)
