"""What happens to RabbitMQ: one node of it."""

import random
import time

from tests.chaos.orders import errand
from tests.chaos.scenario import scenario
from tests.chaos.scene import Scene
from tests.waiting import wait_for


@scenario("no-reconnect", seasoned=True, flower=True, copies=True)
def broker_restart(scene: Scene, dice: random.Random) -> None:
    """RabbitMQ is stopped and started, then killed and started, under running jobs: workers connect again by
    themselves, outcomes do not depend on it, and redelivered messages are duplicates."""
    for end in (scene.broker.stop, scene.broker.kill):
        scene.busy_worker()
        end()
        scene.moment()
        scene.broker.start()
        scene.moment(2, 4)


@scenario("relay-off", seasoned=True, copies=True)
def broker_sigkill_mid_publish(scene: Scene, dice: random.Random) -> None:
    """RabbitMQ is killed while the relay publishes two hundred jobs that are due: what was not confirmed is published
    again when it is back, and a message too many is a duplicate."""
    scene.place(*(errand(options={"delay_seconds": round(dice.uniform(1, 3), 2)}) for _ in range(200)))
    scene.moment(1.2, 2.2)
    scene.broker.kill()
    scene.moment()
    scene.broker.start()


@scenario("publish-in-request", copies=True)
def broker_down_while_accepting(scene: Scene, dice: random.Random) -> None:
    """RabbitMQ is stopped for ten seconds: the API accepts as fast as ever, since nobody who enqueues waits for the
    broker, and the backlog runs when it is back."""
    scene.moment()
    scene.broker.stop()
    scene.load.slowest_answer_seconds = 0
    begin = time.monotonic()
    while time.monotonic() < begin + 10:
        scene.load.post(errand(), dice)
        scene.moment(0.1, 0.4)
    _demand_fast_answers(scene)
    scene.broker.start()


def _demand_fast_answers(scene: Scene) -> None:
    """Fast is what nobody gets who waits for the broker; a busy machine may take its time."""
    slowest = scene.load.slowest_answer_seconds
    scene.demand(slowest < 5, f"with a broker that takes nothing, an answer over HTTP took {slowest:.1f} s")


@scenario("relay-off", copies=True)
def broker_wiped(scene: Scene, dice: random.Random) -> None:
    """RabbitMQ loses its disk and comes back empty: queues are declared again, and every queued job gets a new message,
    because the rows are the truth."""
    scene.evidence_expected = False  # what was in the dead queues is gone
    scene.moment()
    scene.place(*[errand(seconds=1)] * 20)
    scene.broker.wipe()
    scene.moment()
    scene.broker.start()
    scene.make_vhost_again()


@scenario("relay-off")
def queue_purged(scene: Scene, dice: random.Random) -> None:
    """Queues are purged three times with jobs in them: the relay finds that their messages are missing."""
    for _ in range(3):
        scene.moment()
        scene.place(*[errand(seconds=0.3)] * 20)
        scene.moment(0.1, 0.4)
        for queue in ("work-queue", "email-queue", "priority-queue"):
            scene.on_broker(lambda channel, queue=queue: channel.queue_purge(queue))


@scenario("relay-off", copies=True)
def queue_deleted(scene: Scene, dice: random.Random) -> None:
    """Queues are deleted with jobs in them, and an exchange too: all is declared again, and the relay publishes what
    went with them."""
    scene.moment()
    scene.place(*[errand(seconds=0.3)] * 20)
    scene.on_broker(lambda channel: channel.queue_delete("work-queue"))
    scene.moment()
    scene.on_broker(lambda channel: channel.queue_delete("email-queue"))
    scene.moment()
    scene.on_broker(lambda channel: channel.exchange_delete("priority-exchange"))
    scene.moment()


@scenario("publish-in-request", copies=True)
def broker_alarm(scene: Scene, dice: random.Random) -> None:
    """RabbitMQ has a memory alarm and takes no message for longer than anybody waits for a confirm: the API accepts as
    fast as ever, what was not confirmed is published again, and copies are dropped."""
    scene.moment()
    scene.load.slowest_answer_seconds = 0
    scene.broker.set_alarm()
    try:
        scene.moment(14, 16)
    finally:
        scene.broker.clear_alarm()
    _demand_fast_answers(scene)


@scenario("outbox-off", copies=True)
def broker_frozen(scene: Scene, dice: random.Random) -> None:
    """RabbitMQ stands still for longer than every timeout, with connections open: nothing hangs when it goes on, and
    workers lose no attempt over it, because signs of life do not pass through the broker."""
    scene.busy_worker()
    scene.broker.freeze()
    scene.moment(14, 16)
    scene.broker.thaw()
    scene.rest()
    scene.demand(scene.lost_attempts() == 0, f"{scene.lost_attempts()} attempts were taken for lost")


@scenario("no-reconnect", copies=True)
def worker_before_broker(scene: Scene, dice: random.Random) -> None:
    """A worker is started while RabbitMQ is down: it waits, and works when the broker is there."""
    scene.broker.stop()
    late = scene.worker("worker-late")
    late.launch()
    scene.moment(4, 6)
    scene.broker.start()
    late.wait_until_ready()
    scene.moment()


@scenario("no-reconnect", broker_settings={"consumer_timeout": 4_000, "channel_tick_interval": 1_000}, copies=True)
def ack_timeout(scene: Scene, dice: random.Random) -> None:
    """RabbitMQ closes the channels of workers whose jobs outlast its consumer_timeout: they reconnect, the jobs
    go on and are recorded, and their messages are duplicates."""
    long = scene.place(*[errand(seconds=9)] * 2)
    wait_for(lambda: all(scene.events("duplicate", job_id) for job_id in long), "their messages to come again")
    scene.rest()
    scene.demand(all(len(scene.events("running", job_id)) == 1 for job_id in long), "the long jobs ran once")


@scenario("mismatch-ignored", workers=0, webs=0)
def queue_mismatch(scene: Scene, dice: random.Random) -> None:
    """A queue exists with other arguments than this build declares: a worker refuses to start and says which, and runs
    the waiting jobs once the queue is gone."""
    scene.on_broker(lambda channel: channel.queue_declare("work-queue", durable=True, auto_delete=False))
    refusing = scene.worker("worker-refusing")
    refusing.launch()
    refusing.wait()
    scene.demand(refusing.exit_code != 0, f"it ended with {refusing.exit_code}")
    scene.demand("work-queue" in refusing.log() and "topology check" in refusing.log(), "it says what to compare")
    scene.on_broker(lambda channel: channel.queue_delete("work-queue"))
    scene.place(*[errand()] * 5)
    refusing.start()
