"""What happens to messages: garbage, copies, and the deaths of those who carry them."""

import random
import subprocess
import sys
import uuid

import amqp
from django.db import transaction

from tasks import brokers, publisher
from tasks.models import DeadLetter, Job
from tests.chaos import failpoints
from tests.chaos.orders import errand, strict
from tests.chaos.processes import ROOT
from tests.chaos.scenario import scenario
from tests.chaos.scene import Scene
from tests.waiting import wait_for

JSON = {"content_type": "application/json"}
OURS = {"task": "chaos.errand", "id": f"{uuid.UUID(int=0)}.1"}
NO_ARGUMENTS = b"[[], {}, {}]"

# What is wrong: bytes, headers, properties; and the reason that the dead letter gives.
GARBAGE = {
    "not JSON": (b"\xff\xfe\x00", OURS, JSON, "undecodable"),
    "truncated Celery message": (b"[[], {}", OURS, JSON, "undecodable"),
    "pickle": (b"\x80\x04N.", OURS, {"content_type": "application/x-python-serialize"}, "undecodable"),
    "no content type": (NO_ARGUMENTS, OURS, {}, "undecodable"),
    "ten megabytes": (b"x" * 10_000_000, OURS, JSON, "undecodable"),
    "no headers": (b"{}", {}, JSON, "unknown_message"),
    "arguments in the message": (b'[["x"], {}, {}]', OURS, JSON, "unknown_message"),
    "unknown task": (NO_ARGUMENTS, {**OURS, "task": "no.such"}, JSON, "unknown_task"),
    "id of no job": (NO_ARGUMENTS, OURS, JSON, "unknown_message"),
    "id of nothing": (NO_ARGUMENTS, {**OURS, "id": "odd"}, JSON, "unknown_message"),
}


@scenario("garbage-acked", "collector-off")
def garbage_messages(scene: Scene, dice: random.Random) -> None:
    """Every kind of garbage arrives among the jobs: each is one dead letter with its cause, its bytes and its headers,
    no worker ends, and every good job runs."""
    scene.strangers_expected = True
    (wrong_schema,) = scene.place(errand("dead"))
    Job.objects.filter(pk=wrong_schema).update(payload={"seconds": "many"})
    sent = {}
    for kind in dice.sample(list(GARBAGE), len(GARBAGE)):
        sent[_send(scene, kind)] = kind
        scene.moment(0.1, 0.5)
    scene.rest()
    letters = DeadLetter.objects.filter(job=None)
    wait_for(lambda: letters.count() >= len(sent), "the garbage to be collected", 30)
    found = {letter.properties.get("message_id"): (bytes(letter.body), letter.reason) for letter in letters}
    wanted = {message_id: (GARBAGE[kind][0], GARBAGE[kind][3]) for message_id, kind in sent.items()}
    for message_id, kind in sent.items():
        scene.demand(found.get(message_id) == wanted[message_id], f"{kind}: kept with its bytes and its cause")
    scene.demand(letters.count() == len(sent), f"{len(sent)} dead letters, not {letters.count()}")
    letter = DeadLetter.objects.filter(job_id=wrong_schema).first()
    told = letter and letter.reason
    scene.demand(told == "invalid_payload", f"a payload that breaks its schema is told, not {told}", wrong_schema)


def _send(scene: Scene, kind: str) -> str:
    body, headers, properties, _ = GARBAGE[kind]
    message_id = uuid.uuid4().hex
    message = amqp.Message(body, application_headers=headers, message_id=message_id, delivery_mode=2, **properties)
    scene.on_broker(lambda channel: channel.basic_publish_confirm(message, "work-exchange", "work"))
    return message_id


@scenario("fencing-off", copies=True)
def double_delivery(scene: Scene, dice: random.Random) -> None:
    """Each message of forty jobs is delivered five times: each job runs once, and four duplicates stand in its history,
    because a claim is a compare-and-set."""
    copied = []
    for _ in range(4):
        scene.moment()
        with transaction.atomic():
            ids = scene.place(*(errand(seconds=dice.choice([0, 0.3])) for _ in range(10)))
            messages = [brokers.JobMessage(job_id, 1, "chaos.errand", "work-queue") for job_id in ids]
            transaction.on_commit(lambda messages=messages: publisher.publish(messages * 4))
        copied += ids
    scene.rest()
    for job_id in copied:
        wait_for(lambda job_id=job_id: len(scene.events("duplicate", job_id)) >= 4, "the copies to be dropped", 15)
        suppressed = len(scene.events("duplicate", job_id))
        scene.demand(suppressed == 4, f"four duplicates were suppressed, not {suppressed}", job_id)


@scenario("relay-off")
def relay_sigkill_mid_publish(scene: Scene, dice: random.Random) -> None:
    """The relay's process dies in the middle of a batch, three times: the rest of the batch has no message, and the
    next relay finds that out."""
    for _ in range(3):
        scene.place(*[errand(options={"delay_seconds": 1})] * 20)
        scene.arm(failpoints.BETWEEN_MESSAGES)
        scene.wait_until_struck(failpoints.BETWEEN_MESSAGES)
        scene.moment(0.1, 0.5)
        scene.restart_the_dead()
    scene.rest()
    scene.demand(bool(scene.events("republished")), "the relay found what was never published")


@scenario("evidence-key-off", "collector-off")
def collector_sigkill_before_ack(scene: Scene, dice: random.Random) -> None:
    """The collector's process dies between the commit of a dead letter and its acknowledgement, three times: the
    message comes again and leaves no second row."""
    scene.strangers_expected = True
    for number in range(1, 4):
        scene.moment()
        scene.arm(failpoints.COLLECTED)
        _send(scene, "no headers")
        scene.wait_until_struck(failpoints.COLLECTED)
        scene.restart_the_dead()
        wait_for(lambda number=number: DeadLetter.objects.filter(job=None).count() >= number, "the dead letter")
    scene.rest()
    kept = DeadLetter.objects.filter(job=None).count()
    scene.demand(kept == 3, f"three messages leave three dead letters, not {kept}")


REPLAY_ALL = """
import django; django.setup()
from tasks.dead_letters.replaying import replay
from tasks.models import DeadLetter
from tasks import publisher
for letter in DeadLetter.objects.filter(state="open", task="chaos.strict"):
    replay(letter.pk)
publisher.flush()
"""


@scenario("relay-off")
def replay_sigkill(scene: Scene, dice: random.Random) -> None:
    """Whoever replays dead letters dies between the commit of a replay and its publishing, three times, and somebody
    goes on: each job is replayed once, and runs."""
    jobs = scene.place(*[strict(failures=3)] * 12)
    wait_for(lambda: Job.objects.filter(pk__in=jobs, state="dead").count() == len(jobs), "the jobs to die")
    place = scene.directory / "replayer"  # a place of its own to die at: web processes must not get there first
    place.mkdir()
    values = {**scene.environment, "CHAOS_DIRECTORY": str(place), "DJANGO_SETTINGS_MODULE": "project.settings"}
    for dies in (True, True, True, False):
        if dies:
            failpoints.arm(place, failpoints.AFTER_COMMIT)
        done = subprocess.run([sys.executable, "-c", REPLAY_ALL], env=values, cwd=ROOT, check=False)
        scene.demand((done.returncode < 0) is dies, f"the replaying process ended with {done.returncode}")
    scene.rest()
    for job_id in jobs:
        times = len(scene.events("replayed", job_id))
        scene.demand(times == 1, f"it was replayed once, not {times} times", job_id)


@scenario("collector-off", broker_settings={"dead_letter_worker_publisher_confirm_timeout": 2_000})
def dead_queue_missing(scene: Scene, dice: random.Random) -> None:
    """A dead queue is deleted while jobs die: the broker keeps what it could not route (at-least-once), a collector
    that misses the queue declares it again, and gets all of it."""
    scene.on_broker(lambda channel: channel.queue_delete("work-queue.dead"))
    scene.place(*[strict("dead", failures=99)] * 5)
    scene.moment(2, 4)
