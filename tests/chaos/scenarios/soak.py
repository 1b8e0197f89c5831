"""All of it."""

import os
import random
import signal

from tests.chaos.orders import errand
from tests.chaos.scenario import scenario
from tests.chaos.scene import Scene


@scenario("supervision-off", "relay-off", seasoned=True, copies=True)
def soak(scene: Scene, dice: random.Random) -> None:
    """Workers, children, sessions, queues and RabbitMQ itself are struck in random order, a dozen blows in half a
    minute under four hundred jobs: the sum still adds up."""

    def kill_a_worker() -> None:
        victim = scene.busy_worker()
        victim.kill()
        scene.moment()
        victim.start()

    def kill_children() -> None:
        for child in scene.busy_worker().children:
            os.kill(child, signal.SIGKILL)

    def purge() -> None:
        scene.on_broker(lambda channel: channel.queue_purge("work-queue"))

    def kill_the_broker() -> None:
        scene.broker.kill()
        scene.broker.start()

    blows = [kill_a_worker, kill_children, purge, scene.kill_database_sessions] * 3 + [kill_the_broker]
    dice.shuffle(blows)
    for blow in blows:
        scene.place(*(errand(seconds=dice.choice([0, 0, 0.2])) for _ in range(20)))
        blow()
        scene.moment(0.2, 1)
