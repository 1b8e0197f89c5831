"""What happens on the way between the platform and RabbitMQ."""

import random
import time

from tests.chaos.scenario import scenario
from tests.chaos.scene import Scene


@scenario("no-reconnect", proxied=True, copies=True, flower=True)
def connection_cut(scene: Scene, dice: random.Random) -> None:
    """Every connection to the broker is reset twenty times: workers and publishers connect again and none of them
    ends."""
    for _ in range(20):
        scene.proxy.reset()
        scene.moment(0.2, 1)


@scenario("no-heartbeat", proxied=True, copies=True, flower=True)
def connection_half_open(scene: Scene, dice: random.Random) -> None:
    """The network swallows what is sent on existing connections, without a word to either side: heartbeats and
    timeouts find out, and workers consume again."""
    scene.moment()
    scene.demand(scene.proxy.swallow() > 0, "there were connections to swallow")
    begin = time.monotonic()
    scene.place_and_see_run(seconds=90)
    scene.demand(time.monotonic() - begin < 60, "they consume again within a minute")
    scene.moment()
